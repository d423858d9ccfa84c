"""The workspace: one SQLite file in DIR that every stage reads from and writes to."""

import fcntl
import json
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from customir.errors import UserError
from customir.files import create_database_file, is_disk_full, make_private_folder
from customir.workspace.migrations import MIGRATIONS, migrate, version_of

DATABASE_NAME = "workspace.db"
LOCK_NAME = "workspace.lock"
KEYS_PER_STATEMENT = 500
TEXT_KINDS = ("query", "judgment", "embedding", "topic")  # of results that are made of texts


@dataclass(frozen=True)
class Work:
    """The progress of a stage with one kind of unit, and the time for the computed units."""

    kind: str
    done: int
    total: int
    computed: int
    seconds: float

    @property
    def rate(self) -> float | None:
        """Measured units per second; None before any was computed."""
        return self.computed / self.seconds if self.computed and self.seconds else None


@dataclass(frozen=True)
class StageState:
    """The state of a stage. `seconds` counts work without interruptions."""

    name: str
    fingerprint: str
    finished: bool
    seconds: float
    detail: dict[str, Any]
    work: tuple[Work, ...]


class Workspace:
    """A connection to DIR/workspace.db. Use as a context manager.

    Args:
        folder: DIR. If it does not exist, it is created, readable by its owner alone.
        write: Take the lock that keeps a second writer out. Readers need none (WAL).
        older: Also open a file with an older schema for reading, to look at it as a whole.

    Raises:
        UserError: another process is writing, the file is not a workspace of this version, or (for
            a reader) `folder` has no workspace.
    """

    def __init__(self, folder: Path, *, write: bool = True, older: bool = False) -> None:
        self.folder = folder
        path = folder / DATABASE_NAME
        self._lock: int | None = None
        self._clock = time.monotonic()
        if not write and not path.exists():
            raise UserError(
                f"{folder}: it has no workspace. Run: customir adapt SOURCE --out {folder}"
            )
        try:
            if write:
                make_private_folder(folder)
                self._lock = _take_lock(folder / LOCK_NAME)
                create_database_file(path)
            self.database = sqlite3.connect(path, isolation_level=None, timeout=30)
            self.database.execute("PRAGMA journal_mode = WAL")
            self.database.execute("PRAGMA synchronous = FULL")
            self.database.execute("PRAGMA foreign_keys = ON")
            self.database.execute("PRAGMA secure_delete = ON")
            self.database.execute("PRAGMA trusted_schema = OFF")
            _check_schema(self.database)
            if write:
                # SQLite rewrites a file and sorts with temporary files, which hold the corpus, too.
                # By default they lie in /var/tmp, on a disk that may not be encrypted.
                beside = str(folder.resolve()).replace("'", "''")
                self.database.execute(f"PRAGMA temp_store_directory = '{beside}'")
                migrate(self.database)
            elif version_of(self.database) < len(MIGRATIONS) and not older:
                # Reading must not write: another process may be at work there.
                raise ValueError("its schema is older than this CustomIR's")
        except UserError:
            self.close()
            raise
        except (OSError, sqlite3.DatabaseError, ValueError) as error:
            self.close()
            if is_disk_full(error):
                raise UserError(
                    f"{path}: no room on the disk ({error}). Make room and run the same command again."
                ) from error
            raise UserError(
                f"{path}: not a usable workspace ({error}). Run adapt again; if the error remains, "
                "move the file away first."
            ) from error

    @property
    def writes(self) -> bool:
        """Whether this is the one process that may write."""
        return self._lock is not None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file and release the writer's lock."""
        if hasattr(self, "database"):
            self.database.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Write everything inside the block, or nothing."""
        self.database.execute("BEGIN IMMEDIATE")
        try:
            yield self.database
        except BaseException:
            if self.database.in_transaction:  # SQLite itself rolls back where the disk is full
                self.database.execute("ROLLBACK")
            raise
        self.database.execute("COMMIT")

    def results(self, keys: Iterable[str]) -> dict[str, bytes]:
        """The existing results for `keys`, by key."""
        wanted = list(dict.fromkeys(keys))
        found: dict[str, bytes] = {}
        for start in range(0, len(wanted), KEYS_PER_STATEMENT):
            part = wanted[start : start + KEYS_PER_STATEMENT]
            marks = ",".join("?" * len(part))
            found.update(
                self.database.execute(f"SELECT key, value FROM result WHERE key IN ({marks})", part)
            )
        return found

    def note_removal(self) -> None:
        """Note that documents have left the corpus. Call it in the transaction that deletes them.

        Summaries of stale stages, which contain samples of texts, are deleted as well.
        """
        self.database.execute("DELETE FROM stage WHERE fingerprint = ''")
        self.database.execute("INSERT OR IGNORE INTO removal VALUES (1)")
        self.database.execute("DELETE FROM used")

    @property
    def removal_pending(self) -> bool:
        """Whether something derived from removed documents may still exist."""
        return self.database.execute("SELECT 1 FROM removal").fetchone() is not None

    def note_used(self, keys: Iterable[str]) -> None:
        """Keep the results of `keys` when `forget_removed` deletes those of what was removed."""
        if self.removal_pending:
            self.database.executemany(
                "INSERT OR IGNORE INTO used VALUES (?)", ((key,) for key in keys)
            )

    def rewrite(self) -> bool:
        """Rewrite the file after a removal, without free pages, and empty the write-ahead log.

        Returns:
            Whether the log could be emptied; not where another process is reading just now.
        """
        self.database.execute("VACUUM")
        (busy, *_) = self.database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return not busy

    def forget_removed(self) -> None:
        """Delete every result that no stage has asked for since documents were removed.

        Call it when all stages are done: what they asked for is what the corpus as it is now needs.
        Results for other settings go as well, since nothing tells of which texts they were made.
        """
        if not self.removal_pending:
            return
        marks = ",".join("?" * len(TEXT_KINDS))
        with self.transaction() as database:
            database.execute(
                f"DELETE FROM result WHERE kind IN ({marks}) AND key NOT IN (SELECT result FROM used)",
                TEXT_KINDS,
            )
        if self.rewrite():
            self.end_removal()

    def end_removal(self) -> None:
        """Note that nothing of what was removed is left."""
        with self.transaction() as database:
            database.execute("DELETE FROM used")
            database.execute("DELETE FROM removal")

    def add_result(self, key: str, kind: str, value: bytes) -> None:
        """Store the result of one unit of work."""
        with self.transaction() as database:
            database.execute("INSERT INTO result VALUES (?, ?, ?)", (key, kind, value))

    def stage_seconds(self) -> list[tuple[str, float]]:
        """Name and seconds of work of each finished stage, in their order."""
        return self.database.execute(
            "SELECT name, seconds FROM stage WHERE finished = 1 ORDER BY rowid"
        ).fetchall()

    def stage(self, name: str) -> StageState | None:
        """The state of stage `name`, or None if it never ran."""
        row = self.database.execute("SELECT * FROM stage WHERE name = ?", (name,)).fetchone()
        if row is None:
            return None
        name, fingerprint, finished, seconds, detail = row
        work = self.database.execute(
            "SELECT kind, done, total, computed, seconds FROM work WHERE stage = ? ORDER BY kind",
            (name,),
        )
        return StageState(
            name,
            fingerprint,
            bool(finished),
            seconds,
            json.loads(detail),
            tuple(Work(*kind) for kind in work),
        )

    def begin_stage(self, name: str, fingerprint: str, later: Sequence[str] = ()) -> None:
        """Mark a stage as in progress. An interrupted run of the same work keeps its seconds.

        Args:
            later: The stages that read this one's rows: from now on none of them is done.
        """
        with self.transaction() as database:
            database.executemany(
                "UPDATE stage SET fingerprint = '' WHERE name = ?", [(stage,) for stage in later]
            )
            database.execute(
                "DELETE FROM work WHERE stage = ? AND NOT EXISTS "
                "(SELECT 1 FROM stage WHERE name = ? AND fingerprint = ?)",
                (name, name, fingerprint),
            )
            database.execute(
                "INSERT INTO stage VALUES (?, ?, 0, 0, '{}') ON CONFLICT (name) DO UPDATE SET "
                "seconds = CASE WHEN fingerprint = excluded.fingerprint THEN seconds ELSE 0 END, "
                "fingerprint = excluded.fingerprint, finished = 0, detail = '{}'",
                (name, fingerprint),
            )
        self._clock = time.monotonic()

    def finish_stage(self, name: str, detail: dict[str, Any]) -> None:
        """Mark a stage as done, with its summary for the report."""
        with self.transaction() as database:
            self._tick(name)
            database.execute(
                "UPDATE stage SET finished = 1, detail = ? WHERE name = ?",
                (json.dumps(detail), name),
            )

    def count_work(
        self, stage: str, kind: str, *, done: int, total: int, computed: int, seconds: float
    ) -> None:
        """Record a stage's progress: `done` of `total` units; `computed` more took `seconds`."""
        self.database.execute(
            "INSERT INTO work VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (stage, kind) DO UPDATE SET "
            "done = excluded.done, total = excluded.total, "
            "computed = computed + excluded.computed, seconds = seconds + excluded.seconds",
            (stage, kind, done, total, computed, seconds),
        )
        self._tick(stage)

    def _tick(self, stage: str) -> None:
        """Add the time since the last tick to a stage in progress."""
        now = time.monotonic()
        self.database.execute(
            "UPDATE stage SET seconds = seconds + ? WHERE name = ?", (now - self._clock, stage)
        )
        self._clock = now


def _check_schema(database: sqlite3.Connection) -> None:
    """Refuse views and triggers, of which the schema has none: their code would run in ours."""
    foreign = database.execute(
        "SELECT type, name FROM sqlite_schema WHERE type IN ('view', 'trigger')"
    ).fetchone()
    if foreign:
        raise ValueError(f"its {foreign[0]} {foreign[1]} is not of CustomIR")


@contextmanager
def workspace_lock(folder: Path) -> Iterator[None]:
    """Keep other processes from writing DIR's workspace, whether it has one or not.

    Raises:
        UserError: another process is writing it.
    """
    lock = _take_lock(folder / LOCK_NAME)
    try:
        yield
    finally:
        os.close(lock)


def _take_lock(path: Path) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise UserError(
            f"{path.parent}: another customir process is using it. Wait for it, or stop it first."
        ) from error
    return descriptor
