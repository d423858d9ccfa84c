"""Functions that the readers of chat exports in JSON share."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from customir.corpus.charsets import decode
from customir.corpus.readers.dates import iso_date, iso_date_of_number
from customir.corpus.readers.files import ReadError, SourceFile

# The largest export, because its one JSON value is held in memory.
MAXIMUM_BYTES = 256 << 20
# The errors that a row of an unexpected form can raise.
FAULTS = (ValueError, RecursionError, TypeError, KeyError, AttributeError, OverflowError, OSError)


def load_json(content: bytes) -> Any:
    """Parse a JSON value.

    Raises:
        ReadError: it is not JSON.
    """
    try:
        return json.loads(decode(content, "utf-8"))
    except (ValueError, RecursionError) as error:
        raise ReadError(f"not JSON: {error}") from error


def load_export(file: SourceFile) -> Any:
    """Read an export in one JSON file.

    Raises:
        ReadError: it is damaged, larger than 256 MB or not JSON.
    """
    return load_json(file.read_all(MAXIMUM_BYTES))


def dicts_in(row: Any, name: str) -> list[dict[str, Any]]:
    """The objects in a list field; none if it is missing or has another type."""
    value = row.get(name) if isinstance(row, dict) else None
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def text_in(row: Any, *names: str) -> str:
    """The first of these fields with a text that is not blank; empty if there is none."""
    for name in names:
        value = row.get(name) if isinstance(row, dict) else None
        if isinstance(value, str) and value.strip():
            return value
    return ""


def time_of(value: Any) -> datetime:
    """A time in UTC.

    Raises:
        ValueError: it is neither a Unix time in seconds or milliseconds nor a date.
    """
    if isinstance(value, str) and value.replace(".", "", 1).isdigit():
        value = float(value)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    date = iso_date_of_number(value) if is_number else iso_date(str(value))
    if date is None:
        raise ValueError(f"no time: {value!r}"[:100])
    if isinstance(value, float) and value < 1e11:  # Slack orders messages by microseconds
        return datetime.fromtimestamp(value, UTC)
    return datetime.fromisoformat(date)


def card_lines(card: dict[str, Any]) -> Iterator[str]:
    """The lines of a bot's card: pretext, author, title, text and fields; else its fallback."""
    lines = [text_in(card, name) for name in ("pretext", "author_name", "title", "text")]
    for each in dicts_in(card, "fields"):
        name, value = text_in(each, "title", "name"), each.get("value")
        value = value if isinstance(value, str) else "" if value is None else json.dumps(value)
        lines.append(f"{name}: {value}" if name and value else name or value)
    lines = [line for line in lines if line]
    yield from lines or filter(None, [text_in(card, "fallback")])
