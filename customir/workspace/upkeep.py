"""Looking the workspace over as a whole, and copying it while others use it."""

import sqlite3
from contextlib import closing
from pathlib import Path

from customir.files import create_database_file
from customir.workspace.database import Workspace


def count_rows(workspace: Workspace) -> dict[str, int]:
    """Count the rows of every table, by its name."""
    names = workspace.database.execute(
        "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name"
    ).fetchall()
    return {
        name: workspace.database.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0]
        for (name,) in names
    }


def find_damage(workspace: Workspace) -> list[str]:
    """What SQLite's checks of pages, indexes and references find; empty if the file is intact."""
    found = [text for (text,) in workspace.database.execute("PRAGMA integrity_check")]
    broken = workspace.database.execute("PRAGMA foreign_key_check").fetchall()
    return [text for text in found if text != "ok"] + [
        f"{table}: row {row} refers to a missing row of {parent}"
        for table, row, parent, _ in broken
    ]


def copy_workspace(workspace: Workspace, target: Path) -> None:
    """Copy the file as it is at this moment, while others read and write it."""
    create_database_file(target)
    with closing(sqlite3.connect(target)) as copy:
        workspace.database.backup(copy)


def empty_log(path: Path) -> None:
    """Write everything from a workspace's write-ahead log to the file, and delete the log."""
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
