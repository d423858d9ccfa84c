"""Tables of the workspace, the number of their rows, and whether the file is intact."""

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
