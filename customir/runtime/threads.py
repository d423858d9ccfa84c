"""The documents of a thread, put together again from their passages."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

from customir.runtime.index import IndexedPassage


@dataclass(frozen=True)
class ThreadDocument:
    """A message or file of a thread.

    Attributes:
        key: Of the document.
        attachments: As in `Hit`.
        text: Its cleaned text: what it quotes and its signature are not in the index.
        passages: Keys of its passages, in their order.
    """

    key: str
    identifier: str
    source: str
    title: str
    sender: str
    recipients: str
    date: str | None
    attachments: tuple[str, ...]
    language: str
    text: str
    passages: tuple[str, ...]


def documents_of(passages: Iterable[IndexedPassage]) -> list[ThreadDocument]:
    """The documents that passages are of, in the order of their first passages.

    Args:
        passages: Those of each document in a row, in their order.
    """
    documents: list[ThreadDocument] = []
    for key, group in groupby(passages, key=lambda passage: passage.document):
        own = list(group)
        first = own[0]
        documents.append(
            ThreadDocument(
                key=key,
                identifier=first.identifier,
                source=first.source,
                title=first.title,
                sender=first.sender,
                recipients=first.recipients,
                date=first.date,
                attachments=tuple(first.attachments.splitlines()),
                language=first.language,
                text=join(passage.text for passage in own),
                passages=tuple(passage.key for passage in own),
            )
        )
    return documents


def join(texts: Iterable[str]) -> str:
    """Passages as one text, without the words that each repeats of the one before."""
    whole = last = ""
    for text in texts:
        repeated = _overlap(last, text)
        whole += text[repeated:] if repeated else f"\n{text}" if whole else text
        last = text
    return whole


def _overlap(before: str, after: str) -> int:
    """How many characters `after` begins with that `before` ends with, in whole words."""
    for size in range(min(len(before), len(after)), 0, -1):
        start = len(before) - size
        whole_words = start == 0 or before[start - 1].isspace()
        if whole_words and before.endswith(after[:size]):
            return size
    return 0
