"""Splits text in any script into words, and counts them."""

import re
from collections.abc import Sequence

# Scripts without spaces: Thai to Myanmar, Khmer, kana, bopomofo, CJK ideographs.
UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3041-\u30ff\u3105-\u312f\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f"
)
WORD = re.compile(rf"[{UNSPACED}]|[^\W{UNSPACED}]+")
LONE = re.compile(rf"[{UNSPACED}]")
# A Chinese or Japanese word has two characters on average.
CHARACTERS_PER_WORD = 2


def words_of(text: str) -> list[str]:
    """The words of `text` in lower case, without punctuation.

    Each character of a script without spaces counts as a word.
    """
    return WORD.findall(text.lower())


def length_of(words: Sequence[str]) -> float:
    """The number of words. A character of a script without spaces counts as half a word."""
    lone = sum(LONE.fullmatch(word) is not None for word in words if not word.isascii())
    return len(words) - lone + lone / CHARACTERS_PER_WORD


def first_words(text: str, count: int) -> str:
    """The first `count` words of a text, separated by single spaces.

    A run of a script without spaces counts by its characters, as in `length_of`, and may be cut.
    """
    kept: list[str] = []
    left = float(count)
    for word in text.split():
        length = max(1.0, len(LONE.findall(word)) / CHARACTERS_PER_WORD)
        if length > left:
            kept.append(word[: int(left * CHARACTERS_PER_WORD)] if length > 1 else "")
            break
        kept.append(word)
        left -= length
    return " ".join(filter(None, kept))
