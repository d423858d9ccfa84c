"""The author's own sentences of a message: training pairs contain nothing else.

Salutations, links, dates, copied header fields, console output and a closing name do not tell what
a message is about. Pairs that contain them teach an embedder to match names and machines.
"""

import itertools
import re
from collections.abc import Iterable

from customir.text.mail_labels import header_field
from customir.text.quotes import ADDRESS, DATE, is_attribution
from customir.text.tokenize import LONE, length_of

# Mail programs wrap lines at this width or below; a longer line was not wrapped at all.
MAXIMUM_WIDTH = 100
LONG_LINE = 45
FIRST_WORD = re.compile(r"[\w\"'(]\S*")  # no list or quote mark
# The source and date of a text in a feed: "URL: http://... Date: 2002-10-02".
LINK_OR_DATE = re.compile(r"\b(?:https?://|www\.)\S+|\b\d{4}-\d\d-\d\d(?:T\S+)?")
LINK = re.compile(r"https?://\S+")
IMAGE = re.compile(r"\[(?:\w+:\s*)?(?:https?|cid):[^\]\s]*\]")  # "[IMG: https://...]"
# No space follows a full-width mark. The others are Arabic, Urdu, Devanagari and Armenian.
SENTENCE_END = re.compile(
    r"(?<=[.!?\u2026\u3002\uff01\uff1f\uff61\u061f\u06d4\u0964\u0589])[\"')\]\u201d\u00bb]*\s+|\n"
    r"|(?<=[\u3002\uff01\uff1f\uff61])(?![\u3002\uff01\uff1f\u2026])"
    r"[\u300d\u300f\uff09\u201d\u2019\"')\]]*\s*"
)
# Abbreviations, initials and numbers of a list, whose full stop does not end a sentence.
ABBREVIATION = re.compile(
    r"(?:\b(?:e\.g|i\.e|etc|vs|cf|approx|resp|dr|mr|mrs|ms|prof|st|no|nr|fig|z\.b|d\.h|bzw|ca|p\.ex|a\.k\.a"
    r"|usw|vgl|ggf|evtl|p\.ej|p\.es|sra|dott|avv|bijv|dhr|mevr|\u0442\.\u0435|\u0442\.\u0434|\u0442\.\u043f|\u0441\u043c|\u0443\u043b)"
    r"|\b[^\W\d_]|(?:^|\s)\(?\d{1,2})\.$",
    re.IGNORECASE,
)
# Other abbreviations have a capital initial. Like "...", they end no sentence where the next word has
# none: "Mill Corp. owns", "since Oct. 16".
CAPITALISED = re.compile(r"(?:\b[^\W\d_a-z]\w{1,4}[.!]|\.\.)$")
# A salutation is a line above the text with at most this many words: "Hi Ada", "Dear all,", "Ada:".
SALUTATION_WORDS = 4
# Console prompts, quotes, file listings, rules, CVS messages, and fields of forms or programs.
MACHINE_START = re.compile(
    r"\s*(?:[>|#$=*~+_<{}\\-]|[^\w\s\"'(]{1,3}\s?>|\[[^\]\n]*\]\s*(?:[$#>]|$)|[\w.-]+(?:@| at )[\w.-]+:\S*[$#]|[\w.]{1,8}>\s|```"
    r"|\(See attached|Update of /|In this issue\b|Forwarded[ -]by\b|Date: Not supplied)",
    re.IGNORECASE,
)
LETTERS_SHARE = 0.6
# "Mark and Paul: ", "Dear Ms. Beck, ", "All - "
SALUTATION = re.compile(r"([^\W\d_][\w .,'&/-]{0,60}?)\s*(?:[,:;!]|--?(?=\s))\s+")
WORD = re.compile(r"\w+")
# Words of salutations without a capital initial.
SMALL_WORDS = frozenset(
    ("and", "all", "there", "everybody", "everyone", "team", "guys", "folks", "ladies", "friends", "et", "und", "&")
)  # fmt: skip


def is_prose(text: str) -> bool:
    """Whether this is prose: it is mostly letters and does not begin with a prompt or a mark."""
    if MACHINE_START.match(text):
        return False
    characters = [character for character in LINK_OR_DATE.sub(" ", text) if not character.isspace()]
    letters = sum(map(str.isalpha, characters))
    return bool(characters) and letters >= LETTERS_SHARE * len(characters)


def names_source(line: str) -> bool:
    """Whether a line is a copied header field, or nothing but links and dates with their labels."""
    left = LINK_OR_DATE.sub(" ", line).split()
    linked = LINK_OR_DATE.search(line) is not None
    return header_field(line) is not None or (linked and all(p.endswith(":") for p in left))


def without_opening_lines(text: str) -> str:
    """The text from its first meaningful line on.

    The lines above it are removed: empty lines, links and dates with their labels, copied header
    fields, attributions, rules and salutations.
    """
    start = 0
    while (end := text.find("\n", start)) >= 0 and _says_nothing(text[start:end], text[end + 1 :]):
        start = end + 1
    return text[start:]


def without_salutation(text: str) -> str:
    """The text without a salutation before its first sentence ("Mark and Paul: Have you ...").

    It is a few words with capital initials and a comma, colon, semicolon, exclamation mark or dash,
    before the capital initial of the sentence. A text repeats its topic, but hardly the name of its
    reader, so what is repeated is a heading ("Palladium: Control for all. Palladium ...").
    """
    found = SALUTATION.match(text)
    words = found[1].split() if found else []
    if not found or len(words) > SALUTATION_WORDS:
        return text
    sentence = text[found.end() :]
    names = [word for word in words if word not in SMALL_WORDS]
    named = sentence[:1].isupper() and all(word[0].isupper() for word in names)
    repeated = named and not set(WORD.findall(" ".join(names))).isdisjoint(WORD.findall(sentence))
    return sentence if named and not repeated else text


def without_closing_name(text: str, sender: str) -> str:
    """The text without its last line, if that consists only of parts of the sender's name."""
    body, _, last = text.rstrip().rpartition("\n")
    words = re.findall(r"[^\W\d_]+", last.casefold())
    names = set(re.findall(r"[^\W\d_]+", sender.casefold()))
    return body.rstrip() if body.strip() and words and set(words) <= names else text.rstrip()


def without_wraps(text: str) -> str:
    """The text with a space in place of each line break that a mail program inserted.

    Such a break is one where the first word of the next line would have made the line wider than
    all others of the text. Links and listings below may be wider, so a long line is compared with
    its paragraph alone. The length of the text stays the same.
    """
    lines = text.split("\n")
    widest, paragraph = _width(lines), _width(itertools.takewhile(str.strip, lines))
    flowing = lines[:1]
    for at, (before, line) in enumerate(itertools.pairwise(lines), start=1):
        if not line.strip():
            paragraph = _width(itertools.takewhile(str.strip, lines[at + 1 :]))
        width = paragraph if len(before) >= LONG_LINE else widest
        word = FIRST_WORD.match(line)
        broken = (
            word
            and width < len(before) + 1 + len(word[0])
            and max(len(before), len(line)) <= MAXIMUM_WIDTH
            and not before.endswith(":")
        )
        flowing.append((" " if broken else "\n") + line)
    return "".join(flowing)


def _width(lines: Iterable[str]) -> int:
    """The length of the longest line that a mail program may have wrapped."""
    return max((len(line) for line in lines if len(line) <= MAXIMUM_WIDTH), default=0)


def sentence_end(text: str, at: int) -> re.Match[str] | None:
    """The white space after the first sentence that ends at character `at` or later.

    A line break ends a sentence unless the next line continues with a lower-case letter. A full
    stop after an abbreviation, an initial or the number of a list, or inside parentheses, does not
    end a sentence.
    """
    for found in SENTENCE_END.finditer(text, at):
        before = text[: found.start()]
        following = text[found.end() : found.end() + 1]
        open_line = before[-1:].isalnum() or before.endswith((",", ")", "'", '"', "-"))
        broken = found[0] == "\n" and open_line and following.islower()
        goes_on = following.islower() or following.isdigit()
        abbreviated = ABBREVIATION.search(before[-12:]) or (
            goes_on and CAPITALISED.search(before[-12:])
        )
        inside = before.count("(") > before.count(")") and ")" in text[found.end() :]
        if not broken and not inside and not abbreviated:
            return found
    return None


def _says_nothing(line: str, rest: str) -> bool:
    line = line.strip()
    if names_source(line) or not line or not any(map(str.isalnum, line)) or is_attribution(line):
        return True
    if line.endswith(":") and (ADDRESS.search(line) or DATE.search(line)):
        return True  # "Ada [ada@x.org] 22 lines of wisdom included:"
    return MACHINE_START.match(line) is not None or _is_salutation(line, rest)


def _is_salutation(line: str, rest: str) -> bool:
    """Whether a first line is a salutation: a few words that are no sentence, above a text."""
    words = max(len(line.split()), length_of(LONE.findall(line)))
    if words > SALUTATION_WORDS or line.endswith((*".?;", *"\u3002\uff1f\uff1b")) or ": " in line:
        return False
    below = rest.lstrip()
    return (
        line.endswith((*",!:", *"\uff0c\uff01\uff1a\u3001\u060c"))
        or rest.startswith("\n")
        or below[:1].isupper()
    )
