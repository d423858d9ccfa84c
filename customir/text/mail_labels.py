"""The labels that mail programs write around a message: lookups in `mail_labels.toml`.

The rules for copied headers, attributions, separators, subject prefixes and closing formulas all
look up words here, so every rule knows every language in the table.
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

# A label ends at the first colon within this many characters. Lotus indents its labels.
LABEL_END = 80
# Writing direction marks, which programs put around names and addresses.
DIRECTION_MARKS = dict.fromkeys(
    map(ord, "\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
)
EMPHASIS = " \t*_"
# A prefix of one letter counts only for threading: "R: a question" may be about the language R.
SHORTEST_PREFIX = 2


def entries(name: str) -> tuple[str, ...]:
    """All entries of this name in all languages, longest first."""
    found = {entry for language in _TABLE.values() for entry in language.get(name, ())}
    return tuple(sorted(found, key=lambda entry: (-len(entry), entry)))


def _any_of(words: Iterable[str]) -> str:
    """A pattern for any of these words. A space in a word matches any white space."""
    return "|".join(re.escape(word).replace(r"\ ", r"\s+") for word in words)


_ROLE_OF: dict[str, Role] = {
    label.casefold(): role for role in reversed(ROLES) for label in entries(role)
}

# A verb of writing. In scripts that separate words, it must be a whole word.
WROTE = re.compile(
    rf"(?<![^\W\d_])(?:{_any_of(word for word in entries('wrote') if not word[0] >= 'ก')})(?![^\W\d_])"
    rf"|{_any_of(word for word in entries('wrote') if word[0] >= 'ก')}",
    re.IGNORECASE,
)
BEGINS = re.compile(rf"[\s*>-]*(?:{_any_of(entries('begins'))})(?![^\W\d_])")
# "----- Original Message -----": the caller checks for the dashes.
ORIGINAL = re.compile(rf"(?:{_any_of(entries('original'))})(?![^\W\d_])", re.IGNORECASE)
FORWARDED = re.compile(rf"(?:{_any_of(entries('forwarded'))})(?![^\W\d_])", re.IGNORECASE)
POSTSCRIPT = re.compile(
    rf"\s*(?:{_any_of(entries('postscript'))})\s*[:：)]|\s*P\.?\s?(?:P\.?\s?)?S\.?\s\S",
    re.IGNORECASE,
)

# In scripts that separate words, it must be whole words.
AUTOMATIC = re.compile(
    rf"(?<![^\W\d_])(?:{_any_of(word for word in entries('automatic') if not word[0] >= 'ก')})(?![^\W\d_])"
    rf"|{_any_of(word for word in entries('automatic') if word[0] >= 'ก')}",
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
# Substrings are found in a fifth of the time that a pattern of all of them takes.
_NOTICE = tuple(
    tuple(entry.casefold() for entry in entries(name))
    for name in ("confidential", "recipient", "message")
)


def header_field(line: str) -> tuple[Role, str] | None:
    """The role and the value of a copied header field; None if the line is not a header field.

    The colon may be full-width or follow a space, and the label may be emphasised.
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
    """A subject without "Re:", "AW:", "转发：" and list "[tag]"s, in any number and order."""
    at = 0
    subject = subject.strip()
    while found := _PREFIX.match(subject, at):
        at = found.end()
    return subject[at:]


def bare_subject(title: str) -> str:
    """A subject without "Re:", "Fwd:" and list tags, in lower case; empty if nothing is left."""
    return " ".join(without_prefixes(title).casefold().split())


def prefixes(subject: str) -> list[str]:
    """The prefixes that `without_prefixes` removes, except list tags."""
    found: list[str] = []
    at = 0
    subject = subject.strip()
    while match := _PREFIX.match(subject, at):
        if not match[0].startswith("["):
            found.append(match[0])
        at = match.end()
    return found


def says_answer(subject: str) -> bool:
    """Whether a subject's first prefix marks a reply, in any language."""
    return _first(subject, _REPLY)


def says_forward(subject: str) -> bool:
    """Whether a subject's first prefix marks a forward and never a reply, as "VS" may."""
    return _first(subject, _FORWARD) and not _first(subject, _REPLY)


def _first(subject: str, pattern: re.Pattern[str]) -> bool:
    found = prefixes(subject)
    return (
        bool(found)
        and len(found[0].rstrip(" :：.")) >= SHORTEST_PREFIX
        and bool(pattern.match(found[0]))
    )


def is_device_line(line: str) -> bool:
    """Whether a phone or a program added this line below the text ("Sent from my iPhone")."""
    text = line.strip(" \t*_[]").casefold()
    return text.startswith(_DEVICE_STARTS) or text.endswith(_DEVICE_ENDS)


def is_legal_notice(paragraph: str) -> bool:
    """Whether a paragraph mentions a message, confidentiality and the intended recipient."""
    text = " ".join(paragraph.casefold().split())
    return all(any(word in text for word in words) for words in _NOTICE)
