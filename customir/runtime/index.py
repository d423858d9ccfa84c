"""The index: passages, their vectors (sqlite-vec) and their words (FTS5) in one SQLite file.

Each page of the file carries a checksum (https://sqlite.org/cksumvfs.html), which is compared
whenever SQLite reads the page: a flipped bit in a text, a vector, the words or SQLite's own trees
is an error where it would change an answer.
"""

import hashlib
import json
from collections.abc import Collection, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import apsw
import apsw.sqlite_extra

from customir.errors import UserError
from customir.files import create_database_file, make_private_folder, write_atomically
from customir.runtime import cache, fts_tokenizer, generations
from customir.runtime.embedder import Embedder, Vectors
from customir.runtime.generations import INDEX_NAME, MODEL_NAME, owner, writer_lock
from customir.runtime.index_file import (
    CHECKSUMS,
    GENERATION_SCHEMA,
    REMOVAL_SCHEMA,
    Generation,
    connect,
    explained,
    generations_of,
    live_generation,
    log,
    vectors,
)
from customir.text.header import with_header

if TYPE_CHECKING:
    from customir.progress import Reporter, Task

# Passages a transaction: some seconds of work on two cores, and all that a kill can cost.
PASSAGES_PER_COMMIT = 256
# Beside the index of a generation that is being made: from what, and of which passages.
PLAN_NAME = "index.plan"
PAGES_PER_STEP = 4096  # of a copy


Document = tuple[str, str]  # source, identifier


@dataclass(frozen=True)
class IndexedPassage:
    """A passage as the index holds it.

    Attributes:
        key: Unique in the index.
        document: Key of the document that it is a part of.
        identifier: The document's Message-ID, `_id`, or path below the source.
        date: ISO 8601 or None.
        duplicates: Near-duplicate group; the same for all passages in it.
        text: Without the title.
        header: What stands above the text where it is embedded; None: the title.
        ordinal: Position in the document, from 0.
        recipients: The To and Cc headers; empty where there are none.
        attachments: Names of the files that came with the document, one on each line; of a document
            that itself came with a message, its own name.
        language: ISO 639-1 code; empty where it is not known.
        thin: Whether the words of its title count for nothing when passages are ranked by words
            (`mark_thin`). It is found by them all the same.
    """

    key: str
    document: str
    identifier: str
    source: str
    title: str
    sender: str
    date: str | None
    thread: str
    duplicates: str
    text: str
    header: str | None = None
    ordinal: int = 0
    recipients: str = ""
    attachments: str = ""
    language: str = ""
    thin: bool = False

    @property
    def of(self) -> Document:
        """The document that it is a part of, whatever that says now."""
        return self.source, self.identifier

    @property
    def content(self) -> str:
        """What is embedded: the header, where there is one, above the text."""
        return with_header(self.text, self.title, self.header)


@dataclass(frozen=True)
class IndexSummary:
    """What was done, in passages. `rebuilt`: nothing older could be used."""

    added: int
    removed: int
    changed: int
    total: int
    rebuilt: bool


def build_index(
    path: Path, passages: Sequence[IndexedPassage], embedder: Embedder, reporter: "Reporter"
) -> IndexSummary:
    """Make the index at `path` hold exactly `passages`, embedding only those that it lacks.

    An index made by another model is left as it is, and searched, until a new generation beside
    it in the same file is whole. Each batch is one transaction of whole documents, so a reader finds
    a changed document as it was or as it is. Killed anywhere and run again, this goes on where it
    was, and leaves what an uninterrupted run would have left.

    Raises:
        UserError: another process is building it, the file is no index of this version, or two
            passages have the same key.
    """
    path = generations.index_file(path)
    wanted = _by_key(path, passages)
    make_private_folder(path.parent)
    with (
        writer_lock(owner(path.parent)),
        explained(path),
        closing(connect(path, write=True)) as database,
    ):
        generation = _generation_for(database, embedder)
        held = database.execute(f"SELECT * FROM passage_{generation.number}")
        summary = _update(database, generation, held, wanted, embedder, reporter)
        _finish(database, generation)
        _settle(database, path)
        return summary


def build_successor(
    folder: Path,
    generation: Path,
    passages: Sequence[IndexedPassage],
    embedder: Embedder,
    reporter: "Reporter",
) -> IndexSummary:
    """Make the index of DIR's next generation and let the two, its model and the index, be current.

    Where the same model made the current index, that is copied and only passages that it lacks are
    embedded; it stays as it is, and is searched meanwhile. A run that was killed goes on with the
    copy where it was if the current index and the passages are the same as then, and starts from
    another copy if not: both end with the same vectors as a run that was not killed.

    The current generation is kept as the one to go back to, unless it holds a document that none of
    `passages` is of: what has left the sources is not kept.

    Args:
        folder: DIR.
        generation: With the new model in it, not published yet.

    Raises:
        UserError: as `build_index`.
    """
    path, before = generation / INDEX_NAME, generations.current(folder) / INDEX_NAME
    base = _usable(before)
    plan = _plan(before, base, passages, embedder)
    plan_path = generation / PLAN_NAME
    if not plan_path.exists() or plan_path.read_bytes() != plan:
        _delete_index(path)
        if base and (base.fingerprint, base.dimensions) == _stamp_of(embedder):
            copy_index(before, path)
        write_atomically(plan_path, plan)
    summary = build_index(path, passages, embedder, reporter)
    wanted = {passage.document for passage in passages}
    with writer_lock(folder):
        plan_path.unlink()
        kept = base is not None and _documents(before, base) <= wanted
        generations.publish(folder, generation, keep_previous=kept)
    return summary


def holds(folder: Path, passages: Sequence[IndexedPassage], embedder: Embedder) -> bool:
    """Whether DIR's current index can be searched, was made by this model, and holds `passages` alone."""
    path = generations.current(folder) / INDEX_NAME
    found = _usable(path)
    if found is None or (found.fingerprint, found.dimensions) != _stamp_of(embedder):
        return False
    try:
        with explained(path), closing(connect(path)) as database:
            rows = database.execute(f"SELECT * FROM passage_{found.number}")
            held = {row[1]: IndexedPassage(*row[1:]) for row in rows}
    except UserError:  # of an older format, which a copy of it is migrated from
        return False
    return not found.updating and held == {passage.key: passage for passage in passages}


def copy_index(source: Path, target: Path) -> None:
    """Copy an index as it is at this moment, while others read it.

    Raises:
        UserError: it is damaged, or there is no room.
    """
    create_database_file(target)
    flags = apsw.SQLITE_OPEN_READWRITE
    with (
        explained(source),
        closing(connect(source, older=True)) as original,
        closing(apsw.Connection(str(target), flags=flags, vfs=CHECKSUMS)) as copy,
        copy.backup("main", original, "main") as backup,
    ):
        while not backup.done:
            backup.step(PAGES_PER_STEP)


def adopt(folder: Path) -> None:
    """Make a DIR with generations of one that an earlier version left without."""
    if generations.read_pointer(folder) or not (folder / MODEL_NAME).is_dir():
        return
    generation = generations.begin(folder)
    generations.link_model(folder, generation)
    if (folder / INDEX_NAME).exists():
        try:
            copy_index(folder / INDEX_NAME, generation / INDEX_NAME)
        except UserError as error:
            log.warning("%s It is left out.", error)
            _delete_index(generation / INDEX_NAME)
    generations.publish(folder, generation, keep_previous=False)


def _plan(
    before: Path, base: Generation | None, passages: Sequence[IndexedPassage], embedder: Embedder
) -> bytes:
    """Names what decides the vectors of an index that is made from another."""
    digest = hashlib.sha256()
    for passage in sorted(passages, key=lambda passage: passage.key):
        digest.update(json.dumps(astuple(passage)).encode())
    start = f"{before.parent.name} {base.stamp}" if base else None
    return json.dumps([start, embedder.fingerprint, digest.hexdigest()]).encode()


def _usable(path: Path) -> Generation | None:
    """What the index in `path` holds; None where it is missing, unfinished or damaged."""
    try:
        with explained(path), closing(connect(path, older=True)) as database:
            if database.execute("PRAGMA quick_check").fetchone() == ("ok",):
                return live_generation(database)
    except UserError as error:
        log.debug("%s", error)
    return None


def _delete_index(path: Path) -> None:
    """Delete an index, and all that belongs to it, in a generation that nobody reads yet."""
    for leftover in path.parent.glob(f"{path.stem}.*"):
        leftover.unlink()


def _stamp_of(embedder: Embedder) -> tuple[str, int]:
    return embedder.fingerprint, embedder.dimensions


def _documents(path: Path, found: Generation) -> set[str]:
    """Keys of the documents in an index."""
    with closing(connect(path, older=True)) as database:
        statement = f"SELECT DISTINCT document FROM passage_{found.number}"
        return {document for (document,) in database.execute(statement)}


def put_documents(
    path: Path, passages: Sequence[IndexedPassage], embedder: Embedder, reporter: "Reporter"
) -> IndexSummary:
    """Add the documents that `passages` are of, or replace those of the same source and identifier.

    The others stay as they are. Each document is replaced in one transaction, with
    `PASSAGES_PER_COMMIT` passages or more in each; only passages that the index lacks are embedded.
    Where passages are replaced, the file is rewritten afterwards, as by `delete_documents`.

    Args:
        passages: All of each document.

    Raises:
        UserError: there is no finished index, it is damaged or was made by another model, another
            process is writing it, or a key is there twice.
    """
    path = generations.index_file(path)
    wanted = _by_key(path, passages)
    with _writing(path) as (database, generation):
        if generation.fingerprint != embedder.fingerprint:
            raise UserError(
                f"{path}: made by another model than the one given. "
                f"Run: customir index {owner(path.parent)}"
            )
        number = generation.number
        held = _rows_of(database, number, {passage.of for passage in passages})
        for key in wanted:  # a passage that has moved to another document
            row = database.execute(
                f"SELECT * FROM passage_{number} WHERE key = ?", (key,)
            ).fetchone()
            held |= {row[0]: row} if row else {}
        return _update(database, generation, held.values(), wanted, embedder, reporter)


def delete_documents(path: Path, documents: Collection[Document]) -> IndexSummary:
    """Delete these documents, in one transaction; those that are not there are no error.

    Afterwards the file is rewritten, so that nothing of them is left in its bytes, in its
    write-ahead log or in the vectors' cache. That takes time in proportion to the whole index: give
    all documents in one call.

    Raises:
        UserError: there is no finished index, it is damaged, or another process is writing it.
    """
    with _writing(generations.index_file(path)) as (database, generation):
        number = generation.number
        with database:
            rows = list(_rows_of(database, number, set(documents)))
            if rows:
                _delete_rows(database, number, rows)
                _renew_revision(database, number)
        return IndexSummary(0, len(rows), 0, _count(database, number), rebuilt=False)


def purge_documents(path: Path, documents: Collection[str]) -> int:
    """Delete documents by key from every generation in the file, also from an unfinished one.

    The file is rewritten as by `delete_documents`, also if no document matches, in case a process
    was stopped before it had done so.

    Returns:
        How many passages were deleted.

    Raises:
        UserError: the index is missing or damaged, or another process is writing it.
    """
    path = generations.index_file(path)
    keys = json.dumps(sorted(documents))
    deleted = 0
    with (
        writer_lock(owner(path.parent)),
        explained(path),
        closing(connect(path, write=True)) as database,
    ):
        for generation in generations_of(database):
            number = generation.number
            with database:
                _delete_words_securely(database, number)
                rows = [
                    identifier
                    for (identifier,) in database.execute(
                        f"SELECT id FROM passage_{number} WHERE document IN "
                        "(SELECT value FROM json_each(?))",
                        (keys,),
                    )
                ]
                if rows:
                    _delete_rows(database, number, rows)
                    _renew_revision(database, number)
                deleted += len(rows)
        _settle(database, path)
    return deleted


def _generation_for(database: apsw.Connection, embedder: Embedder) -> Generation:
    """The generation to work on: the embedder's own, or a new one; half-made others are dropped."""
    stamp = _stamp_of(embedder)
    held = generations_of(database)
    fitting = [entry for entry in held if (entry.fingerprint, entry.dimensions) == stamp]
    with database:
        for entry in held:
            if not entry.whole and entry not in fitting:
                _drop(database, entry.number)
            else:
                _delete_words_securely(database, entry.number)
        if fitting:
            database.execute(
                "UPDATE generation SET updating = 1 WHERE number = ?", (fitting[-1].number,)
            )
            return fitting[-1]
        number = max((entry.number for entry in held), default=0) + 1
        database.execute("INSERT INTO generation VALUES (?, ?, ?, 0, 1, '')", (number, *stamp))
        database.execute(
            GENERATION_SCHEMA.format(
                number=number, dimensions=stamp[1], tokenizer=fts_tokenizer.NAME
            )
        )
        _delete_words_securely(database, number)
    return Generation(number, *stamp, whole=False, updating=True, revision="")


def _update(
    database: apsw.Connection,
    generation: Generation,
    held_rows: Iterable[tuple[Any, ...]],
    wanted: dict[str, IndexedPassage],
    embedder: Embedder,
    reporter: "Reporter",
) -> IndexSummary:
    """Let `wanted` take the place of the passages in `held_rows`."""
    number = generation.number
    gone: dict[Document, list[int]] = {}
    changed: list[tuple[int, IndexedPassage]] = []
    missing = dict(wanted)
    reworded = False
    for row in held_rows:
        held = IndexedPassage(*row[1:])
        passage = wanted.get(held.key)
        if passage is None or passage.content != held.content:
            gone.setdefault((passage or held).of, []).append(row[0])
            continue
        del missing[held.key]
        if passage != held:
            changed.append((row[0], passage))
            reworded |= _words_of(passage) != _words_of(held)
    removed = sum(map(len, gone.values()))
    fresh: dict[Document, list[IndexedPassage]] = {}
    for passage in sorted(
        missing.values(), key=lambda passage: (len(passage.content), passage.key)
    ):
        fresh.setdefault(passage.of, []).append(passage)
    with database:
        without = [document for document in gone if document not in fresh]
        for document in without:
            _delete_rows(database, number, gone.pop(document))
        for identifier, passage in changed:
            _replace_row(database, number, identifier, passage)
        if without:
            _renew_revision(database, number)
        if reworded:
            _note_removal(database)
    with (
        reporter.task("Indexing", total=len(missing), unit="passages") as task,
        closing(_embedded(_batches(fresh), embedder, task)) as batches,
    ):
        for batch, made in batches:
            with database:
                # What a document was is there until what it is now can be found.
                for document in dict.fromkeys(passage.of for passage in batch):
                    _delete_rows(database, number, gone.get(document, []))
                for passage, vector in zip(batch, made, strict=True):
                    _insert_row(database, number, None, passage)
                    database.execute(
                        f"INSERT INTO vector_{number} (rowid, embedding) VALUES (?, ?)",
                        (database.last_insert_rowid(), vector.tobytes()),
                    )
                _renew_revision(database, number)
    return IndexSummary(
        added=len(missing),
        removed=removed,
        changed=len(changed),
        total=_count(database, number),
        rebuilt=not generation.whole,
    )


def _words_of(passage: IndexedPassage) -> tuple[object, ...]:
    """What of a passage may name people or quote them."""
    return (
        passage.of, passage.title, passage.sender, passage.text, passage.recipients,
        passage.attachments,
    )  # fmt: skip


def _batches(fresh: dict[Document, list[IndexedPassage]]) -> Iterator[list[IndexedPassage]]:
    """The passages of whole documents, some `PASSAGES_PER_COMMIT` at a time.

    Those with short passages first, so that a batch wastes little padding; the rest of a killed run
    is cut the same way.
    """
    batch: list[IndexedPassage] = []
    for document in sorted(
        fresh, key=lambda one: (len(fresh[one][-1].content), fresh[one][-1].key)
    ):
        batch += fresh[document]
        if len(batch) >= PASSAGES_PER_COMMIT:
            yield batch
            batch = []
    if batch:
        yield batch


def _embedded(
    batches: Iterable[list[IndexedPassage]], embedder: Embedder, task: "Task"
) -> Generator[tuple[list[IndexedPassage], Vectors]]:
    """Each batch with its vectors. While the caller writes one, the next is embedded."""

    def embed(batch: list[IndexedPassage]) -> tuple[list[IndexedPassage], Vectors]:
        return batch, embedder.encode([passage.content for passage in batch], "passage", task)

    with ThreadPoolExecutor(1) as ahead:
        coming: Future[tuple[list[IndexedPassage], Vectors]] | None = None
        for batch in batches:
            current, coming = coming, ahead.submit(embed, batch)
            if current is not None:
                yield current.result()
        if coming is not None:
            yield coming.result()


def _finish(database: apsw.Connection, generation: Generation) -> None:
    """Let `generation` be the one that is searched, and drop what it replaces."""
    with database:
        database.execute(
            "UPDATE generation SET whole = 1, updating = 0 WHERE number = ?", (generation.number,)
        )
        for entry in generations_of(database):
            if entry.number != generation.number:
                _drop(database, entry.number)


def _renew_revision(database: apsw.Connection, number: int) -> None:
    # No counter: that of an index that was deleted and built again would start over.
    database.execute(
        "UPDATE generation SET revision = hex(randomblob(16)) WHERE number = ?", (number,)
    )


def _drop(database: apsw.Connection, number: int) -> None:
    _note_removal(database)
    for table in ("vector", "words", "passage"):
        database.execute(f"DROP TABLE {table}_{number}")
    database.execute("DELETE FROM generation WHERE number = ?", (number,))


def _delete_words_securely(database: apsw.Connection, number: int) -> None:
    """Let FTS5 take deleted words out of its segments at once, and not when these are merged."""
    database.execute(
        f"INSERT INTO words_{number} (words_{number}, rank) VALUES ('secure-delete', 1)"
    )


def _note_removal(database: apsw.Connection) -> None:
    """Remember, in the transaction that removes something, that the file is to be rewritten."""
    database.execute(f"{REMOVAL_SCHEMA}; INSERT OR IGNORE INTO removal VALUES (1)")


def _settle(database: apsw.Connection, path: Path) -> None:
    """After all changes: rewrite what a removal has left, and the vectors' cache.

    SQLite moves rows between pages without wiping the old place, FTS5 keeps words as keys between
    pages, and the write-ahead log keeps pages as they were: all of these are made anew.
    """
    database.execute(REMOVAL_SCHEMA)
    pending = database.execute("SELECT pending FROM removal").fetchone()
    if pending:
        for generation in generations_of(database):
            number = generation.number
            database.execute(f"INSERT INTO words_{number} (words_{number}) VALUES ('rebuild')")
        database.execute("VACUUM")
        # Of the state before; where there is no kernel, nothing replaces it.
        path.with_name(cache.CACHE_NAME).unlink(missing_ok=True)
    with database:
        vectors(database, path)
    if pending:
        try:
            database.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        except apsw.BusyError:
            log.warning(
                "%s: a search that is under way still reads what was removed; the next change "
                "wipes it.",
                path,
            )
        else:
            database.execute("DELETE FROM removal")
        folder = owner(path.parent)
        if folder != path.parent == generations.current(folder):
            generations.drop_previous(folder)  # it holds what was removed


def _by_key(path: Path, passages: Sequence[IndexedPassage]) -> dict[str, IndexedPassage]:
    wanted = {passage.key: passage for passage in passages}
    if len(wanted) != len(passages):
        raise UserError(f"{path}: {len(passages) - len(wanted)} passages have a key twice.")
    return wanted


def _rows_of(
    database: apsw.Connection, number: int, documents: set[Document]
) -> dict[int, tuple[Any, ...]]:
    """The rows of these documents' passages, by their ids."""
    statement = f"SELECT * FROM passage_{number} WHERE source = ? AND identifier = ?"
    rows = (row for document in sorted(documents) for row in database.execute(statement, document))
    return {row[0]: row for row in rows}


def _count(database: apsw.Connection, number: int) -> int:
    (total,) = next(database.execute(f"SELECT count(*) FROM passage_{number}"))
    return int(total)


def _delete_rows(database: apsw.Connection, number: int, identifiers: Sequence[int]) -> None:
    if identifiers:
        _note_removal(database)
    for identifier in identifiers:
        database.execute(f"DELETE FROM vector_{number} WHERE rowid = ?", (identifier,))
        database.execute(f"DELETE FROM passage_{number} WHERE id = ?", (identifier,))


def _replace_row(
    database: apsw.Connection, number: int, identifier: int, passage: IndexedPassage
) -> None:
    database.execute(f"DELETE FROM passage_{number} WHERE id = ?", (identifier,))
    _insert_row(database, number, identifier, passage)


def _insert_row(
    database: apsw.Connection, number: int, identifier: int | None, passage: IndexedPassage
) -> None:
    values = (identifier, *astuple(passage))
    marks = ", ".join("?" * len(values))
    database.execute(f"INSERT INTO passage_{number} VALUES ({marks})", values)


@contextmanager
def _writing(path: Path) -> Iterator[tuple[apsw.Connection, Generation]]:
    """A finished index, open for changes, which are settled afterwards."""
    if not path.exists():
        connect(path)
    with (
        writer_lock(owner(path.parent)),
        explained(path),
        closing(connect(path, write=True)) as database,
    ):
        generation = live_generation(database)
        if generation is None:
            raise UserError(f"{path}: unfinished. Run: customir index {owner(path.parent)}")
        _delete_words_securely(database, generation.number)
        yield database, generation
        _settle(database, path)
