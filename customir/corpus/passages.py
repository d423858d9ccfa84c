"""Cuts documents into passages, after removing lines that many messages repeat."""

from collections import Counter
from collections.abc import Iterator, Sequence, Set
from itertools import islice

from customir.corpus.chunking import Chunker
from customir.corpus.repeated import LineCounts, without_repeated
from customir.progress import Reporter
from customir.settings import CorpusSettings
from customir.workspace import Workspace, content_key
from customir.workspace.documents import read_document_keys
from customir.workspace.passages import (
    DocumentToSplit,
    PassageRow,
    read_documents_to_split,
    replace_passages,
)

BATCH = 500
REPEATED = "repeated lines"
DATE_CHARACTERS = len("2002-08-22")
HEADER_CHARACTERS = 200


def cut_passages(
    workspace: Workspace,
    chunker: Chunker,
    counts: LineCounts,
    chats: Set[str],
    settings: CorpusSettings,
    reporter: Reporter,
) -> Counter[str]:
    """Write the passages of every document; returns the number of characters cut by cause.

    A passage's key is a hash of its document's key, its position and its text. Unchanged passages
    therefore keep their rows, and references to them stay valid.

    Args:
        chats: Keys of the documents whose paragraphs are turns of a chat.
    """
    cut: Counter[str] = Counter()
    keys = read_document_keys(workspace)
    with reporter.task("cutting passages", total=len(keys), unit="documents") as task:
        for batch in _batches(keys):
            documents = read_documents_to_split(workspace, batch)
            texts: dict[str, str] = {}
            shortened: dict[str, str] = {}
            for document in documents:
                text = texts[document.key] = document.text
                if document.is_mail and settings.boilerplate_min_documents:
                    kept = without_repeated(text, counts, settings.boilerplate_min_documents)
                    if kept != text:
                        texts[document.key] = shortened[document.key] = kept
                        cut[REPEATED] += len(text) - len(kept)
            headers = {each.key: header_of(settings.passage_header, each) for each in documents}
            pieces = chunker.cut(list(texts.values()), [key in chats for key in texts])
            passages = [
                PassageRow(content_key(key, ordinal, text), key, ordinal, text, headers[key])
                for key, own in zip(texts, pieces, strict=True)
                for ordinal, text in enumerate(own)
            ]
            with workspace.transaction() as database:
                replace_passages(database, batch, passages, shortened)
            task.advance(len(batch))
    return cut


def header_of(fields: Sequence[str], document: DocumentToSplit) -> str | None:
    """The header above a document's passages when they are embedded; None stands for the title."""
    if tuple(fields) == ("title",):
        return None
    sender, date, recipients = document.sender, document.date, document.recipients
    values = {
        "title": document.title,
        "sender": f"From: {sender[:HEADER_CHARACTERS]}" if sender else "",
        "date": f"Date: {date[:DATE_CHARACTERS]}" if date else "",
        "recipients": f"To: {recipients[:HEADER_CHARACTERS]}" if recipients else "",
    }
    return "\n".join(values[field] for field in fields if values[field])


def _batches(keys: Sequence[str]) -> Iterator[list[str]]:
    rest = iter(keys)
    while batch := list(islice(rest, BATCH)):
        yield batch
