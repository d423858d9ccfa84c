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

STAGE = "ingest"
WORK = "reading"
BATCH, BATCH_BYTES = 500, 8 << 20
# Progress is counted in these: how many documents there are is known when all are read.
KILOBYTE = 1000
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
        changed: Those that were, and have another content now under the same name and source.
        removed: Those that were, and are in no source any more.
        characters: Of the kept documents, as they were found.
        cut: How many of them were cut, by cause.
        duplicate_groups: Near-duplicate groups of two passages or more.
        duplicate_passages: Passages in these groups.
        contained_passages: Of them, those that are a part of a longer one.
        largest_thread: Documents in the largest thread.
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
        """For the user, when it is done."""
        return (
            f"{self.read} read: {self.kept} kept, {self.skipped} skipped; {self.new} new, "
            f"{self.changed} changed, {self.removed} gone; {self.threads} threads, "
            f"{self.passages} passages, {self.duplicate_groups} groups of near-duplicates"
        )

    def as_detail(self) -> dict[str, Any]:
        """For the stage's row and the report, as JSON."""
        return asdict(self)


def ingest(
    workspace: Workspace,
    sources: Sequence[Path],
    settings: CorpusSettings,
    tokenizer_file: Path,
    reporter: Reporter,
    processes: int = 1,
) -> IngestSummary:
    """Make the workspace hold what the sources hold now, and nothing else.

    A document's key is a hash of its content, and so is a passage's: reading a source again adds
    nothing twice, text that has not changed keeps its keys, and a run that was killed ends, when
    it is run again, with the rows of one that was not.

    First every document is read and its lines are counted, then threads are found, then what many
    messages repeat is cut and the rest becomes passages, then these are grouped.

    Args:
        processes: How many parse and clean; the result is the same for any number.

    Raises:
        UserError: see `check_sources` and `Chunker`; or no source held a document.
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
    """Nothing, where the corpus is large enough to adapt a model to.

    Raises:
        UserError: it has fewer than MINIMUM_PASSAGES passages; says how many.
    """
    passages = count_passages(workspace)
    if passages < MINIMUM_PASSAGES:
        raise UserError(
            f"The sources hold {count_documents(workspace)} usable documents, {passages} passages: too few to adapt "
            f"a model to. At least {MINIMUM_PASSAGES} passages are needed. Give a larger source, "
            "or more of them."
        )


class _Reading:
    """What has been read so far, over all sources: enough to thread it and to know it again."""

    def __init__(self) -> None:
        self.read = self.attachments = self.characters = 0
        self.posts: dict[str, Post] = {}
        self.reasons: Counter[str] = Counter()
        self.examples: dict[str, str] = {}
        self.cut: Counter[str] = Counter()
        self.lines = LineCounts()
        self.chats: set[str] = set()

    def take(self, results: Results) -> tuple[list[Prepared], list[Skipped]]:
        """The documents of a batch that were not met before, and what is skipped of it."""
        kept: list[Prepared] = []
        skipped: list[Skipped] = []
        for each in results:
            self.read += 1
            self.attachments += each.is_attachment
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


def _read(
    workspace: Workspace,
    sources: Sequence[Path],
    settings: CorpusSettings,
    reporter: Reporter,
    processes: int,
) -> _Reading:
    reading = _Reading()
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
    """What the sources hold, not parsed yet, in pieces of BATCH items or some BATCH_BYTES."""
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
    """How many documents came, went, or are another now under the same name and source."""

    new: int
    changed: int
    removed: int


def _settle(workspace: Workspace, posts: dict[str, Post], known: set[str]) -> _Changes:
    """Drop what is in no source any more, and set the threads."""
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
    """Set the near-duplicate groups; how many passages are a part of another."""
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
    """A reason without what is particular to one document."""
    return SAME_MESSAGE if reason.startswith(SAME_MESSAGE) else reason.partition(":")[0]


def _nothing_kept(sources: Sequence[Path], reading: _Reading) -> str:
    reasons = "; ".join(
        f"{count} times: {reading.examples[kind]}" for kind, count in reading.reasons.most_common(5)
    )
    return (
        f"{', '.join(map(str, sources))}: {reading.read} documents were read and none can be used "
        f"({reasons}). Give a source with readable text."
    )
