"""Boilerplate at the end or top of many messages: disclaimers, footers, banners, in any language.

It is found by counting lines, without a list of such texts. A line that is at the end (or the top)
of many messages was added by a program or by habit, and says nothing about any of them.
"""

import re
import zlib
from collections.abc import Iterable, Sequence

import numpy as np

# The number of non-blank lines to look at. Banners are short, but disclaimers come in several
# languages, one below the other.
LAST_LINES, FIRST_LINES = 40, 5
# A repeated "Thanks" or "Yes." is an author's own text, so short lines are never cut alone.
LONG_LINE = 20
RULE = re.compile(r"[\s_=*~#+-]*")
# A count-min sketch with two rows of counters (Cormode and Muthukrishnan 2005). A rare line seems
# frequent only if it collides with others in both rows. It takes 32 MB for any corpus.
ROWS, WIDTH = 2, 1 << 22


class LineCounts:
    """The number of messages with each line at their end or top. It is never underestimated."""

    def __init__(self) -> None:
        self._counts = np.zeros((ROWS, WIDTH), dtype=np.uint32)

    def add(self, texts: Iterable[str]) -> None:
        """Count the lines of these messages, each line once per message."""
        slots = [_slot(line) for text in texts for line in _edges(text)]
        if slots:
            for row, places in enumerate(_places(np.array(slots, dtype=np.uint64))):
                np.add.at(self._counts[row], places, 1)

    def of(self, lines: Sequence[str]) -> list[int]:
        """The counts of normalised lines."""
        places = _places(np.array([_slot(line) for line in lines], dtype=np.uint64))
        counts = (self._counts[row][each] for row, each in enumerate(places))
        return [int(count) for count in np.minimum(*counts)]


def without_repeated(text: str, counts: LineCounts, least: int) -> str:
    """`text` without the runs of repeated lines at its end and at its top.

    A run consists of lines that are in at least `least` messages, with blank lines and rules
    between them. The first line of the run at the end, and the last line of the run at the top,
    have at least LONG_LINE characters. Text that would become empty is returned unchanged, because
    it is a form message.
    """
    lines = text.split("\n")
    filled = [(at, _normal(line)) for at, line in enumerate(lines) if _says(line)]
    last, first = filled[-LAST_LINES:], filled[:FIRST_LINES]
    numbers = counts.of([line for _, line in (*last, *first)])
    end = len(lines)
    for (at, line), number in zip(reversed(last), reversed(numbers[: len(last)]), strict=True):
        if number < least:
            break
        if len(line) >= LONG_LINE:
            end = at
    begin = -1
    for (at, line), number in zip(first, numbers[len(last) :], strict=True):
        if number < least:
            break
        if len(line) >= LONG_LINE:
            begin = at
    if end == len(lines) and begin < 0:
        return text
    while end and RULE.fullmatch(lines[end - 1][:200]):
        end -= 1
    return "\n".join(lines[begin + 1 : end]).strip() or text


def _edges(text: str) -> set[str]:
    """The normalised lines at the end and top of a message."""
    lines = text.split("\n")
    edges: dict[str, None] = {}
    for part, most in ((reversed(lines), LAST_LINES), (iter(lines), FIRST_LINES)):
        seen = 0
        for line in part:
            if _says(line):
                edges.setdefault(_normal(line))
                seen += 1
                if seen == most:
                    break
    return set(edges)


def _says(line: str) -> bool:
    return any(map(str.isalnum, line))


def _normal(line: str) -> str:
    return " ".join(line.split()).casefold()


def _slot(line: str) -> int:
    encoded = line.encode("utf-8", "surrogatepass")
    return zlib.crc32(encoded) << 32 | zlib.adler32(encoded)


def _places(slots: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The counter of each line in both rows: two arrays, int64 [lines]."""
    width = np.uint64(WIDTH)
    one = (slots >> np.uint64(32)) % width
    return one.astype(np.int64), ((slots * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(42)).astype(
        np.int64
    )
