"""JSON lines: `_id`, `title`, `text`, and, where the source knows them, `thread`, `sender`, `date`."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from customir.corpus.document import RawDocument, Unreadable
from customir.corpus.readers.files import ReadError, SourceFile


def matches(head: bytes, name: str) -> bool:
    """Whether a file that begins with `head` is JSONL."""
    head = head.lstrip(b"\xef\xbb\xbf\r\n\t ")
    if name.endswith((".jsonl", ".ndjson")):
        return bool(head) and b"\0" not in head
    line, newline, _ = head.partition(b"\n")
    if not line.startswith(b"{"):
        return False
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return not newline and b'"text"' in line  # one line, longer than the head


def read(file: SourceFile) -> Iterator[RawDocument | Unreadable]:
    """Every line that is not blank, in order. A second document of the same `_id` is refused."""
    first_line: dict[str, int] = {}
    for number, line in file.lines():
        where = f"{file.name}: line {number}"
        if isinstance(line, ReadError):
            yield Unreadable(where, str(line))
            continue
        if not line.strip():
            continue
        try:
            document = _document(line, where)
        except _LineError as fault:
            yield Unreadable(where, str(fault))
            continue
        earlier = first_line.setdefault(document.identifier, number)
        if earlier != number:
            shown = document.identifier[:80]
            yield Unreadable(where, f"the _id of an earlier line: {shown!r} is on line {earlier}")
        else:
            yield document


class _LineError(Exception):
    """What is wrong with a line."""


def _document(line: bytes, where: str) -> RawDocument:
    try:
        row: Any = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise _LineError(f"not UTF-8: byte {error.start + 1} of the line") from error
    except RecursionError as error:
        raise _LineError("JSON nested too deep") from error
    except ValueError as error:
        raise _LineError(f"not JSON: {error}") from error
    if not isinstance(row, dict):
        raise _LineError("not a JSON object")
    if "text" not in row:
        raise _LineError("no text: the field `text` is missing")
    return RawDocument(
        identifier=_field(row, "_id", number=True) or where,
        title=_field(row, "title"),
        sender=_field(row, "sender"),
        date=_date(_field(row, "date")),
        text=_field(row, "text"),
        thread=_field(row, "thread", number=True),
    )


def _date(text: str) -> str | None:
    """An ISO 8601 date in UTC, as all readers give it; without a time zone it is UTC."""
    if not text:
        return None
    try:
        date = datetime.fromisoformat(text)
        date = date.replace(tzinfo=date.tzinfo or UTC).astimezone(UTC)
    except (ValueError, OverflowError) as error:  # in UTC it may be before the year 1
        raise _LineError(f"no ISO 8601 date: {text[:40]!r}") from error
    return date.isoformat(timespec="seconds")


def _field(row: dict[str, Any], name: str, *, number: bool = False) -> str:
    """A text field; absent and null are empty. `number`: a whole number is as good as a text."""
    value = row.get(name)
    if value is None:
        return ""
    if number and isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise _LineError(f"wrong type: `{name}` is a {type(value).__name__}, not a text")
    return value
