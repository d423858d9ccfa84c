"""Reduces a document to its author's own text, without the additions of mail programs and servers.

The rules look at each line once, so that every message takes linear time. A table
(mail_labels.toml) holds the words of quotes and signatures in each language. The rules are in
quotes.py and signatures.py, and bench/quotes.py compares them with mail-parser-reply and talon.
"""

import re
import unicodedata
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from customir.corpus.document import RawDocument
from customir.corpus.links import plain_links
from customir.corpus.signatures import (
    ARCHIVE_NOTE,
    device_lines,
    footers,
    legal_notices,
    signatures,
)
from customir.text.mail_labels import says_answer, says_forward
from customir.text.quotes import earlier_messages, quotes

# The longest title. A title is embedded with every passage of its document.
MAXIMUM_TITLE = 1000

CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u00ad\u200b\u2060\ufeff\ud800-\udfff]")
BLANK_LINES = re.compile(r"\n{3,}")
ARMOUR = "PGP or uuencoded block"
TRACKING = "tracking link"

# A digest copies one message after another, and all of them are its content.
DIGEST = re.compile(r"\b(?:digest|newsletter)\b|\bvol(?:ume)?\.? ?\d|\bissue #?\d", re.IGNORECASE)
SCRUBBED = re.compile(  # the note of a part that Mailman removed from its archives
    r"^(?:-+ next part -+\n)?An? [\w -]{0,60}(?:was|were) scrubbed\.\.\.$"
    r"(?:\n(?:Name|Type|Size|Desc|URL|From|Subject|Date|To)\s*:.*(?:\n<\S*>)?)*",
    re.MULTILINE,
)
ARMOUR_START = re.compile(r"-----(?:BEGIN|END) PGP |begin \d{3} |Hash: ")
ENCODED_START = re.compile(r"begin \d{3} \S")
# A line of uuencode begins with the number of its bytes, at most 45, and four characters are three.
ENCODED_LINE = re.compile(r"[!-M][ -`]{2,60}\s*$")


@dataclass(frozen=True)
class Cut:
    """A piece that was cut from a document, and why.

    Attributes:
        cause: "quote", "signature", ...
        characters: The number of characters cut from `text`: all of them, unless it is a link.
    """

    cause: str
    text: str
    characters: int


@dataclass(frozen=True)
class Cleaned:
    """A document's own text and the pieces cut from it: links first, then lines from the top."""

    text: str
    cuts: tuple[Cut, ...] = ()


def clean(document: RawDocument) -> Cleaned:
    """The document's own text in NFC, without control characters; of mail, only the new text.

    Quoted replies, attributions, copied headers, signatures, list footers, legal notices, PGP
    armour and tracking parts of links are cut, and every piece is listed with its cause. The first
    message in a forward is kept without its header, because it is what the sender sent. Lines that
    begin with ">" are kept in mail that is not a reply, because they are console input.
    """
    text = tidy(document.text)
    if not document.is_mail:
        lines = [line.rstrip() for line in text.split("\n")]
        return Cleaned(BLANK_LINES.sub("\n\n", "\n".join(lines)).strip())
    cuts: list[Cut] = []
    if "scrubbed..." in text:
        cuts += [_cut(ARCHIVE_NOTE, found[0]) for found in SCRUBBED.finditer(text)]
        text = SCRUBBED.sub("", text)
    text, tracking = plain_links(text)
    cuts += [Cut(TRACKING, link, shorter) for link, shorter in tracking]
    lines = [line.rstrip() for line in text.split("\n")]
    causes = _causes(lines, document)
    cuts += _pieces(lines, causes)
    return Cleaned(_left(lines, causes), tuple(cuts))


def _causes(lines: list[str], document: RawDocument) -> dict[int, str]:
    """The positions of the lines to cut, each with its cause."""
    answers = bool(document.references) or says_answer(document.title)
    # A message copied into mail that is not a reply was forwarded, whatever the subject says.
    forwards = not answers or says_forward(document.title)
    causes = _armour(lines) if any(map(ARMOUR_START.match, lines)) else {}
    if causes:  # PGP puts "- " before a line that begins with a dash
        lines[:] = [line.removeprefix("- ") if line.startswith("- -") else line for line in lines]
    rules: list[Callable[[list[str]], dict[int, str]]] = [
        footers,
        legal_notices,
        lambda left: quotes(left, answers=answers),
        device_lines,
        footers,
        legal_notices,
        lambda left: signatures(left, document.sender),
    ]
    if answers or not DIGEST.search(document.title):
        rules.insert(0, lambda left: earlier_messages(left, forwards=forwards))
    left = [at for at in range(len(lines)) if at not in causes]
    for rule in rules:
        found = rule([lines[at] for at in left])
        if found:
            causes.update((left[place], cause) for place, cause in found.items())
            left = [at for place, at in enumerate(left) if place not in found]
    return causes


def _pieces(lines: Sequence[str], causes: dict[int, str]) -> list[Cut]:
    """Each run of lines cut for one cause. Blank lines neither end a run nor belong to it."""
    cuts: list[Cut] = []
    run: list[str] = []
    running = ""
    for at, line in enumerate(lines):
        if not line.strip():
            continue
        cause = causes.get(at, "")
        if cause != running and run:
            cuts.append(_cut(running, "\n".join(run)))
            run = []
        running = cause
        if cause:
            run.append(line)
    if run:
        cuts.append(_cut(running, "\n".join(run)))
    return cuts


def _left(lines: Sequence[str], causes: dict[int, str]) -> str:
    """The lines that are not cut, with a blank line in place of each cut."""
    kept: list[str] = []
    for at, line in enumerate(lines):
        if at not in causes:
            kept.append(line)
        elif causes[at] != ARMOUR and kept and kept[-1]:
            kept.append("")
    return BLANK_LINES.sub("\n\n", "\n".join(kept)).strip()


def _cut(cause: str, text: str) -> Cut:
    return Cut(cause, text, len(text))


def missing_lines(before: Sequence[str], after: Sequence[str]) -> list[str]:
    """The runs of lines in `before` that are missing from `after`.

    `after` must hold the other lines in the same order. Blank lines are ignored.
    """
    kept = deque(line for line in after if line.strip())
    runs: list[list[str]] = [[]]
    for line in before:
        if not line.strip():
            continue
        if kept and line == kept[0]:
            kept.popleft()
            if runs[-1]:
                runs.append([])
        else:
            runs[-1].append(line)
    return ["\n".join(run) for run in runs if run]


def clean_line(text: str, longest: int | None = None) -> str:
    """A title, sender or identifier on one line, with single spaces."""
    return " ".join(tidy(text).split())[:longest]


def why_empty(document: RawDocument) -> str:
    """The reason why a document's cleaned text is empty."""
    if "-----BEGIN PGP MESSAGE-----" in document.text:
        return "encrypted (PGP): no readable text"
    text = tidy(document.text)
    if not text.strip():
        return "no text"
    if document.is_mail and not SCRUBBED.sub("", text).strip():
        return "only the list server's note that it removed the text"
    return "nothing but quotes, signature or list notes"


def tidy(text: str) -> str:
    """Text in NFC with line feeds and plain spaces; no control characters or lone surrogates."""
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if not text.isascii():
        text = unicodedata.normalize("NFC", text).replace("\u00a0", " ").replace("\u2028", "\n")
    return CONTROL.sub("", text)


def _armour(lines: Sequence[str]) -> dict[int, str]:
    """PGP armour, encrypted blocks and uuencoded files."""
    cut: dict[int, str] = {}
    closing = ""
    for at, line in enumerate(lines):
        if closing:
            cut[at] = ARMOUR
            if line.strip() == closing:
                closing = ""
        elif line.startswith("-----BEGIN PGP "):
            cut[at] = ARMOUR
            if not line.startswith("-----BEGIN PGP SIGNED MESSAGE"):
                closing = line.replace("BEGIN", "END").strip()
        elif ENCODED_START.match(line) and _is_encoded(lines[at + 1 : at + 2]):
            cut[at] = ARMOUR
            closing = "end"
        elif line.startswith(("Hash: SHA", "Hash: MD5", "-----END PGP ")):
            cut[at] = ARMOUR
    return cut


def _is_encoded(lines: Sequence[str]) -> bool:
    """Whether this line, if there is one, is a line of uuencode. Blanks at its end may be lost."""
    for line in lines:
        length = (ord(line[0]) - ord(" ") + 2) // 3 * 4 + 1 if line else 0
        return ENCODED_LINE.match(line) is not None and length - 4 <= len(line) <= length + 1
    return False
