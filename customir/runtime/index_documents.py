"""Looking an index over as a whole: its documents, its tables, and whether it is intact."""

from contextlib import closing
from pathlib import Path

from customir.runtime.index_file import (
    connect,
    explained,
    generations_of,
    live_generation,
)

DocumentRow = tuple[str, str, str, str, str, str | None]


def read_document_rows(path: Path) -> set[DocumentRow]:
    """Read key, source, identifier, title, sender and date of every document of an index.

    Raises:
        UserError: the index is missing or damaged.
    """
    with explained(path), closing(connect(path, older=True)) as database:
        return {
            row
            for generation in generations_of(database)
            for row in database.execute(
                "SELECT DISTINCT document, source, identifier, title, sender, date "
                f"FROM passage_{generation.number}"
            )
        }


def is_removal_pending(path: Path) -> bool:
    """Whether the file may still hold bytes of what was deleted from the index.

    Raises:
        UserError: the index is missing or damaged.
    """
    with explained(path), closing(connect(path, older=True)) as database:
        known = database.execute(
            "SELECT 1 FROM sqlite_schema WHERE name = 'removal' AND type = 'table'"
        ).fetchone()
        return bool(known and database.execute("SELECT 1 FROM removal").fetchone())


def count_rows(path: Path) -> dict[str, int]:
    """Count the rows of every table of an index, by its name.

    Raises:
        UserError: the index is missing or damaged.
    """
    with explained(path), closing(connect(path, older=True)) as database:
        names = [
            str(name)
            for (name,) in database.execute(
                "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name"
            )
        ]
        counts = (next(database.execute(f'SELECT count(*) FROM "{name}"')) for name in names)
        return {name: int(count) for name, (count,) in zip(names, counts, strict=True)}


def find_damage(path: Path) -> list[str]:
    """What reading every page of an index finds; empty if it is intact. Each page has a checksum.

    Raises:
        UserError: the file cannot be read as an index at all.
    """
    with explained(path), closing(connect(path, older=True)) as database:
        found = [str(text) for (text,) in database.execute("PRAGMA integrity_check")]
        return [text for text in found if text != "ok"]


def current_stamp(path: Path) -> str | None:
    """What names the vectors that an index holds now, for their cache; None if it is unfinished.

    Raises:
        UserError: the index is missing or damaged.
    """
    with explained(path), closing(connect(path, older=True)) as database:
        generation = live_generation(database)
        return generation.stamp if generation else None
