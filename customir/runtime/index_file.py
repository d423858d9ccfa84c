"""The index as a file: its schema, how it is opened and checked, and its generations of rows."""

import functools
import logging
import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import apsw
import apsw.sqlite_extra
import sqlite_vec

from customir.errors import UserError
from customir.files import create_database_file
from customir.kernels.scan import best_kernel
from customir.runtime import cache, fts_tokenizer
from customir.runtime.cache import VectorCache
from customir.runtime.generations import owner
from customir.runtime.index_migrations import OLDEST, migrate

APPLICATION = 0x43495231  # "CIR1", so that no other program's file is taken for an index


FORMAT = 7


CHECKSUMS = "cksmvfs"  # SQLite's name for the layer that checks pages


CHECKSUM_BYTES = 8  # of each page


BUSY_MILLISECONDS = 30_000


# Checked pages cannot be mapped into memory; in SQLite's own 2 MB, scattered rows are read 20 times.
PAGE_CACHE_KIB = 32 << 10


log = logging.getLogger("customir")


SCHEMA = f"""
    CREATE TABLE generation (           -- the newest whole one is searched
        number INTEGER PRIMARY KEY,
        fingerprint TEXT NOT NULL,      -- of the embedder
        dimensions INTEGER NOT NULL,
        whole INTEGER NOT NULL,         -- 0: never finished, so never searched
        updating INTEGER NOT NULL,      -- 1: an update is under way or was cut short
        revision TEXT NOT NULL          -- random; a new one whenever vectors changed
    ) STRICT;
    PRAGMA application_id = {APPLICATION};
    PRAGMA user_version = {FORMAT};
"""


# One row from a removal until the file has been rewritten without what was removed.
REMOVAL_SCHEMA = "CREATE TABLE IF NOT EXISTS removal (pending INTEGER PRIMARY KEY) STRICT"


GENERATION_SCHEMA = """
    CREATE TABLE passage_{number} (
        id INTEGER PRIMARY KEY,
        key TEXT NOT NULL UNIQUE,
        document TEXT NOT NULL,
        identifier TEXT NOT NULL,
        source TEXT NOT NULL,
        title TEXT NOT NULL,
        sender TEXT NOT NULL,
        date TEXT,                      -- ISO 8601
        thread TEXT NOT NULL,
        duplicates TEXT NOT NULL,       -- near-duplicate group
        text TEXT NOT NULL,
        header TEXT,                    -- above the text where it is embedded; NULL: the title
        ordinal INTEGER NOT NULL,       -- position in the document, from 0
        recipients TEXT NOT NULL,
        attachments TEXT NOT NULL,      -- file names, one on each line
        language TEXT NOT NULL,         -- ISO 639-1; empty where it is not known
        thin INTEGER NOT NULL           -- 1: the words of its title count for nothing
    ) STRICT;
    CREATE INDEX passage_{number}_duplicates ON passage_{number} (duplicates);
    CREATE INDEX passage_{number}_thread ON passage_{number} (thread);
    CREATE INDEX passage_{number}_of ON passage_{number} (identifier, source);
    CREATE INDEX passage_{number}_thin ON passage_{number} (id) WHERE thin;
    CREATE VIRTUAL TABLE vector_{number} USING vec0(
        embedding float[{dimensions}] distance_metric=cosine
    );
    CREATE VIRTUAL TABLE words_{number} USING fts5(
        title, text, content='passage_{number}', content_rowid='id', tokenize='{tokenizer}'
    );
    CREATE TRIGGER words_{number}_insert AFTER INSERT ON passage_{number} BEGIN
        INSERT INTO words_{number} (rowid, title, text) VALUES (new.id, new.title, new.text);
    END;
    CREATE TRIGGER words_{number}_delete AFTER DELETE ON passage_{number} BEGIN
        INSERT INTO words_{number} (words_{number}, rowid, title, text)
        VALUES ('delete', old.id, old.title, old.text);
    END;
"""


@dataclass(frozen=True)
class Generation:
    """A complete set of tables in the file, and the model that made its vectors."""

    number: int
    fingerprint: str
    dimensions: int
    whole: bool
    updating: bool
    revision: str

    @property
    def stamp(self) -> str:
        """Names the vectors that it holds now, for their cache."""
        return f"{self.number} {self.revision}"


def connect(path: Path, *, write: bool = False, older: bool = False) -> apsw.Connection:
    """Open an index, with sqlite-vec loaded. Call it, and use it, within `explained`.

    Args:
        write: Create the file if it is missing, and migrate it if it has an older format.
        older: Also read older formats that can be migrated; their passages lack the last columns.

    Raises:
        UserError: the file is missing (unless `write`) or no index of this version.
    """
    if write:
        create_database_file(path)
    elif not path.exists():
        folder = owner(path.parent)
        raise UserError(f"{folder}: no index here. Run: customir index {folder}")
    _check_pages()
    flags = apsw.SQLITE_OPEN_READWRITE if write else apsw.SQLITE_OPEN_READONLY
    database = apsw.Connection(str(path), flags=flags, vfs=CHECKSUMS)
    try:
        database.set_busy_timeout(BUSY_MILLISECONDS)
        database.pragma("cache_size", -PAGE_CACHE_KIB)
        database.pragma("secure_delete", "on")  # what is deleted is overwritten with zeros
        database.pragma("trusted_schema", "off")
        database.enable_load_extension(True)
        database.load_extension(sqlite_vec.loadable_path())
        database.enable_load_extension(False)
        fts_tokenizer.register(database)
        if write and not next(database.execute("SELECT count(*) FROM sqlite_schema"))[0]:
            # New, or left by a run for which there was no room to begin in.
            database.reserve_bytes(reserve=CHECKSUM_BYTES)
            database.pragma("journal_mode", "wal")
            with database:
                database.execute(SCHEMA)
        if database.pragma("application_id") != APPLICATION:
            raise UserError(f"{path}: not an index of CustomIR. Move it away.")
        version = database.pragma("user_version")
        if write and OLDEST <= version < FORMAT:
            migrate(database, version, FORMAT)
        elif version != FORMAT and not (older and OLDEST <= version < FORMAT):
            raise UserError(_of_another_version(path, version))
        if not int(database.pragma("checksum_verification")):
            raise UserError(f"{path}: damaged (its pages have no checksums). {_rebuild(path)}")
        _check_schema(database, path)
    except BaseException:
        database.close()
        raise
    return database


def _check_schema(database: apsw.Connection, path: Path) -> None:
    """Refuse views, and triggers but our own: a planted one could keep a search busy for ever."""
    ours = " ".join(GENERATION_SCHEMA.split())
    for kind, name, statement in database.execute(
        "SELECT type, name, sql FROM sqlite_schema WHERE type IN ('view', 'trigger')"
    ):
        general = re.sub(r"_\d+(?!\d)", "_{number}", " ".join(statement.split()))
        if kind == "view" or general not in ours:
            raise UserError(
                f"{path}: its {kind} {name} is not of CustomIR, so somebody else wrote to this file. "
                f"{_rebuild(path)}"
            )


@functools.cache
def _check_pages() -> None:
    """Have SQLite know the layer that checks pages; only what asks for it by name uses it."""
    usual = apsw.vfs_names()[0]
    with closing(apsw.Connection(":memory:")) as database:
        apsw.sqlite_extra.load(database, "cksumvfs")
    apsw.set_default_vfs(usual)


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn SQLite's complaints about the file into errors that say what to do."""
    try:
        yield
    except (apsw.NotADBError, apsw.CorruptError) as error:
        raise UserError(f"{path}: damaged ({error}). {_rebuild(path)}") from error
    except apsw.BusyError as error:
        raise UserError(f"{path}: in use by another process. Try again later.") from error
    except (apsw.FullError, apsw.IOError, apsw.SQLError) as error:
        if _is_damaged(path):
            raise UserError(f"{path}: damaged (checksum of a page). {_rebuild(path)}") from error
        # Of a full disk SQLite rolls back by itself; then it is the second rollback that fails.
        cause = error.__context__ if isinstance(error, apsw.SQLError) else error
        if not isinstance(cause, (apsw.FullError, apsw.IOError)):
            raise
        raise UserError(
            f"{path}: cannot be read or written ({cause}). Is the disk full? Make room and run it "
            "again."
        ) from cause
    except apsw.CantOpenError as error:
        raise UserError(f"{path}: cannot be opened ({error}). May you read its folder?") from error


def _is_damaged(path: Path) -> bool:
    """Whether a page is not what its checksum says. FTS5 and sqlite-vec hide it in their own errors."""
    try:
        with closing(
            apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY, vfs=CHECKSUMS)
        ) as database:
            return bool(database.execute("PRAGMA quick_check").fetchone() != ("ok",))
    except (apsw.NotADBError, apsw.CorruptError):
        return True
    except apsw.IOError as error:
        return getattr(error, "extendedresult", None) == apsw.SQLITE_IOERR_DATA


def _of_another_version(path: Path, version: int) -> str:
    if version > FORMAT:
        return (
            f"{path}: written by a later version of CustomIR (format {version}; this version reads "
            f"{FORMAT}). Install that version."
        )
    vectors = "; its vectors are kept" if version >= OLDEST else ""
    return (
        f"{path}: written by an earlier version of CustomIR (format {version}; this version reads "
        f"{FORMAT}). Update it from the sources{vectors}: customir index --out {owner(path.parent)}"
    )


def _rebuild(path: Path) -> str:
    return f"Delete it and run: customir index {owner(path.parent)}"


def live_generation(database: apsw.Connection) -> Generation | None:
    """The generation that is to be searched; None where none was ever finished."""
    whole = [generation for generation in generations_of(database) if generation.whole]
    return whole[-1] if whole else None


def vectors(database: apsw.Connection, path: Path, *, again: bool = False) -> VectorCache | None:
    """The live generation's vectors for the scan kernel, made again where the cache is not theirs.

    None where there is no kernel, or nothing to search. Call it in a transaction.

    Args:
        again: Make the cache again, even where it looks right.
    """
    generation = live_generation(database)
    if generation is None or best_kernel() is None:
        return None
    file = path.with_name(cache.CACHE_NAME)
    cached = None if again else cache.load(file, generation.stamp)
    if cached is not None:
        return cached
    statement = f"SELECT rowid, embedding FROM vector_{generation.number} ORDER BY rowid"
    return cache.build(
        file, generation.stamp, generation.dimensions, lambda: database.execute(statement)
    )


def generations_of(database: apsw.Connection) -> list[Generation]:
    rows = database.execute(
        "SELECT number, fingerprint, dimensions, whole, updating, revision FROM generation "
        "ORDER BY number"
    )
    return [
        Generation(number, fingerprint, dimensions, bool(whole), bool(updating), revision)
        for number, fingerprint, dimensions, whole, updating, revision in rows
    ]
