"""What people type: words to rank by, and operators, phrases and exclusions among them."""

import re
from dataclasses import dataclass

from customir.errors import UserError
from customir.runtime.filters import Condition, Name
from customir.runtime.fts_tokenizer import phrase

OPERATORS: dict[str, Name] = {
    "from": "from",
    "to": "to",
    "subject": "subject",
    "before": "before",
    "after": "after",
    "has": "has",
    "in": "in",
    "language": "language",
}
# What other mail programs call them, or have and CustomIR has not.
FOREIGN = {
    "sender": "from:",
    "author": "from:",
    "cc": "to:",
    "bcc": "to:",
    "recipient": "to:",
    "title": "subject:",
    "since": "after:",
    "newer": "after:",
    "until": "before:",
    "older": "before:",
    "date": "after: or before:",
    "folder": "in:",
    "source": "in:",
    "lang": "language:",
    "attachment": "has:attachment",
    "filename": "has:attachment",
    "label": "",
    "tag": "",
}
POSSIBLE = (
    "The operators are from:, to:, subject:, before:, after:, has:attachment, in: and language:. "
    "To search for it as text, put it in quotes."
)
SHORTEST_MISSPELT = 4
# One of what may be an operator, a phrase or an exclusion: all from one white space to the next,
# but for what stands in quotes.
SPECIAL = re.compile(
    r'(?P<minus>-?)(?:(?P<name>[A-Za-z]+):)?(?:"(?P<quoted>(?:[^"\\]|\\.)*)"(?!\w)|(?P<bare>[^\s"]\S*))'
)
WORD = re.compile(r"\S+")
ESCAPE = re.compile(r'\\(["\\])')


@dataclass(frozen=True)
class Query:
    """What somebody looks for.

    Attributes:
        text: What to rank by: the words that are no operators, those of phrases among them.
        conditions: What every hit fulfils, in the order in which it was typed.
    """

    text: str
    conditions: tuple[Condition, ...]


def parse(typed: str) -> Query:
    """Take operators, phrases in quotes and -exclusions out of what somebody typed.

    Text that only looks similar stays text: "re: lunch", "12:30", "http://...", "C++::vector",
    an unclosed quote, "-5".

    Raises:
        UserError: the value of an operator is wrong, or an operator is surely meant and unknown.
    """
    conditions: list[Condition] = []
    words: list[str] = []
    at = 0
    while found := WORD.search(typed, at):
        special = SPECIAL.match(typed, found.start())
        condition = special and _condition(special)
        if special is None or condition is None:
            words.append(found[0])
            at = found.end()
            continue
        conditions.append(condition)
        if condition.name == "phrase" and not condition.negated:
            words.append(condition.value)
        at = special.end()
    return Query(" ".join(words) if conditions else typed, tuple(conditions))


def _condition(special: re.Match[str]) -> Condition | None:
    """The condition that stands here; None where it is ordinary text.

    Raises:
        UserError: as `parse`.
    """
    quoted = special["quoted"] is not None
    value = ESCAPE.sub(r"\1", special["quoted"]) if quoted else special["bare"]
    negated = bool(special["minus"])
    name = (special["name"] or "").lower()
    if not value.strip() or value[0] in ":/\\":
        name = ""
    if name in OPERATORS:
        return Condition(OPERATORS[name], value, negated)
    if name:
        _refuse_if_meant(name, special[0])
    if special["name"]:
        value = f"{special['name']}:{value}"
    is_phrase = quoted and not special["name"]
    is_excluded = negated and (is_phrase or value[0].isalpha())
    if (is_phrase or is_excluded) and phrase(value):
        return Condition("phrase", value, negated)
    return None


def _refuse_if_meant(name: str, written: str) -> None:
    meant = FOREIGN.get(name)
    if meant is None:
        meant = next((f"{operator}:" for operator in OPERATORS if _misspells(name, operator)), None)
    if meant is not None:
        hint = f" Did you mean {meant}?" if meant else ""
        raise UserError(f"{written}: there is no operator {name}:.{hint} {POSSIBLE}")


def _misspells(name: str, operator: str) -> bool:
    """Whether the letters are in another order, or one is missing."""
    if len(name) < SHORTEST_MISSPELT:
        return False
    shorter = {operator[:at] + operator[at + 1 :] for at in range(len(operator))}
    return sorted(name) == sorted(operator) or name in shorter
