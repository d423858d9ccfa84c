"""Finds signatures, closing formulas, list footers and legal notices below the text of a mail.

Each function takes lines and returns the positions of those to cut, with the cause.
"""

import re
from collections.abc import Sequence

from customir.text.mail_labels import CLOSINGS, POSTSCRIPT, is_device_line, is_legal_notice

SIGNATURE, CLOSING, DEVICE = "signature", "closing formula", "line of a device"
FOOTER, NOTICE, ARCHIVE_NOTE = "list footer", "legal notice", "archive note"

# The longest signature or list footer, in lines.
MAXIMUM_FOOTER = 20
# The most lines below a closing formula: name, title, company, address, phone numbers.
MAXIMUM_NAME_LINES = 10
FOOTER_RULE = re.compile(r"\s*(?:[-_=*~+]\s?){10,}|\s*-{2,}.{0,60}-{2,}>?\s*$")
FOOTER_WORDS = re.compile(
    r"mailing list|mailing-list|unsubscribe|subscri(?:ption|bed)|sponsored by|sf\.net|yahoo! groups"
    r"|mailman|listinfo|do you yahoo|mail archive|list archive|posting guide|opt[- ]out",
    re.IGNORECASE,
)
FOOTER_START = re.compile(
    r"\s*(?:To unsubscribe from this (?:group|list)|Outgoing mail is certified Virus Free"
    r"|Do You Yahoo!\?|Your use of Yahoo! Groups)",
    re.IGNORECASE,
)
# The first characters of FOOTER_RULE and FOOTER_START, to be quick.
FOOTER_BEGINS = frozenset("-_=*~+tTodODyY")
REMOVED_PART = re.compile(
    r"\s*\[\[alternative HTML version deleted\]\]\s*$"
    r"|\s*\[?(?:Non-text|HTML) (?:part|attachment).{0,80}\]?\s*$",
    re.IGNORECASE,
)
LONGEST_NOTICE = 3000
# A rule as long as this was hardly typed.
SERVER_RULE = 40

DASHES = frozenset(("--", "—", "- --", "__"))
# "-- ada" begins a signature, and so does a rule above a few lines with an address, number or link.
NAMED_DASHES = re.compile(r"-- \w[\w .]{0,30}$")
SHORT_RULE = re.compile(r"\s*[-_=*~]{3,}\s*$")
CONTACT = re.compile(r"\S@\S|\w at \w+\.\w|https?://|www\.|\+?\d[\d ()./-]{6,}\d|\bx\d[\d-]{3,}")
# Notes about attachments that programs write below a signature.
ATTACHED = re.compile(r"\s*(?:\(See attached|<<|\[IMAGE|\[cid:|- .{1,80}\.\w{2,4}$)")

CONTACT_LINES = 5
# The end of a sentence; no name ends with it.
SENTENCE = re.compile(r"(?:\w[?!]|[。？！؟,;:])\s*$")
# Words in lower case within names, titles and companies.
SMALL_WORDS = frozenset(
    (
        "of", "and", "to", "for", "the", "at", "in", "on", "de", "del", "la", "le", "du", "des", "da", "do", "dos",
        "di", "van", "der", "den", "von", "und", "für", "y", "e", "et", "i", "a", "och", "og", "en",
        "ja", "z", "w", "&", "-", "/", "|",
    )
)  # fmt: skip
LONGEST_NAME = 60
PROSE_WIDTH = 50
WORD = re.compile(r"[^\W\d_]+")
# Footnotes may follow the signature: "[1] https://...".
FOOTNOTE = re.compile(r"\s*\[\d{1,3}\]:?(?:\s|$)")


def device_lines(lines: Sequence[str]) -> dict[int, str]:
    """Lines that a phone added below the text, and notes of a list server on removed parts."""
    cut = {
        at: ARCHIVE_NOTE
        for at, line in enumerate(lines)
        if line[:1] in "[nhNH \t" and len(line) <= 200 and REMOVED_PART.match(line)
    }
    filled = [at for at, line in enumerate(lines) if line.strip() and at not in cut]
    for at in reversed(filled[1:][-2:]):
        if len(lines[at]) <= 80 and is_device_line(lines[at]):
            cut[at] = DEVICE
    return cut


def footers(lines: Sequence[str]) -> dict[int, str]:
    """The footers that list servers and free mail services add at the end."""
    filled = [at for at, line in enumerate(lines) if line.strip()][-MAXIMUM_FOOTER:]
    for at in filled:
        start = lines[at].lstrip()[:1]
        if start not in FOOTER_BEGINS:
            continue
        ruled = FOOTER_RULE.match(lines[at][:300]) is not None
        following = "\n".join(lines[at : at + 5])[:1000] if ruled else ""
        # Below a short rule without an address, it may be the author's own line about the list.
        is_sure = len(lines[at].strip()) >= SERVER_RULE or CONTACT.search(following)
        if FOOTER_START.match(lines[at]) or (FOOTER_WORDS.search(following) and is_sure):
            return _from(at, lines, FOOTER)
    return {}


def legal_notices(lines: Sequence[str]) -> dict[int, str]:
    """The confidentiality notices at the end, and the rules between them."""
    end = first = len(lines)
    while end:
        while end and not lines[end - 1].strip():
            end -= 1
        start = end
        while start and lines[start - 1].strip():
            start -= 1
        paragraph = "\n".join(lines[start:end])
        if start == 0 or len(paragraph) > LONGEST_NOTICE:
            break
        rule = first < len(lines) and FOOTER_RULE.fullmatch(paragraph[:300]) is not None
        if not (rule or is_legal_notice(paragraph)):
            break
        first = end = start
    return _from(first, lines, NOTICE)


def signatures(lines: Sequence[str], sender: str) -> dict[int, str]:
    """The signature: below "--", a rule with an address, a closing formula or the sender's name.

    A postscript is always kept. Text below a closing formula that reads like a sentence is kept,
    too, because "Thanks," also occurs in the middle of letters.
    """
    cut = _below_dashes(lines)
    left = [at for at, line in enumerate(lines) if line.strip() and at not in cut]
    cut |= _below_rule(lines, left)
    left = [at for at in left if at not in cut]
    cut |= _below_closing(lines, left)
    left = [at for at in left if at not in cut]
    return cut | _below_name(lines, left, sender)


def _from(at: int, lines: Sequence[str], cause: str) -> dict[int, str]:
    return dict.fromkeys(range(at, len(lines)), cause)


def _below_dashes(lines: Sequence[str]) -> dict[int, str]:
    filled = [at for at, line in enumerate(lines) if line.strip()]
    for place, at in list(enumerate(filled))[-MAXIMUM_FOOTER:]:
        if lines[at].strip() not in DASHES:
            continue
        if not place or not _may_be_signature([lines[each] for each in filled[place + 1 :]]):
            return {}
        return _until_postscript(at, lines, SIGNATURE)
    return {}


def _may_be_signature(below: Sequence[str]) -> bool:
    """Whether the lines below "--" are a signature: few, or short, or with contact details."""
    prose = sum(len(line) > PROSE_WIDTH and not _is_capitalised(line, 0.5) for line in below)
    return len(below) <= 4 or 2 * prose <= len(below) or any(map(CONTACT.search, below))


def _until_postscript(at: int, lines: Sequence[str], cause: str) -> dict[int, str]:
    """Lines from `at` to the end, or to a postscript or footnote."""
    end = next((n for n in range(at + 1, len(lines)) if _is_postscript(lines[n])), len(lines))
    return dict.fromkeys(range(at, end), cause)


def _is_postscript(line: str) -> bool:
    return bool(FOOTNOTE.match(line) or POSTSCRIPT.match(line))


def _below_rule(lines: Sequence[str], filled: Sequence[int]) -> dict[int, str]:
    for place, at in list(enumerate(filled))[1:][-CONTACT_LINES - 1 :]:
        below = [lines[each] for each in filled[place + 1 :]]
        if NAMED_DASHES.match(lines[at]) or (
            SHORT_RULE.match(lines[at][:300])
            and all(len(line) < 100 for line in below)
            and any(CONTACT.search(line) for line in below)
        ):
            return _until_postscript(at, lines, SIGNATURE)
    return {}


def _below_closing(lines: Sequence[str], filled: Sequence[int]) -> dict[int, str]:
    """The first closing formula near the end that only a name and contact details follow."""
    for at in filled[1:][-MAXIMUM_FOOTER:]:
        if _closing(lines[at]) is None:
            continue
        cut = _until_postscript(at, lines, CLOSING)
        below = [lines[each] for each in filled if each > at and each in cut]
        if len(below) <= MAXIMUM_NAME_LINES and all(map(_is_name, below, range(len(below)))):
            return cut
    return {}


def _below_name(lines: Sequence[str], filled: Sequence[int], sender: str) -> dict[int, str]:
    """A block at the end that begins with the sender's name and has contact details."""
    names = {word.casefold() for word in WORD.findall(sender.partition("<")[0]) if len(word) > 1}
    if len(names) < 2:
        return {}
    for at in filled[1:][-MAXIMUM_NAME_LINES:]:
        words = [word.casefold() for word in WORD.findall(lines[at][:LONGEST_NAME])]
        if len(names.intersection(words[:4])) < 2 or (at and lines[at - 1].strip()):
            continue
        cut = _until_postscript(at, lines, SIGNATURE)
        below = [lines[each] for each in filled if each >= at and each in cut]
        # A name without contact details is part of the letter.
        named = (_is_name(line, 1) or _is_capitalised(line, 0.6) for line in below)
        if any(map(CONTACT.search, below)) and all(named):
            return cut
    return {}


def _closing(line: str) -> str | None:
    """The closing formula on a line, perhaps with a name after a comma; None if there is none."""
    if len(line) > 100:
        return None
    text = line.strip(" \t*_").casefold()
    bare = text.rstrip(" ,.!-–—、。，！،…:)(;")
    if bare in CLOSINGS:
        return bare
    formula, comma, name = line.strip().partition(",")
    if comma and formula.strip().casefold() in CLOSINGS and name.strip():
        words = name.split()
        if (
            len(words) <= 3
            and all(word[0].isupper() for word in words)
            and not SENTENCE.search(name)
        ):
            return formula
    return None


def _is_name(line: str, number: int) -> bool:
    """Whether a line below a closing formula is a name, a title, a company or contact details."""
    text = line.strip(" \t*_|")
    if (
        not text
        or SHORT_RULE.match(line)
        or ATTACHED.match(line)
        or text.casefold().rstrip(" ,.!-") in CLOSINGS
    ):
        return True
    if len(text) > LONGEST_NAME and not CONTACT.search(text):
        return False
    words = text.split()
    if CONTACT.search(text):
        return len(words) <= 14
    if SENTENCE.search(text):
        return False
    if number == 0 and len(words) == 1:
        return True
    if not any(character.isupper() or character.islower() for character in text):
        return len(text) <= 24 and not text.endswith(".")
    return len(words) <= 8 and _is_capitalised(text, 1.0)


def _is_capitalised(text: str, share: float) -> bool:
    """Whether at least this share of the words, except SMALL_WORDS, has no lower-case initial."""
    words = [word.strip("(\"'-*") for word in text.split() if word.casefold() not in SMALL_WORDS]
    return sum(not word[:1].islower() for word in words) >= share * len(words)
