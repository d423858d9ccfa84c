"""Which passages a search may find."""

import re
from calendar import isleap, monthrange
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from customir.errors import UserError
from customir.runtime.fts_tokenizer import phrase

Name = Literal[
    "from", "to", "subject", "before", "after", "until", "has", "in", "language", "phrase"
]

DAY_SECONDS = 86_400
PARTIAL_DATE = re.compile(r"(\d{4})(?:[-/](\d{1,2})(?:[-/](\d{1,2}))?)?")
LANGUAGE_CODE = re.compile(r"[A-Za-z]{2,3}")
ATTACHMENT = ("attachment", "attachments")
LONGEST_DAY = len("2002-12-31")


@dataclass(frozen=True)
class Condition:
    """What a passage has to fulfil.

    Attributes:
        name: What is looked at. `from`, `to`, `subject`: a part of it, in upper or lower case.
            `before`, `after`, `until`: a date, as `period` reads it: the message is older than its
            beginning, not older than its beginning, not newer than its end. `has`: "attachment".
            `in`: a source, as it was given or its last part, or a folder or file in one.
            `language`: its ISO 639 code. `phrase`: words in a row, in title or text, each in any of
            its forms.
        negated: Whether a passage may not fulfil it. For a phrase: not even elsewhere in the same
            document.

    Raises:
        UserError: the value is none for this name.
    """

    name: Name
    value: str
    negated: bool = False

    def __post_init__(self) -> None:
        written = f"{self.name}:{self.value}"
        if self.name in ("before", "after", "until"):
            period(self.value)
        elif self.name == "has" and self.value.lower() not in ATTACHMENT:
            raise UserError(f"{written}: the only thing to ask for is has:attachment.")
        elif self.name == "language" and not LANGUAGE_CODE.fullmatch(self.value):
            raise UserError(f"{written}: write the language's ISO 639 code, such as en or de.")
        elif self.name == "phrase" and not phrase(self.value):
            raise UserError(f'"{self.value}": there is no word in this phrase.')


@dataclass(frozen=True)
class Filter:
    """Conditions that every hit fulfils; None: no such condition.

    Attributes:
        since: A date or time, as `period` reads it; not before its beginning.
        until: Not after its end.
        sender: A part of the sender's name or address, in upper or lower case.
        source: A source, as it was given or its last part; or a folder or file in one.
        conditions: More of them, such as those of a query (`customir.runtime.query`).

    Raises:
        UserError: a date is none.
    """

    since: str | None = None
    until: str | None = None
    sender: str | None = None
    source: str | None = None
    conditions: tuple[Condition, ...] = ()

    def __post_init__(self) -> None:
        self.all_conditions()

    def all_conditions(self) -> tuple[Condition, ...]:
        """The fields that are not None, and `conditions`."""
        fields: tuple[tuple[Name, str | None], ...] = (
            ("after", self.since),
            ("until", self.until),
            ("from", self.sender),
            ("in", self.source),
        )
        given = (Condition(name, value) for name, value in fields if value is not None)
        return (*given, *self.conditions)


EVERYTHING = Filter()


def period(text: str) -> tuple[float, float]:
    """The beginning of a date and what follows its end, in seconds from 1970 UTC.

    A date is a year (2002), a month (2002-09), a day (2002-09-01, also with slashes), or ISO 8601
    with a time, without a time zone UTC. A time is where it begins and ends.

    Raises:
        UserError: it is none of these.
    """
    text = text.strip()
    try:
        if found := PARTIAL_DATE.fullmatch(text):
            year, month, day = (int(part) if part else None for part in found.groups())
            assert year is not None
            start = datetime(year, month or 1, day or 1, tzinfo=UTC)
            months_days = monthrange(year, month)[1] if month else 365 + isleap(year)
            days = 1 if day else months_days
        else:
            start = datetime.fromisoformat(text)
            days = 1 if len(text) <= LONGEST_DAY else 0
    except ValueError as error:
        raise UserError(
            f"{text}: not a date. Write it as 2002, 2002-08, 2002-08-22 or 2002-08-22T11:34."
        ) from error
    seconds = (start if start.tzinfo else start.replace(tzinfo=UTC)).timestamp()
    # Added to the number: no datetime is later than the year 9999.
    return seconds, seconds + days * DAY_SECONDS
