"""Converts the dates of mail programs and exports to ISO 8601 in UTC."""

import email.utils
import re
from datetime import UTC, datetime, timedelta, timezone

# The first letters of month names, English and others.
MONTHS = {
    name: number
    for number, names in enumerate(
        (
            "jan ene gen janv oca sty янв led січ ιαν", "feb fév fev fév. şub lut фев úno лют φεβ helmi",
            "mar mär mrz maa mars бер мар bře μαρ maalis", "apr avr abr nis kwi апр dub кві απρ huhti",
            "may mai mag mei mayıs maj мая май kvě тра μαι μαϊ touko", "jun juin giu haz cze июн июня čer чер ιουν kesä",
            "jul juil lug tem lip июл čvc лип ιουλ heinä", "aug août aou ago ağu sie авг srp сер αυγ elo",
            "sep set sept eyl wrz сен zář вер σεπ syys", "oct okt ott out eki paź окт říj жов οκτ loka",
            "nov kas lis ноя lis листоп νοε marras", "dec dez dic déc ara gru дек pro гру δεκ joulu",
        ),
        start=1,
    )
    for name in names.split()
}  # fmt: skip
TIME = re.compile(r"\b(\d{1,2}):(\d\d)(?::(\d\d))?(?:[.,]\d+)?\s*([AaPp]\.?[Mm]\.?)?")
ZONE = re.compile(r"([+-])(\d\d):?(\d\d)\b")
YEAR = re.compile(r"\b(19\d\d|20\d\d)\b")
DAY = re.compile(r"(?<![\d:])(\d{1,2})(?![\d:])")
WORD = re.compile(r"[^\W\d_]+")
ISO = re.compile(r"(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})")
# "03/May/21", as Jira writes it, and "13-May-21"
SHORT = re.compile(r"\b(\d{1,2})[/-]([^\W\d_]{3,9})\.?[/-](\d{4}|\d\d)\b")
NUMERIC = re.compile(r"\b(\d{1,2})([./-])(\d{1,2})\2(\d{4}|\d\d)\b")


def iso_date(value: str) -> str | None:
    """A date in ISO 8601 and UTC, whatever its year; None if it cannot be read.

    A date without a time zone counts as UTC. A date like 03/05/2021, whose month is ambiguous, is
    not read. 13/05/2021 and 03.05.2021 are read, because they are certain.

    Args:
        value: A date as in a Date header (RFC 2822), in ISO 8601, or with a month name in another
            language.
    """
    value = value.strip()
    if not value:
        return None
    clock = TIME.search(value[:200])
    if not (clock and clock[4]):  # the email package ignores "PM"
        try:
            return _in_utc(email.utils.parsedate_to_datetime(value))
        except (ValueError, TypeError, IndexError, OverflowError, AttributeError):
            pass
    try:
        return _in_utc(datetime.fromisoformat(value))
    except (ValueError, OverflowError):
        pass
    try:
        return _in_utc(_by_parts(value[:200]))
    except (ValueError, TypeError, OverflowError):
        return None


def iso_date_of_number(value: float) -> str | None:
    """The date of a Unix time in seconds or, if it is too large for that, in milliseconds."""
    try:
        seconds = value / 1000 if abs(value) > 1e11 else value
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
    except (ValueError, OverflowError, OSError):
        return None


def _by_parts(value: str) -> datetime:
    year, month, day, rest = _day(value)
    clock = TIME.search(rest)
    hour, minute, second = (int(part or 0) for part in clock.groups()[:3]) if clock else (0, 0, 0)
    if clock and clock[4]:
        hour = hour % 12 + (12 if clock[4][0] in "pP" else 0)
    zone = ZONE.search(rest, clock.end() if clock else 0)
    offset = timedelta()
    if zone:
        offset = timedelta(hours=int(zone[2]), minutes=int(zone[3])) * (1 if zone[1] == "+" else -1)
    return datetime(year, month, day, hour, minute, second, tzinfo=timezone(offset))


def _day(value: str) -> tuple[int, int, int, str]:
    """(year, month, day, what is left of the text)"""
    if found := ISO.search(value):
        return int(found[1]), int(found[2]), int(found[3]), value[found.end() :]
    if (found := SHORT.search(value)) and (month := _month(found[2])):
        return _full_year(int(found[3])), month, int(found[1]), value[found.end() :]
    if found := NUMERIC.search(value):
        first, second, year = int(found[1]), int(found[3]), _full_year(int(found[4]))
        if found[2] == "/" and first <= 12 and second <= 12 and first != second:
            raise ValueError("day and month cannot be told apart")
        day, month = (second, first) if second > 12 else (first, second)
        return year, month, day, value[found.end() :]
    # The last name counts, because "mar" also means Tuesday in three languages.
    month = next(filter(None, (_month(word) for word in reversed(WORD.findall(value)))), 0)
    year_found = YEAR.search(value)
    if not month or not year_found:
        raise ValueError("no month or no year")
    without = value[: year_found.start()] + " " + value[year_found.end() :]
    without_time = TIME.sub(" ", ZONE.sub(" ", without))
    day_found = DAY.search(without_time)
    if not day_found:
        raise ValueError("no day")
    return int(year_found[1]), month, int(day_found[1]), without


def _full_year(year: int) -> int:
    return year + (0 if year > 99 else 2000 if year < 70 else 1900)


def _month(word: str) -> int:
    word = word.lower()
    return next((MONTHS[word[:size]] for size in (6, 5, 4, 3) if word[:size] in MONTHS), 0)


def _in_utc(date: datetime) -> str:
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return date.astimezone(UTC).isoformat(timespec="seconds")
