"""Which passages a search may find."""

from dataclasses import dataclass
from datetime import UTC, datetime

from customir.errors import UserError

DAY_SECONDS = 86_400


@dataclass(frozen=True)
class Filter:
    """Conditions that every hit fulfils; None: no such condition.

    Attributes:
        since: ISO 8601 date or time; not before it. Without a time zone, UTC.
        until: Not after it; a date without a time: not after that day. A passage without a date
            fulfils neither of these two.
        sender: A part of the sender's name or address, in upper or lower case.
        source: A source, as it was given or its last part; or a folder or file in one.

    Raises:
        UserError: a date is none.
    """

    since: str | None = None
    until: str | None = None
    sender: str | None = None
    source: str | None = None

    def __post_init__(self) -> None:
        self.condition()

    def condition(self) -> tuple[str, list[str | float]]:
        """An SQL condition on the passage table, "" where all pass, and its values.

        It calls the SQL function `folded`: text in lower case, in any script.
        """
        parts: list[str] = []
        values: list[str | float] = []
        if self.since is not None:
            parts.append("unixepoch(date, 'subsec') >= ?")
            values.append(_moment(self.since).timestamp())
        if self.until is not None:
            day = len(self.until.strip()) <= len("2002-12-31")
            # Added to the number: no datetime is later than the year 9999.
            end = _moment(self.until).timestamp() + (DAY_SECONDS if day else 0)
            parts.append(f"unixepoch(date, 'subsec') {'<' if day else '<='} ?")
            values.append(end)
        if self.sender is not None:
            parts.append("instr(folded(sender), ?) > 0")
            values.append(self.sender.casefold())
        if self.source is not None:
            # '/' on both sides, so that only whole parts of a path match.
            part = f"/{self.source.strip('/')}/"
            parts.append("instr('/' || source || '/' || identifier || '/', ?) > 0")
            values.append(part)
        return " AND ".join(parts), values


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise UserError(
            f"{text}: not a date. Write it as 2002-08-22 or 2002-08-22T11:34."
        ) from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
