"""What mail programs write around a message, in many languages: `mail_labels.toml`, made searchable.

Copied headers, attributions, separators, the prefixes of subjects and the ends of letters all look
words up here, so that a language which is in the table is known to every rule.
"""

import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

Role = Literal["from", "to", "cc", "date", "subject", "other"]
ROLES: tuple[Role, ...] = ("from", "to", "cc", "date", "subject", "other")

_TABLE: dict[str, dict[str, list[str]]] = tomllib.loads(
    Path(__file__).with_name("mail_labels.toml").read_text("utf-8")
)
LANGUAGES = tuple(_TABLE)

# A label is looked for before the first colon in so many characters; Lotus indents.
LABEL_END = 80
# Marks of the direction of writing, which programs put around names and addresses.
DIRECTION_MARKS = dict.fromkeys(
    map(ord, "\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
)
EMPHASIS = " \t*_"
# A word of a single letter is a prefix for threads alone: "R: a question" is also a list about R.
SHORTEST_PREFIX = 2


def entries(name: str) -> tuple[str, ...]:
    """All entries of this name, of all languages, the longest first."""
    found = {entry for language in _TABLE.values() for entry in language.get(name, ())}
    return tuple(sorted(found, key=lambda entry: (-len(entry), entry)))


def _any_of(words: Iterable[str]) -> str:
    """A pattern for any of these, with any white space for a space."""
    return "|".join(re.escape(word).replace(r"\ ", r"\s+") for word in words)


_ROLE_OF: dict[str, Role] = {
    label.casefold(): role for role in reversed(ROLES) for label in entries(role)
}

# A verb of writing, as a word of its own where its script has words.
WROTE = re.compile(
    rf"(?<![^\W\d_])(?:{_any_of(word for word in entries('wrote') if not word[0] >= 'ก')})(?![^\W\d_])"
    rf"|{_any_of(word for word in entries('wrote') if word[0] >= 'ก')}",
    re.IGNORECASE,
)
BEGINS = re.compile(rf"[\s*>-]*(?:{_any_of(entries('begins'))})(?![^\W\d_])")
# "----- Original Message -----": the dashes are looked for by the caller.
ORIGINAL = re.compile(rf"(?:{_any_of(entries('original'))})(?![^\W\d_])", re.IGNORECASE)
FORWARDED = re.compile(rf"(?:{_any_of(entries('forwarded'))})(?![^\W\d_])", re.IGNORECASE)
POSTSCRIPT = re.compile(
    rf"\s*(?:{_any_of(entries('postscript'))})\s*[:：)]|\s*P\.?\s?(?:P\.?\s?)?S\.?\s\S",
    re.IGNORECASE,
)

_NUMBERED = r"\s*(?:\[\d+\]|\(\d+\)|\^\d+)?\s*\.?\s*[:：]\s*"
_LIST_TAG = r"\[[^\]]{1,40}\]\s*"
_REPLY = re.compile(rf"(?:{_any_of(entries('reply'))}){_NUMBERED}", re.IGNORECASE)
_FORWARD = re.compile(rf"(?:{_any_of(entries('forward'))}){_NUMBERED}", re.IGNORECASE)
_PREFIX = re.compile(
    rf"(?:(?:{_any_of(sorted({*entries('reply'), *entries('forward')}, key=len, reverse=True))})"
    rf"{_NUMBERED}|{_LIST_TAG})",
    re.IGNORECASE,
)

CLOSINGS = frozenset(closing.casefold() for closing in entries("closing"))
_DEVICE_STARTS = tuple(entry.casefold() for entry in entries("device") if not entry.startswith("…"))
_DEVICE_ENDS = tuple(
    entry.removeprefix("…").casefold() for entry in entries("device") if entry.startswith("…")
)
_NOTICE = tuple(
    re.compile(_any_of(entries(name)), re.IGNORECASE)
    for name in ("confidential", "recipient", "message")
)


def header_field(line: str) -> tuple[Role, str] | None:
    """What a line of a copied header says: the label's role and the value; None: it is no such.

    The colon may be a full-width one, have a space before it, and the label be emphasised.
    """
    colon = line.find(":", 0, LABEL_END)
    if not line.isascii():
        wide = line.find("：", 0, LABEL_END)
        if wide >= 0 and (colon < 0 or wide < colon):
            colon = wide
    if colon < 1:
        return None
    label = line[:colon].strip(EMPHASIS)
    role = _ROLE_OF.get(label.casefold())
    if role is None and not label.isascii():
        role = _ROLE_OF.get(label.translate(DIRECTION_MARKS).strip(EMPHASIS).casefold())
    return None if role is None else (role, line[colon + 1 :].strip(EMPHASIS))


def without_prefixes(subject: str) -> str:
    """A subject without "Re:", "AW:", "转发：" and a list's "[tag]", in any number and order."""
    at = 0
    subject = subject.strip()
    while found := _PREFIX.match(subject, at):
        at = found.end()
    return subject[at:]


def prefixes(subject: str) -> list[str]:
    """The prefixes that `without_prefixes` takes off, without lists' tags."""
    found: list[str] = []
    at = 0
    subject = subject.strip()
    while match := _PREFIX.match(subject, at):
        if not match[0].startswith("["):
            found.append(match[0])
        at = match.end()
    return found


def says_answer(subject: str) -> bool:
    """Whether a subject's first prefix is that of an answer, in any language."""
    return _first(subject, _REPLY)


def says_forward(subject: str) -> bool:
    """Whether a subject's first prefix is that of a forward; "VS" is that of an answer, too."""
    return _first(subject, _FORWARD) and not _first(subject, _REPLY)


def _first(subject: str, pattern: re.Pattern[str]) -> bool:
    found = prefixes(subject)
    return (
        bool(found)
        and len(found[0].rstrip(" :：.")) >= SHORTEST_PREFIX
        and bool(pattern.match(found[0]))
    )


def is_device_line(line: str) -> bool:
    """Whether a phone or a program wrote this line below the text ("Sent from my iPhone")."""
    text = line.strip(" \t*_[]").casefold()
    return text.startswith(_DEVICE_STARTS) or text.endswith(_DEVICE_ENDS)


def is_legal_notice(paragraph: str) -> bool:
    """Whether a paragraph speaks of a message, of confidence and of whom it is meant for."""
    return all(words.search(paragraph) for words in _NOTICE)
