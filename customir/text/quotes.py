"""Earlier messages in a mail: quoted lines, the attributions above them, and copied messages.

Each function takes lines and returns the positions of those to cut, with the cause. The rules were
compared with mail-parser-reply and talon (bench/quotes.py, docs/results/reading.md).
"""

import re
from collections.abc import Sequence

from customir.text.mail_labels import (
    BEGINS,
    DIRECTION_MARKS,
    FORWARDED,
    ORIGINAL,
    WROTE,
    header_field,
)

QUOTE, ATTRIBUTION, HEADER, EARLIER = "quote", "attribution", "copied header", "earlier message"

QUOTED = re.compile(r"\s{0,4}[>＞]")
# Some programs quote with bars. Tables have bars, too, so bars quote only below an attribution.
BAR = re.compile(r"\s{0,2}[|¦](?:\s|$)")
# These marks count as quote marks only directly below a dated attribution.
RARE_MARK = re.compile(r"\s{0,2}(--\]|[#:%}])(?:\s|(?<=\]))")
# Nothing else can be the begin of a quoted line.
MAY_BE_MARKED = re.compile(r"\s{0,4}(?:[>＞|¦#:%}-]|[A-Za-z]{1,12}>)")
# A placeholder for an omitted part of a quote.
OMISSION = re.compile(r"\s*(?:[\[(<]?\s*(?:\.{3,}|…|snip|cut|lost)\s*[\])>]?)\s*$", re.IGNORECASE)
# Supercite and The Bat quote with the author's initials or first name. A longer name needs a second
# line, because "Router> " may be a prompt.
INITIALS = re.compile(r"\s{0,4}([A-Za-z]{1,12})>+(?:\s|$)")
LONGEST_INITIALS = 4
# Prompts of interpreters and shells look the same.
PROMPTS = frozenset(("R", "SQL", "PS", "C", "In", "Out"))
SUPERCITE = re.compile(r"\s*>+\s*\"?([A-Za-z]{1,4})\"? == ")
# The output of an interpreter below a line that was typed at its prompt ">".
OUTPUT = re.compile(r"\s*\[1\]|\+ |Error\b|Warning\b|Loading required\b|Attaching package\b|NULL$")
# Input typed at that prompt. Below the first output, such lines count as console input even if no
# output follows them.
TYPED = re.compile(r"\s{0,4}>\s?[\w.]+\s*(?:<-|\(|=)")
# A command with an option, or a program's message. A few such lines alone, below the author's own
# text, show what the author tried and are not a quote.
COMMAND = re.compile(r"\s{0,4}>\s?(?:[\w./-]+:\s|[\w./-]+\s-{1,2}\w|-{1,2}\w|[$#%]\s)")
MAXIMUM_COMMANDS = 4

RULE = re.compile(r"\s*(?:[-_=*~] ?){3,}\s*$")
# QQ leaves the spaces around its label as entities.
MARGIN = re.compile(r"(?:[-_=*~–—:\s]|&nbsp;)+")
LOTUS_DATE = re.compile(r".*\d{1,2}/\d{1,2}/\d{2,4}\s+\d{1,2}:\d\d(?::\d\d)?\s*(?:[AP]M)?\s*$")
# Lotus puts the rest of a date, a company and blank lines between "Forwarded by" and its header.
HEADER_DISTANCE = 8
# Outlook lists all recipients, on many lines.
MAXIMUM_HEADER = 60
# An indented header was typed as an example.
MAXIMUM_INDENT = 3

# The first characters of a separator; checked first for speed.
STARTS = frozenset(" \t-_*=~–—")
DATE = re.compile(
    r"(?<!\d)(?:19|20)\d\d(?!\d)|\d{1,2}[./-] ?\d{1,2}[./-] ?\d{2,4}|(?<!\d)[٢۲][٠-٩۰-۹]{3}(?!\d)"
)
TIME = re.compile(r"(?<![\d.])\d{1,2}\s?[:.h時时点點시]\s?\d{2}(?!\.?\d)")
ADDRESS = re.compile(r"\S@\S|mailto:|[<(]\S+ (?:at|en|à|chez|\[at\]) [\w.-]+[>)]")
LONGEST_ATTRIBUTION = 300
# A program that wraps quoted lines leaves a few words without a mark on a line of their own.
WRAPPED_WIDTH, TAIL_WORDS = 55, 3
ATTRIBUTION_LINES = 3
# The address at the end of an attribution without a verb: "2021-05-03 9:12 Ada <ada@example.org>:"
ENDS_WITH_ADDRESS = re.compile(r"[>)\]]\W*\Z")
# "Ada Lovelace wrote:" has no date. A sentence with that ending is longer.
FEW_WORDS = 8
# "Ada Lovelace wrote on 03.05.2021 at 09:12:"
FEW_WORDS_WITH_DATE = 10
LONGEST_VERB = 20
LONGEST_NAME, NAME_WORDS = 60, 3


def earlier_messages(lines: Sequence[str], *, forwards: bool) -> dict[int, str]:
    """The first copied message and all below it; in a forward, all below the forwarded message.

    If the copied message has quote marks, the answer may be below it, so only its header is cut.
    """
    cut: dict[int, str] = {}
    forwarded = False  # whether the forwarded message has been seen
    anything = False  # whether there was text since the last header
    first: int | None = None  # the first line of text that is not cut
    at = 0
    while at < len(lines):
        line = lines[at]
        found = _copy_at(lines, at) if ":" in line or line[:1] in STARTS or "：" in line else None
        if found is None:
            if line.strip():
                anything = True
                first = at if first is None else first
            at += 1
            continue
        start, end, cause, says_forward, separated = found
        cut.update((place, cause) for place in range(start, end))
        first = None if first is None or first >= start else first
        if cause == ATTRIBUTION and first is None:  # the author of the text below is unknown
            at = end
            continue
        if cause == ATTRIBUTION and end < len(lines) and OMISSION.match(lines[end]):
            # "[...]" above and below a line marks a quote. The answer is below it.
            at = next(
                (place for place in range(end, len(lines)) if not lines[place].strip()), len(lines)
            )
            cut.update((place, QUOTE) for place in range(end, at))
            continue
        forwards = forwards or says_forward or (first is None and not separated)
        if not _is_quote_next(lines, end):
            if not forwards or (forwarded and anything):
                cut.update((place, EARLIER) for place in range(end, len(lines)))
                break
            forwarded, anything = True, False
        at = end
    return cut


def quotes(lines: Sequence[str], *, answers: bool) -> dict[int, str]:
    """Quoted lines and the attributions above them.

    Args:
        answers: Whether the mail is a reply. If it is not, lines that begin with ">" count as
            console input, unless there is an attribution above them.
    """
    cut: dict[int, str] = {}
    initials: set[str] = set()
    inside = bars = consoles = begun = False
    rare = ""
    for at, line in enumerate(lines):
        if not MAY_BE_MARKED.match(line):
            inside = inside and not line.strip()
            continue
        mark = _mark(line, initials)
        if mark is None and (found := INITIALS.match(line)) and found[1] not in PROMPTS:
            short = len(found[1]) <= LONGEST_INITIALS
            again = INITIALS.match(lines[at + 1]) if at + 1 < len(lines) else None
            named = (
                answers and found[1][0].isupper() and (short or (again and again[1] == found[1]))
            )
            if named or _attribution_above(lines, at, cut) is not None:
                initials.add(found[1])
                mark = ">"
        if mark is None and rare and (found := RARE_MARK.match(line)) and found[1] == rare:
            mark = rare
        elif mark is None and (found := RARE_MARK.match(line)) and _is_dated_above(lines, at, cut):
            mark = rare = found[1]
        if mark is None:
            if inside and _is_wrapped_tail(lines, at, initials):
                cut[at] = QUOTE
                continue
            inside = inside and not line.strip()
            continue
        if not inside:
            above = _attribution_above(lines, at, cut)
            if above is None and answers and mark == ">" and not begun:
                above = _name_at_top(lines, at)
            if above is not None:
                cut.update((place, ATTRIBUTION) for place in range(*above))
            bars = bars or (mark == "|" and above is not None)
            if mark == ">" and above is None:
                typed = consoles and TYPED.match(line) is not None
                console = typed or _is_console(lines, at) or (begun and _is_command(lines, at))
            else:
                console = False
            consoles, begun = consoles or console, True
            inside = bars if mark == "|" else (above is not None or (answers and not console))
            inside = inside or (mark != "|" and mark == rare)
            if found := SUPERCITE.match(line):
                initials.add(found[1])
        if inside:
            cut[at] = QUOTE
    return cut


def is_attribution(line: str) -> bool:
    """Whether a line alone says who wrote what is quoted below it."""
    return _names_author(line.strip(), alone=True)


def _mark(line: str, initials: set[str]) -> str | None:
    """The mark that makes a line a quote; None if there is none."""
    if QUOTED.match(line):
        return ">"
    if BAR.match(line):
        return "|"
    if initials and (found := INITIALS.match(line)) and found[1] in initials:
        return ">"
    return None


def _is_wrapped_tail(lines: Sequence[str], at: int, initials: set[str]) -> bool:
    """Whether a line is the end of the long quoted line above, which a mail program wrapped anew.

    The quote goes on directly below. A short answer between quoted lines follows a whole sentence.
    """
    above = lines[at - 1].rstrip()
    return (
        0 < len(lines[at].split()) <= TAIL_WORDS
        and len(above) >= WRAPPED_WIDTH
        and (above[-1].isalnum() or above[-1] in ",'-")
        and at + 1 < len(lines)
        and _mark(lines[at + 1], initials) is not None
    )


def _is_console(lines: Sequence[str], at: int) -> bool:
    """Whether the output of an interpreter directly follows the lines with ">" from `at` on."""
    while at < len(lines) and QUOTED.match(lines[at]):
        at += 1
    return at < len(lines) and OUTPUT.match(lines[at]) is not None


def _is_command(lines: Sequence[str], at: int) -> bool:
    """Whether the lines with ">" from `at` on are a few commands or program messages."""
    end = at
    while end < len(lines) and QUOTED.match(lines[end]):
        if end - at == MAXIMUM_COMMANDS or not COMMAND.match(lines[end]):
            return False
        end += 1
    return True


def _is_quote_next(lines: Sequence[str], at: int) -> bool:
    while at < len(lines) and not lines[at].strip():
        at += 1
    return at < len(lines) and QUOTED.match(lines[at]) is not None


def _copy_at(lines: Sequence[str], at: int) -> tuple[int, int, str, bool, bool] | None:
    """The header of a copied message that begins on line `at`; None if there is none.

    Returns its first line, the line below it, the cause, whether it says that the message is
    forwarded, and whether there is a separator above it.
    """
    line = lines[at]
    if not line or QUOTED.match(line):
        return None
    separator = _separator(line)
    if separator is not None:
        start = at + 1
        while (
            start < len(lines) and start < at + HEADER_DISTANCE and not header_field(lines[start])
        ):
            start += 1
        end = _below_header(lines, start, separated=True) if start < len(lines) else None
        return _rule_above(lines, at), (at + 1 if end is None else end), HEADER, separator, True
    field = header_field(line)
    if field and field[0] not in ("cc", "other"):
        start = _author_line(lines, at)
        end = _below_header(lines, at, separated=start < at)
        if end is None:
            return None
        return _rule_above(lines, start), end, HEADER, False, False
    if line.endswith((":", "：", "\u202c", "\u200f", "\u200e", "\u2069")):
        begin = _unmarked_attribution(lines, at)
        if begin is not None:
            return begin, at + 1, ATTRIBUTION, False, True
    return None


def _rule_above(lines: Sequence[str], at: int) -> int:
    """The line of the rule above `at`, skipping blank lines; `at` if there is no rule."""
    start = at
    while start and not lines[start - 1].strip():
        start -= 1
    return start - 1 if start and RULE.match(lines[start - 1][:300]) else at


def _separator(line: str) -> bool | None:
    """Whether a separator says "forwarded"; None if the line is no separator.

    A separator is "----- Original Message -----" in any language.
    """
    if len(line) > LONGEST_ATTRIBUTION:
        return None
    margin = MARGIN.match(line)
    at = margin.end() if margin else 0
    dashes = len(line[:at].strip())
    # Apple Mail writes "Begin forwarded message:" without dashes.
    if dashes < 2 and not (line.endswith((":", "：")) and len(line) < LONGEST_ATTRIBUTION // 4):
        return None
    if dashes >= 2:
        if FORWARDED.match(line, at):
            return True
        if ORIGINAL.match(line, at):
            rest = line[at:].rstrip()
            return (
                False
                if rest.endswith(("-", "_", "*", ":", "=", "–", "—")) or len(rest) < 40
                else None
            )
        return None
    found = FORWARDED.match(line, at) or ORIGINAL.match(line, at)
    if found is None or line[found.end() :].strip(" :：*_"):
        return None
    return FORWARDED.match(line, at) is not None


def _below_header(lines: Sequence[str], at: int, *, separated: bool) -> int | None:
    """The line below the copied header whose first field is on line `at`; None if it is no header.

    A header without a separator above it must have an author, a date with a digit, and a subject or
    an address. Nobody types that much as an example.
    """
    if not separated and len(lines[at]) - len(lines[at].lstrip()) > MAXIMUM_INDENT:
        return None
    values: dict[str, str] = {}
    role = ""
    end = place = at
    while place < len(lines) and place < at + MAXIMUM_HEADER:
        line = lines[place]
        if not line.strip():
            following = place + 1
            if following < len(lines) and not lines[following].strip():
                following += 1
            if following >= len(lines):
                break
            next_field = header_field(lines[following])
            if next_field is None or next_field[0] in values:
                break
            place = following
            continue
        if found := header_field(line):
            if found[0] in values and found[0] != "other":
                break
            role = found[0]
            values[role] = f"{values.get(role, '')} {found[1]}"
        elif role and (
            (separated and role in ("to", "cc")) or _goes_on(lines[place - 1], line, role)
        ):
            values[role] += f" {line}"
        else:
            break
        place += 1
        end = place
    if separated:
        return end if values else None
    if values.keys() == {"from"} and _on_one_line(lines[at]):
        return end
    ruled = at > 0 and RULE.match(lines[at - 1]) is not None
    dated = "date" in values and (ruled or any(map(str.isdigit, values["date"])))
    addressed = "subject" in values or any(
        ADDRESS.search(values.get(name, "")[:1000]) for name in ("from", "to")
    )
    if list(values)[:3] == ["to", "cc", "subject"]:  # Lotus puts the author above
        return end
    return end if "from" in values and dated and addressed else None


def _goes_on(before: str, line: str, role: str) -> bool:
    """Whether a line continues the header field above it."""
    if line[0] in " \t":
        return True
    if role in ("to", "cc", "from"):
        return before.endswith((",", ";", "<")) or "@" in line or line.endswith((";", ">"))
    if role == "date":  # the weekday and time on a line of their own
        return len(line) < 40 and TIME.search(line) is not None
    return role == "subject" and len(before) > 65


def _on_one_line(line: str) -> bool:
    """Whether a single line holds the author, the date and the subject of a header."""
    if len(line) > 1000 or not DATE.search(line):
        return False
    roles = set()
    for piece in re.split(r"(?<=\s)(?=[^\s:：]{1,20}(?:\s[^\s:：]{1,12})?\s?[:：])", line):
        if found := header_field(piece):
            roles.add(found[0])
    return {"from", "date", "subject"} <= roles


def _author_line(lines: Sequence[str], at: int) -> int:
    """The first line that belongs to a header: Lotus puts the author and date above "To:"."""
    field = header_field(lines[at])
    if field is None or field[0] != "to":
        return at
    for before in range(at - 1, max(at - 4, -1), -1):
        if LOTUS_DATE.match(lines[before][:300]):
            above = before - 1
            return above if above >= 0 and 0 < len(lines[above].strip()) < 60 else before
    return at


def _unmarked_attribution(lines: Sequence[str], at: int) -> int | None:
    """The first line of the attribution of a message without quote marks; None if there is none.

    The attribution ends on line `at`.
    """
    below = [line for line in lines[at + 1 : at + 6] if line.strip()]
    if not below:
        return None
    # If the earlier message begins with an attribution, marks further down are its own quotes.
    marked = [QUOTED.match(line) or BAR.match(line) or INITIALS.match(line) for line in below]
    if marked[0] or (any(marked) and not is_attribution(below[0])):
        return None
    start = at
    text = lines[at].translate(DIRECTION_MARKS).strip() if not lines[at].isascii() else lines[at]
    for _ in range(ATTRIBUTION_LINES):
        if len(text) > LONGEST_ATTRIBUTION:
            return None
        if _dates_author(text):
            return start - _name_above(lines, start)
        start -= 1
        if start < 0 or not lines[start].strip():
            return None
        text = f"{lines[start]} {text}"
    return None


def _name_above(lines: Sequence[str], at: int) -> bool:
    """Whether line `at` begins with an address and the line above ends with the name for it."""
    above = lines[at - 1].strip() if at else ""
    if not (lines[at].lstrip().startswith("<") or above.endswith("<")):
        return False
    return 0 < len(above) < LONGEST_NAME and not above.endswith((".", "!", "?", ":"))


def _dates_author(text: str) -> bool:
    """Whether a text says who wrote and when, in a form that hardly anybody but a program uses."""
    if not text.endswith((":", "：")) or not DATE.search(text):
        return False
    timed, addressed = TIME.search(text) is not None, ADDRESS.search(text) is not None
    wrote = WROTE.search(text) is not None
    if timed and addressed:
        return wrote or ENDS_WITH_ADDRESS.search(text) is not None
    if not wrote or not (timed or addressed):
        return False
    few = len(text.split()) <= FEW_WORDS_WITH_DATE and not text[0].islower()
    return addressed or few or BEGINS.match(text) is not None


def _attribution_above(
    lines: Sequence[str], at: int, cut: dict[int, str]
) -> tuple[int, int] | None:
    """Begin and end of the attribution directly above line `at`; None if there is none."""
    end = at
    while end and at - end < 4 and (not lines[end - 1].strip() or OMISSION.match(lines[end - 1])):
        end -= 1
    start = end
    text = ""
    for _ in range(ATTRIBUTION_LINES):
        if not start or not lines[start - 1].strip() or start - 1 in cut:
            break
        start -= 1
        text = f"{lines[start]} {text}".strip()
        if len(text) > LONGEST_ATTRIBUTION:
            break
        above = start == 0 or not lines[start - 1].strip() or start - 1 in cut
        if _names_author(text, alone=above):
            # The attribution may begin one line higher: "On Monday,\nAda wrote:".
            if start and not above and not BEGINS.match(text):
                before = lines[start - 1]
                is_begin = BEGINS.match(before) or (
                    DATE.search(before) and not before.rstrip().endswith((".", "!", "?", ":"))
                )
                if is_begin and _names_author(f"{before} {text}", alone=True):
                    start -= 1
            return start - _name_above(lines, start), at
    return None


def _is_dated_above(lines: Sequence[str], at: int, cut: dict[int, str]) -> bool:
    """Whether an attribution with a date or an address is directly above line `at`."""
    above = _attribution_above(lines, at, cut)
    text = " ".join(lines[above[0] : above[1]]) if above else ""
    return bool(DATE.search(text) or ADDRESS.search(text))


def _name_at_top(lines: Sequence[str], at: int) -> tuple[int, int] | None:
    """Begin and end of "Ada Lovelace:" or "[Ada]" above a quote at the top of a mail, or None."""
    filled = [place for place in range(at) if lines[place].strip()]
    if len(filled) != 1:
        return None
    text = lines[filled[0]].strip()
    bare = text.strip("[]")
    if not text.endswith((":", "]")) or not all(word[0].isupper() for word in bare.split()):
        return None
    return (filled[0], filled[0] + 1) if len(bare.split()) <= NAME_WORDS else None


def _names_author(text: str, *, alone: bool) -> bool:
    """Whether a text above quoted lines is their attribution.

    Args:
        alone: Whether it is a paragraph of its own.
    """
    if not text.isascii():
        text = text.translate(DIRECTION_MARKS).strip()
    colon = text.endswith((":", "："))
    # Some programs write no colon. Then the verb is the last word.
    wrote = WROTE.search(text, 0 if colon else max(len(text) - LONGEST_VERB, 0))
    if not colon and (wrote is None or len(text) - wrote.end() > 2):
        return False
    dated, timed = DATE.search(text) is not None, TIME.search(text) is not None
    addressed = ADDRESS.search(text) is not None
    begins = BEGINS.match(text) is not None
    if wrote and (addressed or ((dated or timed) and begins)):
        return True
    if colon and ((addressed and (dated or timed)) or (dated and timed and (begins or alone))):
        return True
    if wrote and begins and any(map(str.isdigit, text)):
        return True
    few = len(text.split()) <= (FEW_WORDS if colon else FEW_WORDS // 2)
    # "Ada's [ada@x.org] 22 lines of wisdom included:" has no verb of writing.
    return (
        alone and few and ((colon and addressed) or (wrote is not None and not text[:1].islower()))
    )
