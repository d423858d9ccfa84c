"""IRC logs: a line a message, "[09:14] <ada> text" or "2004-12-25 09:14:00 <ada> text"."""

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from pathlib import PurePosixPath

from customir.corpus.charsets import decode
from customir.corpus.document import RawDocument, Unreadable
from customir.corpus.readers.chat import Said, conversations
from customir.corpus.readers.files import ReadError, SourceFile

SAID = re.compile(
    rb"\[?(?:(\d{4}-\d\d-\d\d)[T ])?(\d\d):(\d\d)(?::(\d\d))?\]?\s+<[ @+%&~]?([^<>\s]{1,64})>\s?(.*)"
)
DAY = re.compile(r"\d{4}-\d\d-\d\d")
# Where neither a line nor the file's name says the day: times are in order, the day is not known.
NO_DAY = date(1970, 1, 1)
LINES_LOOKED_AT = 100


def matches(head: bytes, name: str) -> bool:
    """Whether a third of the first lines say something; the rest are joins and leaves."""
    lines = [line for line in head.split(b"\n")[:LINES_LOOKED_AT] if line.strip()]
    said = sum(SAID.match(line) is not None for line in lines)
    return said >= 2 and said * 3 >= len(lines)


def read(file: SourceFile) -> Iterator[RawDocument | Unreadable]:
    """The conversations of the file, cut at silences. After 23:59 another day begins."""
    messages: list[Said] = []
    notices = 0
    day = _day(DAY.search(PurePosixPath(file.name).name))
    last = time.min
    for number, line in file.lines():
        if isinstance(line, ReadError):
            yield Unreadable(f"{file.name}: line {number}", str(line))
            continue
        found = SAID.match(line.strip())
        if found is None:
            notices += bool(line.strip())
            continue
        stated, hour, minute, second, speaker, text = found.groups()
        try:
            clock = time(int(hour), int(minute), int(second or 0))
        except ValueError:
            notices += 1
            continue
        if stated:
            day = _day(DAY.match(stated.decode()))
        elif clock < last:
            day += timedelta(days=1)
        last = clock
        messages.append(Said(decode(speaker), datetime.combine(day, clock, UTC), decode(text)))
    yield from conversations(messages, file.name)
    if notices:
        yield Unreadable(file.name, f"chat notices: {notices} joins, leaves and other lines")


def _day(found: re.Match[str] | None) -> date:
    try:
        return date.fromisoformat(found[0]) if found else NO_DAY
    except ValueError:
        return NO_DAY
