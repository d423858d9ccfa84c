"""Which documents somebody may read."""

import functools
import json
import re
from dataclasses import dataclass, fields

from customir.errors import UserError
from customir.runtime.filters import period

REMEMBERED = 1 << 16  # headers and what was asked of them
IN_BRACKETS = re.compile(r".*<([^<>]*)>\s*", re.DOTALL)
# Time grows with the length alone, whatever quotes a sender puts into a header.
BETWEEN_COMMAS = re.compile(r'(?:"[^"]*"|[^,"])+')
ADDRESS = re.compile(r"[^\s@<>,;:\"()\[\]\\]+@[^\s@<>,;:\"()\[\]\\]+")


@dataclass(frozen=True)
class Grant:
    """Documents that may be read: those that fulfil every field that is given.

    A field with several values is fulfilled by one of them. Unlike a `Filter`, which looks for parts
    of names, a grant compares whole addresses and whole parts of a path from its beginning, so that
    neither joann@example.org nor a name that a sender chose is taken for ann@example.org.

    Attributes:
        sources: Sources as they were given to `customir`, folders above them, and folders or files
            in them. Mail is known by its source alone, whatever folder of it it lies in.
        senders: Addresses (ann@example.org), domains (@example.org), or whole names where a
            document's sender has no address.
        recipients: The same, of the To and Cc headers.
        participants: The same, of the sender or the recipients.
        since, until: Dates, as `period` reads them. A document without a date fulfils neither.

    Raises:
        UserError: no field is given, a value is blank, or a date is none.
    """

    sources: tuple[str, ...] = ()
    senders: tuple[str, ...] = ()
    recipients: tuple[str, ...] = ()
    participants: tuple[str, ...] = ()
    since: str | None = None
    until: str | None = None

    def __post_init__(self) -> None:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        if not any(value for value in values.values()):
            raise UserError(
                f"A grant without a condition would allow everything. Give one of {', '.join(values)}."
            )
        for name, value in values.items():
            if value is not None and any(not one.strip() or "\0" in one for one in _several(value)):
                raise UserError(f"{name}: a value is blank. Remove it, or write what it should be.")
        for date in (self.since, self.until):
            if date is not None:
                period(date)


# What any of the grants allows; without a grant, nothing. None instead of it: everything.
Rights = tuple[Grant, ...]


@functools.lru_cache(REMEMBERED)
def is_sender(sender: str, wanted: str) -> bool:
    """Whether a document's sender is one of some addresses, domains and names.

    Of a name with an address in brackets, only the address counts: the name is the sender's choice.

    Args:
        wanted: A JSON array of them.
    """
    return _is_one(sender, wanted)


@functools.lru_cache(REMEMBERED)
def is_recipient(recipients: str, wanted: str) -> bool:
    """As `is_sender`, for any of the recipients in a document's To and Cc headers."""
    return any(_is_one(part, wanted) for part in BETWEEN_COMMAS.findall(recipients))


def as_wanted(people: tuple[str, ...]) -> str:
    """The addresses, domains and names of a grant, as the functions above take them."""
    return json.dumps(sorted({one.strip().casefold() for one in people}))


def _is_one(person: str, wanted: str) -> bool:
    found = IN_BRACKETS.fullmatch(person)
    name = (found[1] if found else person).strip().casefold()
    among = _parsed(wanted)
    domain = "@" + name.rpartition("@")[2] if ADDRESS.fullmatch(name) else None
    return name in among or domain in among


@functools.lru_cache(REMEMBERED)
def _parsed(wanted: str) -> frozenset[str]:
    return frozenset(json.loads(wanted))


def _several(value: str | tuple[str, ...]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else value
