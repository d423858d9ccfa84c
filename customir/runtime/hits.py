"""What a search shows: the best passages of a ranking, once each, with snippets."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from customir.runtime.index import IndexedPassage
from customir.runtime.index_reader import MARK_END, MARK_START, SNIPPET_WORDS, IndexReader


@dataclass(frozen=True)
class Hit:
    """A passage that was found: the best one of its document, its near-duplicates, its thread.

    Attributes:
        rank: From 1.
        score: Of the mode: cosine and a share of the query's words (`fuse`), cosine, or BM25 (higher
            is better; not comparable between modes). 0 where nothing was ranked by, but the date.
        recipients: The To and Cc headers.
        attachments: Names of the files that came with the document; of a document that itself came
            with a message, its own name.
        language: ISO 639-1 code; empty where it is not known.
        in_thread: Documents of its thread in the index, its own among them.
        similar: Other documents in the index with a near-duplicate of this passage.
        snippet: The part of the text that matches the query's words best; else its beginning. Words
            that half of the passages have count only where there are no others, and of a long query
            the 32 that the fewest passages have.
        marks: (start, end) of the matching words in `snippet`, in characters.
    """

    rank: int
    score: float
    key: str
    document: str
    identifier: str
    source: str
    title: str
    sender: str
    recipients: str
    date: str | None
    attachments: tuple[str, ...]
    language: str
    thread: str
    in_thread: int
    similar: int
    snippet: str
    marks: tuple[tuple[int, int], ...]
    text: str


Best = list[tuple[IndexedPassage, float]]


def fold(
    reader: IndexReader, ranking: Iterable[tuple[str, float]], k: int, *, by_thread: bool
) -> Best:
    """The best passage of each document, near-duplicate group (and thread), up to `k`."""
    best: Best = []
    documents: set[str] = set()
    groups: set[str] = set()
    threads: set[str] = set()
    for key, score in ranking:
        passage = reader.passage(key)
        seen = passage.document in documents or passage.duplicates in groups
        if not seen and not (by_thread and passage.thread in threads):
            best.append((passage, score))
        documents.add(passage.document)
        groups.add(passage.duplicates)
        threads.add(passage.thread)
        if len(best) == k:
            break
    return best


def make_hits(reader: IndexReader, best: Best, expression: str) -> list[Hit]:
    """The passages as hits, ranked in the order given.

    Args:
        expression: FTS5's, for the words that are to be marked in snippets.
    """
    hits: list[Hit] = []
    for rank, (passage, score) in enumerate(best, start=1):
        snippet, marks = _snippet(reader, expression, passage)
        in_thread, similar = reader.count_in_thread(passage), reader.count_similar(passage)
        passage = reader.shown(passage)
        hits.append(
            Hit(
                rank=rank,
                score=score,
                key=passage.key,
                document=passage.document,
                identifier=passage.identifier,
                source=passage.source,
                title=passage.title,
                sender=passage.sender,
                recipients=passage.recipients,
                date=passage.date,
                attachments=tuple(passage.attachments.splitlines()),
                language=passage.language,
                thread=passage.thread,
                in_thread=in_thread,
                similar=similar,
                snippet=snippet,
                marks=marks,
                text=passage.text,
            )
        )
    return hits


def _snippet(
    reader: IndexReader, expression: str, passage: IndexedPassage
) -> tuple[str, tuple[tuple[int, int], ...]]:
    marked = reader.snippet(expression, passage.key)
    if marked is not None:
        return split_marks(marked)
    words = passage.text.split(maxsplit=SNIPPET_WORDS)
    cut = "…" if len(words) > SNIPPET_WORDS else ""
    return " ".join(words[:SNIPPET_WORDS]) + cut, ()


def split_marks(marked: str) -> tuple[str, tuple[tuple[int, int], ...]]:
    """Text without its mark characters, and the (start, end) of what stood between them."""
    marks: list[tuple[int, int]] = []
    text = ""
    for part in re.split(f"({MARK_START}.*?{MARK_END})", " ".join(marked.split()), flags=re.S):
        if part.startswith(MARK_START):
            part = part.strip(MARK_START + MARK_END)
            marks.append((len(text), len(text) + len(part)))
        text += part
    return text, tuple(marks)
