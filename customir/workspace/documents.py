"""Documents, their originals, and what was skipped, as rows of the workspace."""

import json
import sqlite3
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from operator import attrgetter

from customir.workspace.database import Workspace
from customir.workspace.keys import content_key

# The fastest level: an original is written for every message and read for the one that is shown.
COMPRESSION = 1


@dataclass(frozen=True)
class DocumentHead:
    """What is known of a cleaned document without its text. `key` is a hash of its content.

    Attributes:
        source: The path that was given to `ingest`.
        identifier: Message-ID, `_id`, or path below the source.
        sender: A decoded header; empty if there is none.
        date: ISO 8601 in UTC, or None.
    """

    key: str
    source: str
    identifier: str
    title: str
    sender: str
    date: str | None

    @property
    def identity(self) -> str:
        """A hash by which a purged document is recognised when a source is read again.

        The text is not part of it, because a later version may clean it differently.
        """
        return content_key("purged", self.identifier, self.title, self.sender, self.date)


@dataclass(frozen=True)
class Document(DocumentHead):
    """A cleaned document.

    Attributes:
        recipients: Decoded headers; empty if there are none.
        thread: The key that all documents of a thread share.
        text: The cleaned text.
        attachments: Names of the files that came with it, one on each line; of a document that
            itself came with a message, its own name.
        language: ISO 639-1 code; empty where it is not known.
    """

    thread: str
    text: str
    recipients: str
    attachments: str = ""
    language: str = ""


DOCUMENT_COLUMNS = (
    "key, source, identifier, title, sender, date, thread, document.text, recipients, attachments, "
    "language"
)


@dataclass(frozen=True)
class Original:
    """A document as its reader found it.

    Attributes:
        document: Key of the document.
        packed: The text, decoded and with HTML already turned to text, as `pack_text` packs it.
        references: Message-IDs that it answers, oldest first.
        is_mail: Whether it was cleaned as mail.
    """

    document: str
    packed: bytes
    references: tuple[str, ...]
    is_mail: bool

    @property
    def text(self) -> str:
        """The text as the reader found it."""
        return zlib.decompress(self.packed).decode("utf-8", "surrogatepass")


@dataclass(frozen=True)
class SkippedRow:
    """A message, line or file that was skipped, and the reason."""

    source: str
    identifier: str
    reason: str


# The values of a row, without the deep copies of dataclasses.astuple.
DOCUMENT_ROW = attrgetter(*(each.name for each in fields(Document)))
SKIPPED_ROW = attrgetter(*(each.name for each in fields(SkippedRow)))


def read_documents(workspace: Workspace) -> list[Document]:
    """Read every document, ordered by key."""
    rows = workspace.database.execute(f"SELECT {DOCUMENT_COLUMNS} FROM document ORDER BY key")
    return [Document(*row) for row in rows]


def find_documents(workspace: Workspace, name: str) -> list[tuple[Document, Original]]:
    """Find the documents with this Message-ID (with or without brackets), `_id`, path or key."""
    rows = workspace.database.execute(
        f"SELECT {DOCUMENT_COLUMNS}, original.text, refs, is_mail FROM document "
        "JOIN original ON original.document = key "
        "WHERE identifier IN (?1, ?2) OR key = ?1 ORDER BY source, key",
        (name, f"<{name}>"),
    )
    return [
        (
            Document(*row[:-3]),
            Original(row[0], row[-3], tuple(row[-2].split()), bool(row[-1])),
        )
        for row in rows
    ]


def find_similar_identifiers(workspace: Workspace, part: str, limit: int) -> list[str]:
    """Find identifiers that contain `part`, at most `limit`."""
    rows = workspace.database.execute(
        "SELECT identifier FROM document WHERE instr(identifier, ?) ORDER BY identifier LIMIT ?",
        (part, limit),
    )
    return [identifier for (identifier,) in rows]


def read_document_keys(workspace: Workspace) -> list[str]:
    """Read the keys of all documents, in order."""
    return [key for (key,) in workspace.database.execute("SELECT key FROM document ORDER BY key")]


def read_document_heads(workspace: Workspace) -> list[DocumentHead]:
    """Read every document without its text, ordered by key."""
    rows = workspace.database.execute(
        "SELECT key, source, identifier, title, sender, date FROM document ORDER BY key"
    )
    return [DocumentHead(*row) for row in rows]


def read_document_names(workspace: Workspace) -> list[tuple[str, str, str]]:
    """Read key, source and identifier of every document."""
    return workspace.database.execute("SELECT key, source, identifier FROM document").fetchall()


def read_dates(workspace: Workspace) -> dict[str, str | None]:
    """Read the date of every document, ISO 8601 in UTC, by key."""
    return dict(workspace.database.execute("SELECT key, date FROM document"))


def count_documents(workspace: Workspace) -> int:
    """Count the documents."""
    (count,) = workspace.database.execute("SELECT count(*) FROM document").fetchone()
    return int(count)


def count_threads(workspace: Workspace) -> tuple[int, int]:
    """Count the threads, and the documents of the largest one."""
    threads, largest = workspace.database.execute(
        "SELECT count(*), coalesce(max(size), 0) FROM "
        "(SELECT count(*) AS size FROM document GROUP BY thread)"
    ).fetchone()
    return int(threads), int(largest)


def count_in_thread(workspace: Workspace, thread: str) -> int:
    """Count the documents of one thread."""
    (count,) = workspace.database.execute(
        "SELECT count(*) FROM document WHERE thread = ?", (thread,)
    ).fetchone()
    return int(count)


def write_documents(
    database: sqlite3.Connection,
    documents: Iterable[tuple[Document, Original]],
    skipped: Iterable[SkippedRow],
) -> None:
    """Add or update documents with their originals, and add skipped rows, in a transaction."""
    pairs = list(documents)
    database.executemany(
        "INSERT INTO document (key, source, identifier, title, sender, date, thread, text, "
        "recipients, attachments, language) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
        "ON CONFLICT (key) DO UPDATE SET source = excluded.source, text = excluded.text, "
        "recipients = excluded.recipients, attachments = excluded.attachments, "
        "language = excluded.language WHERE source <> excluded.source OR text <> excluded.text "
        "OR recipients <> excluded.recipients OR attachments <> excluded.attachments "
        "OR language <> excluded.language",
        [DOCUMENT_ROW(document) for document, _ in pairs],
    )
    database.executemany(
        "INSERT INTO original VALUES (?, ?, ?, ?) ON CONFLICT (document) DO UPDATE SET "
        "text = excluded.text, refs = excluded.refs, is_mail = excluded.is_mail "
        "WHERE text <> excluded.text OR refs <> excluded.refs OR is_mail <> excluded.is_mail",
        [
            (each.document, each.packed, " ".join(each.references), int(each.is_mail))
            for _, each in pairs
        ],
    )
    database.executemany("INSERT INTO skipped VALUES (?, ?, ?)", map(SKIPPED_ROW, skipped))


def update_threads(database: sqlite3.Connection, threads: Mapping[str, str]) -> None:
    """Set the thread of documents by key, in a transaction."""
    database.executemany(
        "UPDATE document SET thread = ?2 WHERE key = ?1 AND thread <> ?2", threads.items()
    )


def delete_documents(database: sqlite3.Connection, keys: Sequence[str]) -> None:
    """Delete documents by key, and the queries that an LLM wrote for them, in a transaction.

    Other results are found to be unused when all stages are done (`Workspace.forget_removed`).
    """
    documents = (json.dumps(keys),)
    written = (
        "SELECT {column} FROM query WHERE passage IN (SELECT key FROM passage WHERE document IN "
        "(SELECT value FROM json_each(?)))"
    )
    database.execute(
        "DELETE FROM result WHERE kind = 'query' AND value IN "
        f"({written.format(column='CAST(text AS BLOB)')})",
        documents,
    )
    database.execute(f"DELETE FROM query WHERE key IN ({written.format(column='key')})", documents)
    database.execute(
        "DELETE FROM document WHERE key IN (SELECT value FROM json_each(?))", documents
    )


def clear_skipped(database: sqlite3.Connection) -> None:
    """Forget what earlier runs skipped, in a transaction."""
    database.execute("DELETE FROM skipped")


def read_skipped(workspace: Workspace, limit: int = -1) -> list[SkippedRow]:
    """Read what was skipped, ordered by source; at most `limit` rows, or all."""
    rows = workspace.database.execute(
        "SELECT source, identifier, reason FROM skipped ORDER BY source, rowid LIMIT ?", (limit,)
    )
    return [SkippedRow(*row) for row in rows]


def count_skipped(workspace: Workspace) -> list[tuple[str, int]]:
    """Count what was skipped by reason, the most frequent first."""
    return workspace.database.execute(
        "SELECT reason, count(*) FROM skipped GROUP BY reason ORDER BY count(*) DESC, reason"
    ).fetchall()


def find_skipped(workspace: Workspace, name: str) -> SkippedRow | None:
    """Find what was skipped under this identifier, with or without brackets."""
    row = workspace.database.execute(
        "SELECT source, identifier, reason FROM skipped WHERE identifier IN (?1, ?2)",
        (name, f"<{name}>"),
    ).fetchone()
    return SkippedRow(*row) if row else None


def pack_text(text: str) -> bytes:
    """Encode a text as UTF-8 and deflate it."""
    return zlib.compress(text.encode("utf-8", "surrogatepass"), COMPRESSION)
