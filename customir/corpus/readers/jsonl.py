"""JSON lines and lists with `_id`, `title`, `text`, and optionally `thread`, `sender`, `date`."""

import json
import re
from collections.abc import Iterator
from typing import Any

from customir.corpus.charsets import decode
from customir.corpus.document import RawDocument, Unreadable
from customir.corpus.readers.dates import iso_date, iso_date_of_number
from customir.corpus.readers.files import ReadError, SourceFile

SUFFIXES = (".jsonl", ".ndjson")
# A list of objects, or an object over several lines, is parsed as a whole, not line by line.
WHOLE = re.compile(rb"\A\s*(?:\[\s*\{|\{\s*\n)")
TEXT_FIELDS = ("text", "body", "content")
HAS_TEXT = re.compile(rb'"(?:text|body|content)"\s*:')
MARK = b"\xef\xbb\xbf"


def matches(head: bytes, name: str) -> bool:
    """Whether a file that begins with `head` holds JSON documents."""
    head = head.removeprefix(MARK).lstrip(b"\r\n\t ")
    if name.endswith(SUFFIXES):
        return bool(head) and b"\0" not in head
    if WHOLE.match(head):
        return name.endswith(".json") and HAS_TEXT.search(head) is not None
    line, newline, _ = head.partition(b"\n")
    if not line.startswith(b"{"):
        return False
    try:
        row = json.loads(line)
        # A .json file of one line may hold anything, so it must have a text field.
        return isinstance(row, dict) and (
            not name.endswith(".json") or HAS_TEXT.search(line) is not None
        )
    except (ValueError, RecursionError):
        return not newline and HAS_TEXT.search(line) is not None  # one line, longer than the head


def read(file: SourceFile) -> Iterator[RawDocument | Unreadable]:
    """Every document, in order. A repeated `_id` is refused.

    Raises:
        ReadError: the file is a single JSON value and damaged.
    """
    first: dict[str, str] = {}
    for where, row in _rows(file):
        if isinstance(row, ReadError):
            yield Unreadable(f"{file.name}: {where}", str(row))
            continue
        try:
            document = _document(row, f"{file.name}: {where}")
        except ReadError as fault:
            yield Unreadable(f"{file.name}: {where}", str(fault))
            continue
        earlier = first.setdefault(document.identifier, where)
        if earlier != where:
            shown = document.identifier[:80]
            yield Unreadable(
                f"{file.name}: {where}", f"the _id of an earlier line: {shown!r} is on {earlier}"
            )
        else:
            yield document


def _rows(file: SourceFile) -> Iterator[tuple[str, Any]]:
    """("line 7", its value, or the error in place of it)"""
    if WHOLE.match(file.head.removeprefix(MARK)):
        value = _value(file.read_all())
        rows = value if isinstance(value, list) else [value]
        yield from ((f"item {number}", row) for number, row in enumerate(rows, start=1))
        return
    for number, line in file.lines():
        if isinstance(line, ReadError):
            yield f"line {number}", line
        elif line.strip():
            try:
                yield f"line {number}", _value(line)
            except ReadError as error:
                yield f"line {number}", error


def _value(content: bytes) -> Any:
    try:
        return json.loads(decode(content.removeprefix(MARK), "utf-8"))
    except RecursionError as error:
        raise ReadError("JSON nested too deep") from error
    except ValueError as error:
        raise ReadError(f"not JSON: {error}") from error


def _document(row: Any, where: str) -> RawDocument:
    if not isinstance(row, dict):
        raise ReadError("not a JSON object")
    text_field = next((name for name in TEXT_FIELDS if name in row), None)
    if text_field is None:
        raise ReadError("no text: the field `text` is missing")
    return RawDocument(
        identifier=_field(row, "_id", number=True) or _field(row, "id", number=True) or where,
        title=_field(row, "title", number=True),
        sender=_field(row, "sender"),
        date=_date(row.get("date")),
        text=_field(row, text_field),
        thread=_field(row, "thread", number=True),
    )


def _date(value: Any) -> str | None:
    """A date in ISO 8601 and UTC; None if there is none that can be read."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return iso_date_of_number(value)
    return iso_date(value) if isinstance(value, str) else None


def _field(row: dict[str, Any], name: str, *, number: bool = False) -> str:
    """A text field; empty if it is missing or null. If `number`, a number is accepted, too."""
    value = row.get(name)
    if value is None:
        return ""
    if number and isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise ReadError(f"wrong type: `{name}` is a {type(value).__name__}, not a text")
    return value
