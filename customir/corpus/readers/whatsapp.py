"""Chats as text: WhatsApp's export in every locale, and the chat.md of signal-export.

Android writes "03.05.21, 12:30 - Ada: text" and iOS "[5/3/21, 12:30:01 PM] Ada: text". Lines below
a message that do not begin with a date continue it.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import pairwise

from customir.corpus.charsets import decode
from customir.corpus.document import RawDocument, Unreadable
from customir.corpus.readers.chat import Channel, ChatMessage
from customir.corpus.readers.files import ReadError, SourceFile

# Writing direction marks, which WhatsApp puts before dates, names and placeholders.
MARKS = "\u200e\u200f\u202a\u202c\ufeff"
HALF = (
    r"(?P<{}>[AaPp]\.?\s?[Mm]\.?|[πμ]\.?μ\.?|PG|PTG"
    r"|上午|下午|午前|午後|오전|오후|凌晨|早上|中午|晚上|清晨|מ|ص|م)"
)
DATE = (
    r"(?P<first>\d{1,4})(?P<mark>[./-]|\. |年|년 )(?P<second>\d{1,2})(?:[./-]|\. |月|월 )"
    r"(?P<third>\d{1,4})(?:\.|日|일)?(?: г\.)?"
)
TIME = (
    rf"(?:{HALF.format('before')}\s?)?(?P<hour>\d{{1,2}})(?:[:.]| h )(?P<minute>\d\d)"
    rf"(?:[:.](?P<second_of_minute>\d\d))?(?:\s?{HALF.format('after')})?"
)
END = r"(?(bracket)\]\s|(?:\s-\s|[,:]\s))(?P<rest>.*)"
START = re.compile(
    rf"[{MARKS}]*(?P<bracket>\[)?{DATE}[,،]?(?: à| um| at| kl\.| klo| a las)?\s+{TIME}{END}",
    re.DOTALL,
)
# Vietnamese puts the time first.
TIME_FIRST = re.compile(rf"[{MARKS}]*(?P<bracket>\[)?{TIME},\s{DATE}{END}", re.DOTALL)
# Arabic and Persian put these marks inside dates.
INNER_MARKS = re.compile("(?<=\\d)[\u200e\u200f]+(?=[./-])|(?<=[,،])[\u200e\u200f]+(?= )")
SPEAKER = re.compile(rf"[{MARKS}~\u202f ]*([^:\n]{{1,80}}?) ?: ?", re.DOTALL)
# Placeholders for media that was not exported: "<Media omitted>", "<Medien ausgeschlossen>".
OMITTED = re.compile(r"<[^<>\n]{3,60}>\s*$")
EDITED = re.compile(r"\s*\u200e<[^<>\n]{3,80}>\s*\Z")
AFTERNOON = re.compile(r"P(?!G)|p|μ|下午|午後|오후|晚上|م\b")
# WhatsApp began in 2009, and the Thai calendar counts 543 more years.
FIRST_YEAR, THAI_YEARS = 2009, 543
LINES_LOOKED_AT = 20


def matches(head: bytes, name: str) -> bool:
    """Whether the first line and at least half of the first lines begin a message."""
    if b"\0" in head:
        return False
    lines = [line for line in decode(head[:20_000]).split("\n")[:LINES_LOOKED_AT] if line.strip()]
    if not lines or not _start(lines[0]):
        return False
    starts = [found for line in lines if (found := _start(line))]
    return len(starts) * 2 >= len(lines) and any(SPEAKER.match(each["rest"]) for each in starts)


def read(file: SourceFile) -> Iterator[RawDocument | Unreadable]:
    """The conversations of the chat, cut at silences."""
    entries: list[tuple[re.Match[str], list[str]]] = []
    for number, line in file.lines():
        if isinstance(line, ReadError):
            yield Unreadable(f"{file.name}: line {number}", str(line))
            continue
        text = decode(line).rstrip("\r\n")
        if found := _start(text):
            entries.append((found, [found["rest"]]))
        elif entries:
            entries[-1][1].append(text)
        elif text.strip():
            yield Unreadable(f"{file.name}: line {number}", "text before the first message")
    order = _order_of_dates([found for found, _ in entries])
    channel = Channel()
    for found, lines in entries:
        channel.add(_message(found, "\n".join(lines), order))
    yield from channel.documents(file.name)


def _start(line: str) -> re.Match[str] | None:
    """The match of a line that begins a message."""
    line = line if line.isascii() else INNER_MARKS.sub("", line[:40]) + line[40:]
    return START.match(line) or TIME_FIRST.match(line)


def _message(found: re.Match[str], content: str, order: str) -> ChatMessage | None:
    """A message; None for a notice or a media placeholder."""
    speaker = SPEAKER.match(content)
    when = _time(found, order)
    if speaker is None or when is None:
        return None
    text = content[speaker.end() :]
    if text.startswith("\u200e"):  # a file, which may have a caption below it
        text = text.partition("\n")[2]
    if OMITTED.match(text):
        return None
    return ChatMessage(speaker[1].strip().strip(MARKS), when, EDITED.sub("", text).strip(MARKS))


def _order_of_dates(found: list[re.Match[str]]) -> str:
    """The order of year, month and day in a file's dates: "ymd", "dmy" or "mdy".

    It is the first order in which all dates exist and are sorted, because messages are.
    """
    halves = any(each["after"] for each in found) and any(each["mark"] == "/" for each in found)
    likeliest = ("mdy", "dmy", "ymd") if halves else ("dmy", "mdy", "ymd")
    possible = [order for order in likeliest if all(_time(each, order) for each in found)]
    is_sorted = (order for order in possible if _is_sorted(found, order))
    return next(is_sorted, possible[0] if possible else _order_of_most(found, likeliest))


def _order_of_most(found: list[re.Match[str]], orders: Sequence[str]) -> str:
    """The order in which the most dates exist."""
    return max(orders, key=lambda order: sum(_time(each, order) is not None for each in found))


def _is_sorted(found: list[re.Match[str]], order: str) -> bool:
    times = [when for each in found if (when := _time(each, order))]
    return all(one <= other for one, other in pairwise(times))


def _time(found: re.Match[str], order: str) -> datetime | None:
    numbers = (int(found["first"]), int(found["second"]), int(found["third"]))
    parts = dict(zip(order, numbers, strict=True))
    year = parts["y"] + (2000 if parts["y"] < 100 else 0)
    if year >= 2000 + FIRST_YEAR % 100 + THAI_YEARS % 100:  # 2552, or "52"
        year -= THAI_YEARS if year > 2500 else THAI_YEARS % 100
    hour = int(found["hour"])
    half = found["before"] or found["after"]
    if half and hour <= 12:
        hour = hour % 12 + (12 if AFTERNOON.match(half) else 0)
    try:
        if year < FIRST_YEAR:
            return None
        minute, second = int(found["minute"]), int(found["second_of_minute"] or 0)
        return datetime(year, parts["m"], parts["d"], hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None
