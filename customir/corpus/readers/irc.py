"""IRC logs of irssi, WeeChat, HexChat, mIRC, ZNC and bots, with one message per line."""

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from pathlib import PurePosixPath

from customir.corpus.charsets import decode
from customir.corpus.document import RawDocument, Unreadable
from customir.corpus.readers.chat import Channel, ChatMessage
from customir.corpus.readers.dates import iso_date
from customir.corpus.readers.files import ReadError, SourceFile

CLOCK = r"(?P<hour>\d\d):(?P<minute>\d\d)(?::(?P<second>\d\d))?(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d)?"
WHEN = rf"\[?(?:(?P<day>\d{{4}}-\d\d-\d\d|[^\W\d_]{{3,5}}\.? \d\d)[T ])?{CLOCK}\]?"
NICK = r"(?P<nick>[^<>\s]{1,64})"
# "[09:14] <ada> text", "16:59 <@ada> text", "16:59:05< ada> text", "May 03 09:14:00 <ada>\ttext"
SAID = re.compile(rf"{WHEN}\s*<[ @+%&~!]?{NICK}>\s?(?P<text>.*)")
# "[09:14] * ada waves", "17:02  * ada waves", "May 03 09:14:00 *\tada waves"
ACTION = re.compile(rf"{WHEN}\s+\*\s+(?P<nick>[^\s*<>:]{{1,64}})\s+(?P<text>\S.*)")
# HexChat marks its notices like actions.
NOTICE = re.compile(
    r"(?:has (?:joined|left|quit|kicked|changed the topic)|is now known as|sets mode|gives |removes |talking on"
    r"|for \S+ (?:is|set by)|\(\S+@\S+\) has )"
)
# WeeChat: "2021-05-03 09:14:00\t@ada\ttext". An action has " *" in place of the nick.
WEECHAT = re.compile(
    rf"(?P<day>\d{{4}}-\d\d-\d\d) {CLOCK}\t(?:[@+%&~!]?(?P<nick>[^\s\t<>*=-][^\s\t]{{0,63}})\t"
    r"(?P<text>.*)|\s*\*\t(?P<actor>\S+) (?P<action>.*))"
)
# irssi "--- Day changed Tue Oct 01 2019", "--- Log opened ...", HexChat "**** BEGIN LOGGING AT ...",
# mIRC "Session Start: ...". The date is in English.
DAY_CHANGED = re.compile(
    r"(?:--- (?:Log (?:opened|closed)|Day changed)|\*{4} [^\W\d_][^\d:]{5,40}?|"
    r"Session (?:Start|Time|Close)(?: \(.*?\))?:)\s+(.*\d{4})\s*$"
)
NAME_DAY = re.compile(r"(\d{4})[-_.]?(\d\d)[-_.]?(\d\d)(?!\d)")
# The day if neither the lines nor the file's name give one. Then only the order of times is right.
NO_DAY = date(1970, 1, 1)
LINES_LOOKED_AT = 100


def matches(head: bytes, name: str) -> bool:
    """Whether at least a third of the first lines are messages. The rest are joins and leaves."""
    if b"\0" in head:
        return False
    lines = [line for line in head.split(b"\n")[:LINES_LOOKED_AT] if line.strip()]
    decoded = [decode(line[:400]) for line in lines]
    said = sum(_said(line) is not None for line in decoded)
    return said >= 2 and said * 3 >= len(lines)


def read(file: SourceFile) -> Iterator[RawDocument | Unreadable]:
    """The conversations of the file, cut at silences. After 23:59, the next day begins."""
    channel = Channel()
    clock = _Clock(_day_of_name(PurePosixPath(file.name).name))
    for number, line in file.lines():
        if isinstance(line, ReadError):
            yield Unreadable(f"{file.name}: line {number}", str(line))
            continue
        text = decode(line).strip("\r\n")
        if not text.strip():
            continue
        if changed := DAY_CHANGED.match(text):
            clock.set_day(changed[1])
            continue
        found = _said(text)
        when = clock.time_of(found) if found else None
        is_notice = found is not None and found.re is ACTION and NOTICE.match(found["text"])
        if found is None or when is None or is_notice:
            channel.add(None)
            continue
        if action := found.groupdict().get("action"):
            channel.add(ChatMessage(found["actor"], when, f"/me {action}"))
        else:
            said = f"/me {found['text']}" if found.re is ACTION else found["text"]
            channel.add(ChatMessage(found["nick"], when, said))
    yield from channel.documents(file.name)


class _Clock:
    """Tracks the day of each line: stated in the line or above it, and one later after midnight."""

    def __init__(self, day: date) -> None:
        self._day, self._last = day, time.min

    def set_day(self, text: str) -> None:
        if stated := iso_date(text):
            self._day, self._last = date.fromisoformat(stated[:10]), time.min

    def time_of(self, found: re.Match[str]) -> datetime | None:
        """The time of a line, in UTC; None if the stated time or day does not exist."""
        try:
            clock = time(int(found["hour"]), int(found["minute"]), int(found["second"] or 0))
            stated = found["day"]
            if stated and stated[0].isdigit():
                self._day = date.fromisoformat(stated)
            elif stated:  # HexChat: the month and the day, without a year
                self._day = self._with_year(stated)
            elif clock < self._last:
                self._day += timedelta(days=1)
        except (ValueError, OverflowError):
            return None
        self._last = clock
        return datetime.combine(self._day, clock, UTC)

    def _with_year(self, stated: str) -> date:
        """A month and a day in the last known year, or in the next one after December."""
        day = date.fromisoformat((iso_date(f"{stated} {self._day.year}") or "")[:10])
        is_next = self._day.month == 12 and day.month == 1
        return day.replace(year=day.year + 1) if is_next else day


def _said(line: str) -> re.Match[str] | None:
    """The match of a message in the format of any of the programs; None if it is no message."""
    return WEECHAT.match(line) or SAID.match(line) or ACTION.match(line)


def _day_of_name(name: str) -> date:
    found = NAME_DAY.search(name)
    try:
        return date(int(found[1]), int(found[2]), int(found[3])) if found else NO_DAY
    except ValueError:
        return NO_DAY
