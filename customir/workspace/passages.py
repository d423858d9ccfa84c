"""Passages as rows of the workspace."""

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from customir.text.header import with_header
from customir.workspace.database import Workspace


@dataclass(frozen=True)
class Passage:
    """A piece of a document, short enough for the embedder.

    Attributes:
        document: Key of its document.
        ordinal: Position in the document, from 0.
        text: Without the document's title.
        duplicates: Near-duplicate group: the smallest passage key in it.
        title, thread: Those of the document.
        header: The text above it for embedding; None: the title.
    """

    key: str
    document: str
    ordinal: int
    text: str
    duplicates: str
    title: str
    thread: str
    header: str | None = None

    @property
    def content(self) -> str:
        """What is embedded and indexed: the header, if there is one, above the text."""
        return with_header(self.text, self.title, self.header)


@dataclass(frozen=True)
class PassageRow:
    """A passage as it is written: its text, its place, and the header above it."""

    key: str
    document: str
    ordinal: int
    text: str
    header: str | None


@dataclass(frozen=True)
class DocumentToSplit:
    """The fields of a document that are needed to split it into passages."""

    key: str
    text: str
    title: str
    sender: str
    date: str | None
    recipients: str
    is_mail: bool


def read_passages(workspace: Workspace) -> list[Passage]:
    """Read every passage with its document's title and thread, ordered by key."""
    rows = workspace.database.execute(
        "SELECT passage.key, document, ordinal, passage.text, duplicates, title, thread, "
        "header FROM passage JOIN document ON document.key = passage.document ORDER BY passage.key"
    )
    return [Passage(*row) for row in rows]


def read_passages_to_index(workspace: Workspace) -> Iterator[tuple[str | int | None, ...]]:
    """Read the columns of the index's passages, ordered by key.

    Yields:
        key, document, identifier, source, title, sender, date, thread, duplicates, text, header,
        ordinal, recipients, attachments, language.
    """
    return workspace.database.execute(
        "SELECT passage.key, document, identifier, source, title, sender, date, thread, "
        "duplicates, passage.text, header, ordinal, recipients, attachments, language "
        "FROM passage JOIN document ON document.key = document ORDER BY passage.key"
    )


def read_documents_to_split(workspace: Workspace, keys: Sequence[str]) -> list[DocumentToSplit]:
    """Read these documents, ordered by key."""
    rows = workspace.database.execute(
        "SELECT key, document.text, title, sender, date, recipients, is_mail "
        "FROM document JOIN original ON original.document = key "
        "WHERE key IN (SELECT value FROM json_each(?)) ORDER BY key",
        (json.dumps(keys),),
    )
    return [DocumentToSplit(*row) for row in rows]


def read_texts(workspace: Workspace) -> Iterator[tuple[str, str]]:
    """Read key and text of every passage, ordered by key."""
    return workspace.database.execute("SELECT key, text FROM passage ORDER BY key")


def read_passages_of(workspace: Workspace, document: str) -> list[tuple[str, str, int]]:
    """Read key, text and number of other near-duplicates of a document's passages, in order."""
    return workspace.database.execute(
        "SELECT key, text, (SELECT count(*) - 1 FROM passage AS other "
        "WHERE other.duplicates = passage.duplicates) FROM passage "
        "WHERE document = ? ORDER BY ordinal",
        (document,),
    ).fetchall()


def count_passages(workspace: Workspace) -> int:
    """Count the passages."""
    (count,) = workspace.database.execute("SELECT count(*) FROM passage").fetchone()
    return int(count)


def count_duplicates(workspace: Workspace) -> tuple[int, int]:
    """Count the near-duplicate groups of two passages or more, and the passages in them."""
    groups, members = workspace.database.execute(
        "SELECT count(*), coalesce(sum(size), 0) FROM "
        "(SELECT count(*) AS size FROM passage GROUP BY duplicates HAVING size > 1)"
    ).fetchone()
    return int(groups), int(members)


def replace_passages(
    database: sqlite3.Connection,
    documents: Sequence[str],
    passages: Sequence[PassageRow],
    shortened: Mapping[str, str],
) -> None:
    """Make `passages` the passages of these documents, in a transaction.

    A passage that is there already keeps its row. Until passages are grouped, each new one is its
    own near-duplicate group.

    Args:
        documents: Keys of the documents.
        shortened: New texts of documents, by key.
    """
    database.executemany("UPDATE document SET text = ?2 WHERE key = ?1", shortened.items())
    held = dict(
        database.execute(
            "SELECT key, header FROM passage WHERE document IN (SELECT value FROM json_each(?))",
            (json.dumps(documents),),
        )
    )
    wanted = {passage.key for passage in passages}
    database.executemany(
        "DELETE FROM passage WHERE key = ?", [(key,) for key in held if key not in wanted]
    )
    database.executemany(
        "UPDATE passage SET header = ?2 WHERE key = ?1",
        [(p.key, p.header) for p in passages if p.key in held and held[p.key] != p.header],
    )
    database.executemany(
        "INSERT INTO passage (key, document, ordinal, text, duplicates, header) "
        "VALUES (?1, ?2, ?3, ?4, ?1, ?5)",
        [(p.key, p.document, p.ordinal, p.text, p.header) for p in passages if p.key not in held],
    )


def update_duplicates(database: sqlite3.Connection, groups: Mapping[str, str]) -> None:
    """Set the near-duplicate group of passages by key, in a transaction."""
    database.executemany(
        "UPDATE passage SET duplicates = ?2 WHERE key = ?1 AND duplicates <> ?2", groups.items()
    )
