"""A filter as an SQL condition on the index's passages."""

from collections.abc import Sequence

from customir.runtime.filters import Condition, Filter, period
from customir.runtime.fts_tokenizer import phrase

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
            start, end = period(value)
            return f"{DATE} {'<=' if start == end else '<'} ?", (end,)
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


def _contains(column: str, value: str) -> tuple[str, Sequence[Value]]:
    return f"instr(folded({column}), ?) > 0", (_encodable(value.casefold()),)


def _encodable(text: str) -> str:
    """Text that SQLite takes: an argument of a program may hold bytes that are no UTF-8."""
    return text.encode("utf-8", "replace").decode()
