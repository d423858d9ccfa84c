"""Appointments (iCalendar), read with the icalendar library: who, when, where and what."""

from collections.abc import Iterator
from datetime import date, datetime
from typing import Any

from customir.corpus.charsets import decode
from customir.corpus.document import RawDocument
from customir.corpus.readers.files import Content, ReadError, reading

KIND = "text/calendar"
MAGIC = b"BEGIN:VCALENDAR"
# The fields of an appointment in reading order, with their labels.
FIELDS = (("SUMMARY", ""), ("DTSTART", "When"), ("LOCATION", "Where"), ("ORGANIZER", "Organizer"),
          ("ATTENDEE", "Attendees"), ("DESCRIPTION", ""))  # fmt: skip
COMPONENTS = ("VEVENT", "VTODO", "VJOURNAL")


def matches(head: bytes, name: str) -> bool:
    """Whether a file that begins with `head` is a calendar."""
    return head.lstrip(b"\xef\xbb\xbf\r\n").upper().startswith(MAGIC)


def read_document(content: Content) -> RawDocument:
    """All appointments of a calendar.

    Raises:
        ReadError: see `as_text`.
    """
    return RawDocument(content.name, "", "", None, as_text(content.data))


def as_text(content: bytes) -> str:
    """The appointments, separated by blank lines.

    Raises:
        ReadError: it is damaged or has no appointment, or icalendar is not installed.
    """
    with reading("iCalendar"):
        from icalendar import Calendar

        texts = [
            "\n".join(_lines(component))
            for calendar in Calendar.from_ical(decode(content), multiple=True)
            for component in calendar.walk()
            if component.name in COMPONENTS
        ]
    text = "\n\n".join(filter(None, texts))
    if not text:
        raise ReadError("no appointment in the calendar")
    return text


def _lines(component: Any) -> Iterator[str]:
    for field, label in FIELDS:
        value = component.get(field)
        if value is None:
            continue
        shown = _when(component) if field == "DTSTART" else _shown(value)
        if shown:
            yield f"{label}: {shown}" if label else shown


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(filter(None, map(_shown, value)))
    name = value.params.get("CN") if hasattr(value, "params") else None
    text = str(value).strip()
    address = text[7:] if text[:7].lower() == "mailto:" else text
    return f"{name} <{address}>" if name and str(name) != address else address


def _when(component: Any) -> str:
    begin, end = component.get("DTSTART"), component.get("DTEND")
    shown = _time(begin.dt)
    if end is None:
        return shown
    same_day = _time(end.dt)[:10] == shown[:10]
    until = _time(end.dt)
    return f"{shown} to {until[11:] if same_day and len(until) > 10 else until}"


def _time(value: date | datetime) -> str:
    if isinstance(value, datetime):
        zone = value.strftime(" %Z") if value.tzinfo else ""
        return f"{value:%Y-%m-%d %H:%M}{zone}"
    return value.isoformat()
