"""Documents to passages: what many messages repeat is cut, and the rest cut to length."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence, Set
from itertools import islice
from typing import Any

from customir.corpus.chunking import Chunker
from customir.corpus.repeated import LineCounts, without_repeated
from customir.progress import Reporter
from customir.settings import CorpusSettings
from customir.workspace import Workspace, content_key

BATCH = 500
REPEATED = "repeated lines"
DATE_CHARACTERS = len("2002-08-22")
HEADER_CHARACTERS = 200


def cut_passages(
    workspace: Workspace,
    chunker: Chunker,
    counts: LineCounts,
    chats: Set[str],
    settings: CorpusSettings,
    reporter: Reporter,
) -> Counter[str]:
    """Give every document of the workspace its passages; the characters cut by cause.

    A passage's key is a hash of its document's key, its place and its text, so that passages
    that are as they were keep their rows, and whoever refers to them is right.

    Args:
        chats: Keys of the documents whose paragraphs are what people said.
    """
    cut: Counter[str] = Counter()
    keys = [key for (key,) in workspace.database.execute("SELECT key FROM document ORDER BY key")]
    with reporter.task("cutting passages", total=len(keys), unit="documents") as task:
        for batch in _batches(keys):
            rows = workspace.database.execute(
                "SELECT key, document.text, title, sender, date, recipients, is_mail "
                "FROM document JOIN original ON original.document = key "
                "WHERE key IN (SELECT value FROM json_each(?)) ORDER BY key",
                (json.dumps(batch),),
            ).fetchall()
            texts: dict[str, str] = {}
            shortened: list[tuple[str, str]] = []
            for key, text, *_, is_mail in rows:
                texts[key] = text
                if is_mail and settings.boilerplate_min_documents:
                    texts[key] = without_repeated(text, counts, settings.boilerplate_min_documents)
                    if texts[key] != text:
                        shortened.append((key, texts[key]))
                        cut[REPEATED] += len(text) - len(texts[key])
            headers = {row[0]: header_of(settings.passage_header, *row[2:6]) for row in rows}
            passages = chunker.cut(list(texts.values()), [key in chats for key in texts])
            wanted = {
                content_key(key, ordinal, text): (key, ordinal, text)
                for key, pieces in zip(texts, passages, strict=True)
                for ordinal, text in enumerate(pieces)
            }
            with workspace.transaction() as database:
                database.executemany("UPDATE document SET text = ?2 WHERE key = ?1", shortened)
                _write(database, batch, wanted, headers)
            task.advance(len(batch))
    return cut


def header_of(
    fields: Sequence[str], title: str, sender: str, date: str | None, recipients: str
) -> str | None:
    """What stands above a document's passages where they are embedded; None: the title."""
    if tuple(fields) == ("title",):
        return None
    values = {
        "title": title,
        "sender": f"From: {sender[:HEADER_CHARACTERS]}" if sender else "",
        "date": f"Date: {date[:DATE_CHARACTERS]}" if date else "",
        "recipients": f"To: {recipients[:HEADER_CHARACTERS]}" if recipients else "",
    }
    return "\n".join(values[field] for field in fields if values[field])


def _batches(keys: Sequence[str]) -> Iterator[list[str]]:
    rest = iter(keys)
    while batch := list(islice(rest, BATCH)):
        yield batch


def _write(
    database: Any,
    documents: Sequence[str],
    wanted: dict[str, tuple[str, int, str]],
    headers: dict[str, str | None],
) -> None:
    """Make the passages of these documents the wanted ones; until grouped, each its own group."""
    held = dict(
        database.execute(
            "SELECT key, header FROM passage WHERE document IN (SELECT value FROM json_each(?))",
            (json.dumps(documents),),
        )
    )
    database.executemany(
        "DELETE FROM passage WHERE key = ?", [(key,) for key in held if key not in wanted]
    )
    database.executemany(
        "UPDATE passage SET header = ?2 WHERE key = ?1",
        [
            (key, headers[document])
            for key, (document, *_) in wanted.items()
            if key in held and held[key] != headers[document]
        ],
    )
    database.executemany(
        "INSERT INTO passage (key, document, ordinal, text, duplicates, header) "
        "VALUES (?1, ?2, ?3, ?4, ?1, ?5)",
        [
            (key, document, ordinal, text, headers[document])
            for key, (document, ordinal, text) in wanted.items()
            if key not in held
        ],
    )
