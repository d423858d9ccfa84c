"""How the index splits text into words, in every script: FTS5's tokenizer "customir".

Text in ASCII is split by FTS5's own `porter unicode61`. In other text:

- Scripts without spaces, and Korean, whose words carry endings, become pairs of characters; a run
  of one character is that character, and the last one of a run is a word, too.
- Letters are folded: case in all scripts, ligatures, accents of Latin and Greek letters, vowel
  points of Hebrew and Arabic. Marks that are letters (Devanagari) stay.
- Words with umlauts are found by both their spellings: "Kündigung" as "kundigung" and "kuendigung".
- "C++" and "C#" are words beside "C".
"""

import functools
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import apsw

from customir.text.tokenize import UNSPACED

NAME = "customir"
# FTS5's reason for asking (https://sqlite.org/fts5.html#custom_tokenizers).
QUERY = apsw.FTS5_TOKENIZE_QUERY
REMEMBERED_WORDS = 1 << 16

PAIRED = UNSPACED + "\u1100-\u11ff\u3131-\u318e\uac00-\ud7af"
# Combining marks outside of these scripts: within a word.
_MARKS = "".join(
    re.escape(chr(code))
    for code in (
        *range(0x300, 0xE00),
        *range(0x0F00, 0x1000),
        *range(0x1AB0, 0x1E00),
        *range(0xFE20, 0xFE30),
    )
    if unicodedata.category(chr(code)) in ("Mn", "Mc")
)
_WORD = rf"[^\W_{PAIRED}](?:[^\W_{PAIRED}]|[{_MARKS}])*"
_SYMBOL = r"(?:\+\+|#)(?![\w+#])"
TOKEN = re.compile(rf"(?P<run>[{PAIRED}]+)|(?P<word>{_WORD})(?P<symbol>{_SYMBOL})?")
# Version numbers, addresses, identifiers: their parts are in many texts, all in a row in few.
_JOINT = r"(?:[._@/]|::|(?<=\d)-|-(?=[^\W_]*\d))"
TERM = re.compile(
    rf"(?P<run>[{PAIRED}]+)|(?P<compound>{_WORD}(?:{_JOINT}+{_WORD})+)"
    rf"|(?P<word>{_WORD}(?:{_SYMBOL})?)"
)
SHORTEST_PART = 3

_ACCENTED = re.compile(r"([a-z\u0131\u0370-\u03ff])[\u0300-\u036f]+")
_POINTS = re.compile(r"[\u0591-\u05bd\u05bf-\u05c7\u0610-\u061a\u0640\u064b-\u065f\u0670]+")
_LETTERS = str.maketrans(
    {"œ": "oe", "æ": "ae", "ø": "o", "đ": "d", "ł": "l", "ı": "i", "þ": "th", "ð": "d", "ё": "е"}
)
_SPELLINGS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "å": "aa", "ø": "oe"})

Tokens = list[tuple[int, int] | tuple[Any, ...]]
Tokenizer = Callable[[bytes, int, str | None], Any]


def register(database: apsw.Connection) -> None:
    """Make the tokenizer known to a connection: whoever reads or writes the words needs it."""
    database.register_fts5_tokenizer(NAME, _tokenizer)


def words_in(query: str) -> list[str]:
    """The distinct words of a query to look up in the index, in lower case.

    A run of a script without spaces is looked for by its pairs of characters. A compound (a version
    number, an address, an identifier) is looked for whole, and by those of its parts that are words.
    """
    terms: list[str] = []
    for found in TERM.finditer(unicodedata.normalize("NFC", query).lower()):
        if found["run"]:
            terms += _pairs(found["run"])
            continue
        terms.append(found[0])
        if found["compound"]:
            terms += [
                part
                for part in re.findall(_WORD, found[0])
                if len(part) >= SHORTEST_PART and not part.isdigit()
            ]
    return list(dict.fromkeys(terms))


def is_compound(word: str) -> bool:
    """Whether one of `words_in` is looked for as several words in a row."""
    found = TERM.fullmatch(word)
    return found is not None and found["compound"] is not None


def any_of(words: Iterable[str]) -> str:
    """An FTS5 expression that matches any of these words; empty without words.

    Each stands in quotes, so that nothing a user types is read as an operator. A single character
    of a script without spaces matches every pair that begins with it.
    """
    return " OR ".join(f'"{word}"*' if _is_single(word) else f'"{word}"' for word in words)


def phrase(text: str) -> str:
    """An FTS5 expression that matches the words of a text in a row; empty where it has none."""
    words = [found[0] for found in TOKEN.finditer(unicodedata.normalize("NFC", text).lower())]
    return any_of([" ".join(words)]) if words else ""


def _is_single(word: str) -> bool:
    return len(word) == 1 and (found := TOKEN.match(word)) is not None and bool(found["run"])


def _pairs(run: str) -> list[str]:
    """All pairs of neighbouring characters, or the character of a run of one."""
    return [run[at : at + 2] for at in range(max(len(run) - 1, 1))]


def _tokenizer(database: apsw.Connection, arguments: list[str]) -> Tokenizer:
    plain = database.fts5_tokenizer("porter", ["unicode61"])

    @functools.lru_cache(REMEMBERED_WORDS)
    def forms(word: str) -> tuple[str, ...]:
        """The forms of a word in the index: folded and stemmed; more than one with umlauts."""
        spellings = (word, word.lower().translate(_SPELLINGS))
        return tuple(dict.fromkeys(stem(fold(spelling)) for spelling in spellings))

    def stem(word: str) -> str:
        tokens = list(
            plain(word.encode(), apsw.FTS5_TOKENIZE_DOCUMENT, None, include_offsets=False)
        )
        # Porter's tokenizer splits what has marks.
        return str(tokens[0][0]) if len(tokens) == 1 else word

    def tokenize(utf8: bytes, flags: int, locale: str | None) -> Any:
        if utf8.isascii() and b"++" not in utf8 and b"#" not in utf8:
            return plain(utf8, flags, locale)
        asked = bool(flags & QUERY)
        text = utf8.decode("utf-8", "replace")
        return list(_located(text, asked, forms))

    return tokenize


def _located(
    text: str, asked: bool, forms: Callable[[str], tuple[str, ...]]
) -> Iterator[tuple[Any, ...]]:
    """Each word of a text with its start and end, in bytes of UTF-8."""
    at = offset = 0
    for found in TOKEN.finditer(text):
        offset += len(text[at : found.start()].encode())
        at = found.end()
        end = offset + len(found[0].encode())
        if run := found["run"]:
            yield from _run(run, offset, asked)
        elif found["symbol"]:
            whole = found[0].casefold()
            yield (offset, end, whole) if asked else (offset, end, *forms(found["word"]), whole)
        else:
            yield (offset, end, *forms(found["word"]))
        offset = end


def _run(run: str, offset: int, asked: bool) -> Iterator[tuple[Any, ...]]:
    sizes = [len(character.encode()) for character in run]
    pairs = _pairs(run)
    for place, pair in enumerate(pairs):
        end = offset + sum(sizes[place : place + len(pair)])
        last = place == len(pairs) - 1 and len(pair) == 2 and not asked
        yield (offset, end, pair, pair[1]) if last else (offset, end, pair)
        offset += sizes[place]


def fold(word: str) -> str:
    """A word without case, ligatures and accents, as it is compared."""
    text = unicodedata.normalize("NFD", unicodedata.normalize("NFKC", word).casefold())
    text = _POINTS.sub("", _ACCENTED.sub(r"\1", text))
    return unicodedata.normalize("NFC", text).translate(_LETTERS)
