"""Finds the reading order of the lines on a page with columns.

A gutter is a vertical line with prose on both sides that hardly any line of text crosses. A line
that crosses it (a title, a wide table) separates the columns above it from those below. The method
is the recursive XY cut of Nagy and Seth (1984), for columns only. A table's cells are not taken for
columns, because they are too short to be prose.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

MAXIMUM_PIECES = 4000
# A column has at least this many lines, with at least this median number of characters.
LEAST_LINES, LEAST_CHARACTERS = 3, 20
CROSSING_SHARE = 0.2
# A gutter is searched between these shares of the text's width, in this many places.
FROM, TO, PLACES = 0.2, 0.8, 60
SOFT_HYPHEN = "\x02"


@dataclass(frozen=True)
class Piece:
    """A line of text or a part of it, with its box in points from the lower left corner."""

    left: float
    bottom: float
    right: float
    top: float
    text: str


def columns_in_order(pieces: Sequence[Piece], *, is_turned: bool) -> list[str]:
    """The lines in reading order; none if there are no columns and PDFium's own order is right.

    Args:
        is_turned: Whether the page is shown rotated, so that PDFium's own order is useless.
    """
    upright = sum(piece.right - piece.left > piece.top - piece.bottom for piece in pieces)
    if upright * 2 < len(pieces):
        return []  # vertical text
    ordered = _in_columns(list(pieces), 0)
    if ordered is None:
        return _lines(pieces) if is_turned else []
    return ordered


def join_lines(lines: Sequence[str]) -> str:
    """Join lines to a text. A word that was hyphenated at a line's end is joined again."""
    joined: list[str] = []
    for line in lines:
        last = joined[-1] if joined else ""
        is_divided = last[-1:] == "-" and last[-2:-1].isalpha() and line[:1].islower()
        if is_divided or last.endswith(SOFT_HYPHEN):
            joined[-1] = last[:-1] + line
        else:
            joined.append(line)
    return "\n".join(joined).replace(SOFT_HYPHEN, "")


def _in_columns(pieces: list[Piece], depth: int) -> list[str] | None:
    """The lines of the columns; None if there is only one column."""
    gutter = _gutter(pieces) if depth < 3 else None
    if gutter is None:
        return None
    lines: list[str] = []
    left: list[Piece] = []
    right: list[Piece] = []

    def flush() -> None:
        for side in (left, right):
            inner = _in_columns(side, depth + 1)
            lines.extend(_lines(side) if inner is None else inner)
            side.clear()

    for piece in sorted(pieces, key=lambda piece: -piece.top):
        if piece.right <= gutter:
            left.append(piece)
        elif piece.left >= gutter:
            right.append(piece)
        else:
            flush()
            lines += _lines([piece])
    flush()
    return lines


def _gutter(pieces: Sequence[Piece]) -> float | None:
    """The horizontal position between two columns; None if there is only one column."""
    if len(pieces) < 2 * LEAST_LINES:
        return None
    begin, end = min(piece.left for piece in pieces), max(piece.right for piece in pieces)
    best: tuple[int, float, float] | None = None
    for place in range(PLACES + 1):
        x = begin + (end - begin) * (FROM + (TO - FROM) * place / PLACES)
        left = [piece for piece in pieces if piece.right <= x]
        right = [piece for piece in pieces if piece.left >= x]
        crossing = len(pieces) - len(left) - len(right)
        if crossing > CROSSING_SHARE * len(pieces) or not (_is_prose(left) and _is_prose(right)):
            continue
        if _beside(left, right) < LEAST_LINES:
            continue
        score = (crossing, abs(x - (begin + end) / 2), x)
        best = score if best is None or score < best else best
    return best[2] if best else None


def _is_prose(side: Sequence[Piece]) -> bool:
    return (
        len(side) >= LEAST_LINES and median(len(piece.text) for piece in side) >= LEAST_CHARACTERS
    )


def _beside(left: Sequence[Piece], right: Sequence[Piece]) -> int:
    """The number of pieces on the left that are beside the column on the right."""
    bottom, top = min(piece.bottom for piece in right), max(piece.top for piece in right)
    return sum(piece.top > bottom and piece.bottom < top for piece in left)


def _lines(pieces: Sequence[Piece]) -> list[str]:
    """Lines from top to bottom. Pieces at the same height form one line, from left to right."""
    lines: list[list[Piece]] = []
    for piece in sorted(pieces, key=lambda piece: -piece.top):
        middle = (piece.top + piece.bottom) / 2
        if lines and lines[-1][0].bottom <= middle <= lines[-1][0].top:
            lines[-1].append(piece)
        else:
            lines.append([piece])
    return [
        " ".join(piece.text for piece in sorted(line, key=lambda piece: piece.left))
        for line in lines
    ]
