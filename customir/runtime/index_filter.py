"""Filters and rights as SQL conditions on the index's passages."""

from collections.abc import Sequence

import apsw

from customir.runtime.filters import Condition, Filter, period
from customir.runtime.fts_tokenizer import phrase
from customir.runtime.rights import Grant, Rights, as_wanted

Value = str | float
DATE = "unixepoch(date, 'subsec')"


def sql_condition(only: Filter, passage: str, words: str) -> tuple[str, Sequence[Value]]:
    """An SQL condition on the passage table, "" if all passages fulfil it, and its values.

    It calls the SQL function `folded`: text in lower case, in any script.

    Args:
        passage, words: Names of the tables.
    """
    parts: list[str] = []
    values: list[Value] = []
    for condition in only.all_conditions():
        part, value = _part(condition, passage, words)
        # What has no date, of which SQL says neither, is not before a date either.
        parts.append(f"({part}) IS NOT TRUE" if condition.negated else part)
        values += value
    return " AND ".join(parts), values


def _part(condition: Condition, passage: str, words: str) -> tuple[str, Sequence[Value]]:
    value = condition.value
    match condition.name:
        case "from":
            return _contains("sender", value)
        case "to":
            return _contains("recipients", value)
        case "subject":
            return _contains("title", value)
        case "before":
            return f"{DATE} < ?", (period(value)[0],)
        case "after":
            return f"{DATE} >= ?", (period(value)[0],)
        case "until":
            operator, end = _until(value)
            return f"{DATE} {operator} ?", (end,)
        case "has":
            return "attachments <> ''", ()
        case "in":
            # '/' on both sides, so that only whole parts of a path match.
            contained = "instr('/' || source || '/' || identifier || '/', ?) > 0"
            return contained, (_encodable(f"/{value.strip('/')}/"),)
        case "language":
            return "language = ?", (value.lower(),)
        case "phrase":
            matching = f"id IN (SELECT rowid FROM {words} WHERE {words} MATCH ?)"
            if condition.negated:
                matching = f"document IN (SELECT document FROM {passage} WHERE {matching})"
            return matching, (phrase(value),)


def sql_rights(rights: Rights) -> str:
    """An SQL condition that the passages fulfil which may be read. It has no values to bind.

    It calls the SQL functions `is_sender` and `is_recipient` of `customir.runtime.rights`.
    """
    return " OR ".join(f"({_granted(grant)})" for grant in rights) or "FALSE"


def _granted(grant: Grant) -> str:
    senders, recipients, participants = (
        _literal(as_wanted(people))
        for people in (grant.senders, grant.recipients, grant.participants)
    )
    parts: list[str] = []
    if grant.sources:
        paths = [_encodable(one.rstrip("/") + "/") for one in grant.sources]
        path = "source || '/' || identifier || '/'"
        begins = (f"substr({path}, 1, {len(one)}) = {_literal(one)}" for one in paths)
        parts.append(f"({' OR '.join(begins)})")
    if grant.senders:
        parts.append(f"is_sender(sender, {senders})")
    if grant.recipients:
        parts.append(f"is_recipient(recipients, {recipients})")
    if grant.participants:
        either = f"is_sender(sender, {participants}) OR is_recipient(recipients, {participants})"
        parts.append(f"({either})")
    if grant.since is not None:
        parts.append(f"{DATE} >= {_literal(period(grant.since)[0])}")
    if grant.until is not None:
        operator, end = _until(grant.until)
        parts.append(f"{DATE} {operator} {_literal(end)}")
    return " AND ".join(parts)


def _literal(value: Value) -> str:
    return apsw.format_sql_value(value)


def _until(date: str) -> tuple[str, float]:
    """The operator and the time, in seconds from 1970 UTC, for what is not after a date."""
    start, end = period(date)
    return "<=" if start == end else "<", end


def _contains(column: str, value: str) -> tuple[str, Sequence[Value]]:
    return f"instr(folded({column}), ?) > 0", (_encodable(value.casefold()),)


def _encodable(text: str) -> str:
    """Text that SQLite takes: an argument of a program may hold bytes that are no UTF-8."""
    return text.encode("utf-8", "replace").decode()
