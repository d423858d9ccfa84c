"""Reads the sources into the workspace: documents, threads, passages, near-duplicate groups."""

import dataclasses
import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from customir.corpus.chunking import Chunker
from customir.corpus.cleaning import MAXIMUM_TITLE, clean, clean_line, why_empty
from customir.corpus.document import Document, RawDocument, Unreadable
from customir.corpus.duplicates import group_duplicates
from customir.corpus.readers import count_source, read_source
from customir.corpus.sources import check_sources
from customir.corpus.threads import Post, find_threads
from customir.errors import UserError
from customir.progress import Reporter
from customir.settings import Corpus
from customir.workspace import Workspace, content_key

STAGE = "ingest"
WORK = "reading"
BATCH = 500
# Fewer passages than this can't adapt anything: with 30% of the threads held out, 28 are left to
# train on, one small batch of in-batch negatives, and the gate has 12 passages' queries, on which
# no difference short of enormous is significant.
MINIMUM_PASSAGES = 40
SAME_MESSAGE = "same message as"


@dataclass(frozen=True)
class IngestSummary:
    """What `ingest` read and made. read = kept + skipped.

    Attributes:
        read: Messages, conversations, lines, files and attachments met in the sources.
        attachments: Of them, those that came with a message.
        kept: Of them, those that are documents now.
        skipped: Those that are not; each is listed with its reason in the workspace.
        skipped_by_reason: How many for each kind of reason.
        new: Documents that were not in the workspace before.
        removed: Documents that were, and are in no source any more.
        duplicate_groups: Near-duplicate groups of two passages or more.
        duplicate_passages: Passages in these groups.
        largest_thread: Documents in the largest thread.
    """

    read: int
    attachments: int
    kept: int
    skipped: int
    skipped_by_reason: dict[str, int]
    new: int
    removed: int
    threads: int
    largest_thread: int
    passages: int
    duplicate_groups: int
    duplicate_passages: int

    def as_detail(self) -> dict[str, Any]:
        """For the stage's row and the report, as JSON."""
        return dataclasses.asdict(self)


def ingest(
    workspace: Workspace,
    sources: Sequence[Path],
    settings: Corpus,
    tokenizer_file: Path,
    reporter: Reporter,
) -> IngestSummary:
    """Make the workspace hold what the sources hold now, and nothing else.

    A document's key is a hash of its content, and so is a passage's: reading a source again adds
    nothing twice, text that has not changed keeps its keys, and a run that was killed ends, when
    it is run again, with the rows of one that was not.

    Raises:
        UserError: see `check_sources` and `Chunker`; or no source held a document.
    """
    check_sources(sources)
    chunker = Chunker(tokenizer_file, settings.passage_tokens, settings.overlap_tokens)
    known = {key for (key,) in workspace.database.execute("SELECT key FROM document")}
    with workspace.transaction() as database:
        database.execute("DELETE FROM skipped")
    reading = _Reading()
    total = sum(count_source(source) for source in sources)
    workspace.count_work(STAGE, "reading", done=0, total=total, computed=0, seconds=0.0)
    with reporter.task(WORK, total=total, unit="documents") as task:
        start = time.monotonic()
        for batch in _batches(sources):
            documents, skipped = reading.take(batch)
            passages = chunker.cut([document.text for document in documents])
            with workspace.transaction() as database:
                _write(database, documents, passages, skipped)
                workspace.count_work(
                    STAGE,
                    "reading",
                    done=reading.read - reading.attachments,
                    total=total,
                    computed=len(batch),
                    seconds=time.monotonic() - start,
                )
            start = time.monotonic()
            task.advance(sum(not item.is_attachment for _, item in batch))
    if not reading.posts:
        raise UserError(_nothing_kept(sources, reading))
    removed = _settle(workspace, reading.posts, settings.duplicate_similarity, reporter)
    workspace.count_work(STAGE, "reading", done=total, total=total, computed=0, seconds=0.0)
    return _summary(workspace, reading, new=len(reading.posts.keys() - known), removed=removed)


def require_enough(workspace: Workspace) -> None:
    """Nothing, where the corpus is large enough to adapt a model to.

    Raises:
        UserError: it has fewer than MINIMUM_PASSAGES passages; says how many.
    """
    (passages,) = workspace.database.execute("SELECT count(*) FROM passage").fetchone()
    (documents,) = workspace.database.execute("SELECT count(*) FROM document").fetchone()
    if passages < MINIMUM_PASSAGES:
        raise UserError(
            f"The sources hold {documents} usable documents, {passages} passages: too few to adapt "
            f"a model to. At least {MINIMUM_PASSAGES} passages are needed. Give a larger source, "
            "or more of them."
        )


Skipped = tuple[str, str, str]
"""source, identifier, reason"""


class _Reading:
    """What has been read so far, over all sources: enough to thread it and to know it again."""

    def __init__(self) -> None:
        self.read = self.attachments = 0
        self.posts: dict[str, Post] = {}
        self.reasons: Counter[str] = Counter()

    def take(
        self, batch: Sequence[tuple[str, RawDocument | Unreadable]]
    ) -> tuple[list[Document], list[Skipped]]:
        """The documents of a batch that were not met before, and what is skipped of it."""
        documents: list[Document] = []
        skipped: list[Skipped] = []
        for source, item in batch:
            self.read += 1
            self.attachments += item.is_attachment
            identifier = clean_line(item.identifier)
            found = item.reason if isinstance(item, Unreadable) else self._keep(source, item)
            if isinstance(found, Document):
                documents.append(found)
            else:
                reason = clean_line(found)
                skipped.append((source, identifier, reason))
                self.reasons[_kind(reason)] += 1
        return documents, skipped

    def _keep(self, source: str, raw: RawDocument) -> Document | str:
        """The document, or why it is none."""
        text = clean(raw)
        if not text:
            return why_empty(raw)
        identifier, title = clean_line(raw.identifier), clean_line(raw.title, MAXIMUM_TITLE)
        sender = clean_line(raw.sender, MAXIMUM_TITLE)
        key = content_key(identifier, title, sender, raw.date, text)
        if earlier := self.posts.get(key):
            where = "" if earlier.source == source else f" in {earlier.source}"
            return f"{SAME_MESSAGE} {identifier}{where}"
        is_message = raw.is_mail and raw.identifier.startswith("<")
        self.posts[key] = Post(
            key=key,
            source=source,
            message_id=raw.identifier if is_message else "",
            title=title,
            date=raw.date,
            references=raw.references,
            is_mail=raw.is_mail,
            thread=raw.thread,
        )
        return Document(key, source, identifier, title, sender, raw.date, key, text)


def _batches(
    sources: Sequence[Path],
) -> Iterator[list[tuple[str, RawDocument | Unreadable]]]:
    batch: list[tuple[str, RawDocument | Unreadable]] = []
    for source in sources:
        name = clean_line(str(source))
        for item in read_source(source):
            batch.append((name, item))
            if len(batch) == BATCH:
                yield batch
                batch = []
    if batch:
        yield batch


def _write(
    database: Any,
    documents: Sequence[Document],
    passages: Sequence[Sequence[str]],
    skipped: Sequence[Skipped],
) -> None:
    """One batch. Thread and group are settled when everything is read; until then, each its own."""
    database.executemany(
        "INSERT INTO document (key, source, identifier, title, sender, date, thread, text) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?) "
        "ON CONFLICT (key) DO UPDATE SET source = excluded.source",
        [dataclasses.astuple(document) for document in documents],
    )
    for document, texts in zip(documents, passages, strict=True):
        rows = [
            (content_key(document.key, ordinal, text), document.key, ordinal, text)
            for ordinal, text in enumerate(texts)
        ]
        database.execute(
            "DELETE FROM passage WHERE document = ? AND key NOT IN (SELECT value FROM json_each(?))",
            (document.key, json.dumps([key for key, *_ in rows])),
        )
        database.executemany(
            "INSERT INTO passage (key, document, ordinal, text, duplicates) "
            "VALUES (?1, ?2, ?3, ?4, ?1) ON CONFLICT (key) DO NOTHING",
            rows,
        )
    database.executemany("INSERT INTO skipped VALUES (?, ?, ?)", skipped)


def _settle(
    workspace: Workspace, posts: dict[str, Post], similarity: float, reporter: Reporter
) -> int:
    """Drop what is in no source any more, then set threads and groups; how many were dropped."""
    stale = [
        (key,)
        for (key,) in workspace.database.execute("SELECT key FROM document")
        if key not in posts
    ]
    threads = find_threads(list(posts.values()))
    with workspace.transaction() as database:
        database.executemany("DELETE FROM document WHERE key = ?", stale)
        database.executemany(
            "UPDATE document SET thread = ?2 WHERE key = ?1 AND thread <> ?2", threads.items()
        )
    (total,) = workspace.database.execute("SELECT count(*) FROM passage").fetchone()
    rows = workspace.database.execute("SELECT key, text FROM passage ORDER BY key")
    groups = group_duplicates(rows, total, similarity, reporter)
    with workspace.transaction() as database:
        database.executemany(
            "UPDATE passage SET duplicates = ?2 WHERE key = ?1 AND duplicates <> ?2",
            groups.items(),
        )
    return len(stale)


def _summary(workspace: Workspace, reading: _Reading, *, new: int, removed: int) -> IngestSummary:
    database = workspace.database
    (passages,) = database.execute("SELECT count(*) FROM passage").fetchone()
    threads, largest = database.execute(
        "SELECT count(*), max(size) FROM (SELECT count(*) AS size FROM document GROUP BY thread)"
    ).fetchone()
    groups, members = database.execute(
        "SELECT count(*), coalesce(sum(size), 0) FROM "
        "(SELECT count(*) AS size FROM passage GROUP BY duplicates HAVING size > 1)"
    ).fetchone()
    return IngestSummary(
        read=reading.read,
        attachments=reading.attachments,
        kept=len(reading.posts),
        skipped=reading.reasons.total(),
        skipped_by_reason=dict(reading.reasons.most_common()),
        new=new,
        removed=removed,
        threads=threads,
        largest_thread=largest,
        passages=passages,
        duplicate_groups=groups,
        duplicate_passages=members,
    )


def _kind(reason: str) -> str:
    """A reason without what is particular to one document."""
    return SAME_MESSAGE if reason.startswith(SAME_MESSAGE) else reason.partition(":")[0]


def _nothing_kept(sources: Sequence[Path], reading: _Reading) -> str:
    reasons = ", ".join(f"{count} {reason}" for reason, count in reading.reasons.most_common(5))
    return (
        f"{', '.join(map(str, sources))}: {reading.read} documents were read and none can be used "
        f"({reasons}). Give a source with readable text."
    )
