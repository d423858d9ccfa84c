"""CSV and TSV with named columns: a row, a document. Enron's `file,message` is read as mail."""

import csv
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

from customir.corpus.charsets import decode
from customir.corpus.document import RawDocument, Unreadable
from customir.corpus.readers import eml
from customir.corpus.readers.message import iso_date, read_message
from customir.corpus.readers.streams import lines_of

# The column of each field, the likeliest name first.
COLUMNS = {
    "text": ("text", "body", "content", "message", "description", "comment"),
    "identifier": ("_id", "id", "message-id", "message_id", "key", "file", "url"),
    "title": ("title", "subject", "name", "summary"),
    "sender": ("sender", "from", "author", "user"),
    "date": ("date", "sent", "created", "created_at", "timestamp", "time"),
    "thread": ("thread", "thread_id", "conversation_id"),
}
DELIMITERS = ",;\t|"
MAXIMUM_FIELD = 16 << 20
ISO_DATE = re.compile(
    r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d)?(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d)?)?$"
)


def matches(head: bytes, name: str) -> bool:
    """Whether the first line names columns, one of them for the text."""
    return _layout(head.partition(b"\n")[0]) is not None and head.count(b"\0") == 0


def count(path: Path) -> int:
    """How many items `read` gives."""
    return sum(1 for _ in read(path, ""))


def read(path: Path, name: str) -> Iterator[RawDocument | Unreadable]:
    """Every row, in order."""
    broken: list[str] = []

    def lines() -> Iterator[str]:
        for number, line in lines_of(path):
            if isinstance(line, str):
                broken.append(f"{name}: line {number}: {line}")
            else:
                yield decode(line).replace("\0", "")

    source = lines()
    delimiter, columns = cast(tuple[str, dict[str, int]], _layout(next(source).encode()))
    csv.field_size_limit(MAXIMUM_FIELD)
    rows = csv.reader(source, delimiter=delimiter)
    number = 1
    while True:
        number += 1
        where = f"{name}: row {number}"
        try:
            row = next(rows)
        except StopIteration:
            break
        except csv.Error as error:
            yield Unreadable(where, f"not a row: {error}")
            continue
        if row:
            yield from _documents(row, columns, where)
    yield from (Unreadable(each, "not a row: too long, or the file is damaged") for each in broken)


def _layout(header: bytes) -> tuple[str, dict[str, int]] | None:
    """(delimiter, position of each field); None where no column is known to be the text."""
    line = decode(header).strip()
    if len(line) > 4096:
        return None
    delimiter = max(DELIMITERS, key=line.count)
    try:
        names = [each.strip().casefold() for each in next(csv.reader([line], delimiter=delimiter))]
    except (csv.Error, StopIteration):
        return None
    # Prose may begin with "Message, ..."; columns have short names, each once.
    if len(names) < 2 or len(set(names)) < len(names) or any(len(each) > 40 for each in names):
        return None
    columns = {
        field: next(names.index(alias) for alias in aliases if alias in names)
        for field, aliases in COLUMNS.items()
        if any(alias in names for alias in aliases)
    }
    return (delimiter, columns) if "text" in columns and len(columns) > 1 else None


def _documents(
    row: Sequence[str], columns: dict[str, int], where: str
) -> Iterator[RawDocument | Unreadable]:
    def value(field: str) -> str:
        at = columns.get(field, len(row))
        return row[at] if at < len(row) else ""

    text, identifier = value("text"), value("identifier").strip() or where
    if not text.strip():
        yield Unreadable(where, "no text: its column is empty")
    elif eml.matches(text.encode()[: 1 << 16], ""):
        yield from read_message(text.encode(), identifier)
    else:
        when = value("date").strip()
        yield RawDocument(
            identifier=identifier,
            title=value("title"),
            sender=value("sender"),
            date=when if ISO_DATE.match(when) else iso_date(when),
            text=text,
            thread=value("thread"),
        )
