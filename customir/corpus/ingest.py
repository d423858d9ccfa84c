"""Reads the sources into the workspace: documents, threads, passages, near-duplicate groups."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from customir.corpus.chunking import Chunker
from customir.corpus.cleaning import clean_line
from customir.corpus.document import RawDocument, RawMail, Unreadable
from customir.corpus.duplicates import group_duplicates
from customir.corpus.passages import cut_passages
from customir.corpus.prepare import Prepared, Skipped
from customir.corpus.readers import Position, ReadOptions, read_unparsed, regular_files
from customir.corpus.repeated import LineCounts
from customir.corpus.sources import check_sources
from customir.corpus.threads import Post, find_threads
from customir.corpus.workers import Batch, Results, prepared
from customir.errors import UserError
from customir.progress import Reporter
from customir.settings import CorpusSettings
from customir.workspace import Workspace
from customir.workspace.documents import (
    DocumentHead,
    SkippedRow,
    clear_skipped,
    count_documents,
    count_threads,
    delete_documents,
    read_document_keys,
    read_document_names,
    update_threads,
    write_documents,
)
from customir.workspace.passages import (
    count_duplicates,
    count_passages,
    read_texts,
    update_duplicates,
)
from customir.workspace.purge import read_purged

STAGE = "ingest"
WORK = "reading"
BATCH, BATCH_BYTES = 500, 8 << 20
# Progress is counted in kilobytes, because the number of documents is unknown until all are read.
KILOBYTE = 1000
# Fewer passages cannot adapt a model. With 30% of the threads held out, 28 passages are left for
# training, which is one small batch of in-batch negatives. The gate has the queries of 12 passages,
# on which only an enormous difference is significant.
MINIMUM_PASSAGES = 40
SAME_MESSAGE = "same message as"
PURGED = "purged"


@dataclass(frozen=True)
class IngestSummary:
    """The counts of one `ingest` run; read = kept + skipped.

    Attributes:
        read: Messages, conversations, lines, files and attachments in the sources.
        attachments: How many of the items read are attachments of a message.
        kept: How many of the items read became documents.
        skipped: How many did not; the workspace lists each of them with its reason.
        skipped_by_reason: The number of skipped items for each kind of reason.
        new: Documents that were not in the workspace before.
        changed: Documents whose content changed under the same name and source.
        removed: Documents of the workspace that are in no source any more.
        characters: Characters of the kept documents before cleaning.
        cut: How many of these characters were cut, by cause.
        duplicate_groups: Near-duplicate groups of two passages or more.
        duplicate_passages: Passages in these groups.
        contained_passages: How many of these are nearly contained in a longer passage.
        largest_thread: The number of documents in the largest thread.
    """

    read: int
    attachments: int
    kept: int
    skipped: int
    skipped_by_reason: dict[str, int]
    new: int
    changed: int
    removed: int
    characters: int
    cut: dict[str, int]
    threads: int
    largest_thread: int
    passages: int
    duplicate_groups: int
    duplicate_passages: int
    contained_passages: int

    @property
    def line(self) -> str:
        """The summary on one line, for the user."""
        return (
            f"{self.read} read: {self.kept} kept, {self.skipped} skipped; {self.new} new, "
            f"{self.changed} changed, {self.removed} gone; {self.threads} threads, "
            f"{self.passages} passages, {self.duplicate_groups} groups of near-duplicates"
        )

    def as_detail(self) -> dict[str, Any]:
        """The summary as JSON, for the stage's row and the report."""
        return asdict(self)


def ingest(
    workspace: Workspace,
    sources: Sequence[Path],
    settings: CorpusSettings,
    tokenizer_file: Path,
    reporter: Reporter,
    processes: int = 1,
) -> IngestSummary:
    """Update the workspace to the current content of the sources.

    The keys of documents and passages are hashes of their content. Reading a source again therefore
    adds nothing twice, unchanged text keeps its keys, and repeating a run that was killed gives the
    same rows as an uninterrupted run.

    The steps are: read every document and count its lines, find the threads, cut the lines that
    many messages repeat, cut the rest into passages, and group near-duplicates.

    Args:
        processes: The number of processes that parse and clean. It does not affect the result.

    Raises:
        UserError: see `check_sources` and `Chunker`; or no source holds a usable document.
    """
    check_sources(sources)
    chunker = Chunker(tokenizer_file, settings.passage_tokens, settings.overlap_tokens)
    known = set(read_document_keys(workspace))
    reading = _read(workspace, sources, settings, reporter, processes)
    if not reading.posts:
        raise UserError(_nothing_kept(sources, reading))
    changes = _settle(workspace, reading.posts, known)
    reading.cut += cut_passages(
        workspace, chunker, reading.lines, reading.chats, settings, reporter
    )
    contained = _group(workspace, settings, reporter)
    if workspace.removal_pending:
        workspace.rewrite()
    return _summary(workspace, reading, changes, contained)


def require_enough(workspace: Workspace) -> None:
    """Check that the corpus is large enough to adapt a model to.

    Raises:
        UserError: it has fewer than MINIMUM_PASSAGES passages; the message gives their number.
    """
    passages = count_passages(workspace)
    if passages < MINIMUM_PASSAGES:
        raise UserError(
            f"The sources hold {count_documents(workspace)} usable documents, {passages} passages: too few to adapt "
            f"a model to. At least {MINIMUM_PASSAGES} passages are needed. Give a larger source, "
            "or more of them."
        )


class _Reading:
    """The state of reading over all sources, for threading and for detecting repeated messages.

    Args:
        purged: The identities of documents that are not to be kept.
    """

    def __init__(self, purged: frozenset[str] = frozenset()) -> None:
        self._purged = purged
        self.read = self.attachments = self.characters = 0
        self.posts: dict[str, Post] = {}
        self.reasons: Counter[str] = Counter()
        self.examples: dict[str, str] = {}
        self.cut: Counter[str] = Counter()
        self.lines = LineCounts()
        self.chats: set[str] = set()

    def take(self, results: Results) -> tuple[list[Prepared], list[Skipped]]:
        """The new documents of a batch, and its skipped items."""
        kept: list[Prepared] = []
        skipped: list[Skipped] = []
        for each in results:
            self.read += 1
            self.attachments += each.is_attachment
            if isinstance(each, Prepared) and (identity := self._is_purged(each)):
                # Listed by a hash: its identifier is not to be stored again.
                each = Skipped(each.document.source, identity, PURGED, each.is_attachment)
            if isinstance(each, Prepared):
                earlier = self.posts.setdefault(each.post.key, each.post)
                if earlier is each.post:
                    kept.append(each)
                    self.cut += each.cut
                    self.characters += each.characters
                    continue
                where = "" if earlier.source == each.post.source else f" in {earlier.source}"
                document = each.document
                reason = f"{SAME_MESSAGE} {document.identifier}{where}"
                each = Skipped(document.source, document.identifier, reason, each.is_attachment)
            skipped.append(each)
            kind = _kind(each.reason)
            self.reasons[kind] += 1
            self.examples.setdefault(kind, each.reason)
        self.chats.update(each.post.key for each in kept if each.is_chat)
        self.lines.add(each.document.text for each in kept if each.is_mail)
        return kept, skipped

    def _is_purged(self, prepared: Prepared) -> str | None:
        """The identity of a document that was purged; None if it was not."""
        if not self._purged:
            return None
        read = prepared.document
        identity = DocumentHead(
            read.key, read.source, read.identifier, read.title, read.sender, read.date
        ).identity
        return identity if identity in self._purged else None


def _read(
    workspace: Workspace,
    sources: Sequence[Path],
    settings: CorpusSettings,
    reporter: Reporter,
    processes: int,
) -> _Reading:
    reading = _Reading(read_purged(workspace))
    with workspace.transaction() as database:
        clear_skipped(database)
    total = sum(path.stat().st_size for source in sources for path, _ in regular_files(source))
    total = -(-total // KILOBYTE)
    workspace.count_work(STAGE, "reading", done=0, total=total, computed=0, seconds=0.0)
    done = 0
    position = Position()
    options = ReadOptions(
        {str(field): name for field, name in settings.columns.items()}, settings.ocr
    )
    with reporter.task(WORK, total=total, unit="kB") as task:
        start = time.monotonic()
        results = prepared(
            batches(sources, options, position),
            processes,
            options,
            include_unwanted=settings.include_unwanted,
        )
        for each in results:
            kept, skipped = reading.take(each)
            read = min(position.bytes_read // KILOBYTE, total) - done
            done += read
            with workspace.transaction() as database:
                write_documents(
                    database,
                    [(each.document, each.original) for each in kept],
                    [SkippedRow(each.source, each.identifier, each.reason) for each in skipped],
                )
                workspace.count_work(
                    STAGE,
                    "reading",
                    done=done,
                    total=total,
                    computed=read,
                    seconds=time.monotonic() - start,
                )
            start = time.monotonic()
            task.advance(read)
    workspace.count_work(STAGE, "reading", done=total, total=total, computed=0, seconds=0.0)
    return reading


def batches(
    sources: Sequence[Path],
    options: ReadOptions | None = None,
    position: Position | None = None,
) -> Iterator[Batch]:
    """The unparsed items of the sources, in batches of BATCH items or about BATCH_BYTES."""
    batch: list[tuple[str, RawDocument | RawMail | Unreadable]] = []
    size = 0
    for source in sources:
        name = clean_line(str(source))
        for item in read_unparsed(source, options, position):
            batch.append((name, item))
            size += len(item.content) if isinstance(item, RawMail) else 0
            if len(batch) == BATCH or size > BATCH_BYTES:
                yield batch
                batch, size = [], 0
    if batch:
        yield batch


@dataclass(frozen=True)
class _Changes:
    """How many documents are new, removed, or changed under the same name and source."""

    new: int
    changed: int
    removed: int


def _settle(workspace: Workspace, posts: dict[str, Post], known: set[str]) -> _Changes:
    """Delete documents that are in no source any more, and set the threads."""
    stale: list[str] = []
    gone: set[tuple[str, str]] = set()
    come: set[tuple[str, str]] = set()
    fresh = 0
    for key, source, identifier in read_document_names(workspace):
        if key not in posts:
            stale.append(key)
            gone.add((source, identifier))
        elif key not in known:
            fresh += 1
            come.add((source, identifier))
    threads = find_threads(list(posts.values()))
    with workspace.transaction() as database:
        if stale:
            workspace.note_removal()
            delete_documents(database, stale)
        update_threads(database, threads)
    changed = len(gone & come)
    return _Changes(fresh - changed, changed, len(stale) - changed)


def _group(workspace: Workspace, settings: CorpusSettings, reporter: Reporter) -> int:
    """Set the near-duplicate groups; returns how many passages are nearly contained in another."""
    groups = group_duplicates(
        read_texts(workspace),
        count_passages(workspace),
        settings.duplicate_similarity,
        settings.containment,
        reporter,
    )
    with workspace.transaction() as database:
        update_duplicates(database, groups.of)
    return groups.contained


def _summary(
    workspace: Workspace, reading: _Reading, changes: _Changes, contained: int
) -> IngestSummary:
    threads, largest = count_threads(workspace)
    groups, members = count_duplicates(workspace)
    return IngestSummary(
        read=reading.read,
        attachments=reading.attachments,
        kept=len(reading.posts),
        skipped=reading.reasons.total(),
        skipped_by_reason=dict(reading.reasons.most_common()),
        new=changes.new,
        changed=changes.changed,
        removed=changes.removed,
        characters=reading.characters,
        cut=dict(reading.cut.most_common()),
        threads=threads,
        largest_thread=largest,
        passages=count_passages(workspace),
        duplicate_groups=groups,
        duplicate_passages=members,
        contained_passages=contained,
    )


def _kind(reason: str) -> str:
    """A reason without the details of a single document."""
    return SAME_MESSAGE if reason.startswith(SAME_MESSAGE) else reason.partition(":")[0]


def _nothing_kept(sources: Sequence[Path], reading: _Reading) -> str:
    reasons = "; ".join(
        f"{count} times: {reading.examples[kind]}" for kind, count in reading.reasons.most_common(5)
    )
    return (
        f"{', '.join(map(str, sources))}: {reading.read} documents were read and none can be used "
        f"({reasons}). Give a source with readable text."
    )
