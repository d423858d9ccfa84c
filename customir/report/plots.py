"""Plots as inline SVG, without a library: drawn for a phone's width, coloured by the page's CSS.

Text that a plot shows is escaped here. Colours are classes (`c0` to `c7`, `rest`), so that a page
can have a light and a dark set of them.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 360, 240
LEFT, RIGHT, TOP, BOTTOM = 44, 12, 10, 36
ROW = 34
COLOURS = 8
LONGEST_NAME = 28

Scale = Callable[[float], float]


@dataclass(frozen=True)
class Series:
    """A line of a plot. `colour` counts from 0; beyond the last one it is grey."""

    name: str
    points: Sequence[tuple[float, float]]
    colour: int
    dashed: bool = False


def colour_class(number: int) -> str:
    """The CSS class of the colour of that number."""
    return f"c{number}" if 0 <= number < COLOURS else "rest"


def lines(
    title: str,
    series: Sequence[Series],
    x_label: str,
    y_label: str,
    *,
    log_x: bool = False,
    dots: bool = True,
    x_ticks: Sequence[float] = (),
    y_range: tuple[float, float] | None = None,
    diagonal: bool = False,
) -> str:
    """Lines over one x axis, with a legend where there are several.

    Args:
        diagonal: Draw y = x, dotted.
    """
    xs = [x for one in series for x, _ in one.points]
    ys = [y for one in series for _, y in one.points]
    if not xs:
        return ""
    low, high = y_range or _padded(min(ys), max(ys))
    y_ticks = _ticks(low, high)
    ticks = list(x_ticks) or _ticks(min(xs), max(xs))
    place = math.log if log_x else float
    across = _scale(place(min(xs)), place(max(xs)), LEFT, WIDTH - RIGHT)
    down = _scale(low, high, HEIGHT - BOTTOM, TOP)

    def x_of(value: float) -> float:
        return across(place(value))

    parts = [_horizontal(down(tick), _number(tick)) for tick in y_ticks if low <= tick <= high]
    parts += [_tick(x_of(tick), _number(tick)) for tick in ticks if min(xs) <= tick <= max(xs)]
    parts.append(_text(WIDTH - RIGHT, HEIGHT - 4, x_label, "end"))
    if diagonal:
        parts.append(
            f'<path class="faint dashed" d="M{x_of(low):.1f} {down(low):.1f} '
            f'L{x_of(high):.1f} {down(high):.1f}"/>'
        )
    for one in series:
        path = " L".join(f"{x_of(x):.1f} {down(y):.1f}" for x, y in one.points)
        dashed = " dashed" if one.dashed else ""
        parts.append(f'<path class="line {colour_class(one.colour)}{dashed}" d="M{path}"/>')
        if dots:
            parts += [
                f'<circle class="dot {colour_class(one.colour)}" cx="{x_of(x):.1f}" '
                f'cy="{down(y):.1f}" r="2.5"><title>{escape(one.name)}: {_number(x)}, {y:.3f}'
                "</title></circle>"
                for x, y in one.points
            ]
    legend = _legend(series) if len(series) > 1 else ""
    return _figure(f"{title}. {y_label} by {x_label}", HEIGHT, parts, y_label) + legend


@dataclass(frozen=True)
class Interval:
    """A row of `intervals`: a mean between two ends."""

    name: str
    mean: float
    low: float
    high: float


def intervals(title: str, rows: Sequence[Interval]) -> str:
    """Means with their intervals, one below the other, about a line at zero (a forest plot)."""
    if not rows:
        return ""
    ends = [0.0, *(end for row in rows for end in (row.low, row.high, row.mean))]
    low, high = _padded(min(ends), max(ends))
    across = _scale(low, high, 8, WIDTH - 8)
    height = TOP + ROW * len(rows) + BOTTOM - 12
    parts = [_vertical(across(0), height - BOTTOM + 16, "zero")]
    for tick in _ticks(low, high, 4):
        parts.append(_text(across(tick), height - 6, f"{tick:+g}" if tick else "0", "middle"))
    for number, row in enumerate(rows):
        y = TOP + ROW * number + 24
        sure = "sure" if row.low > 0 else "worse" if row.high < 0 else "unsure"
        said = f"{row.mean:+.3f} ({row.low:+.3f} to {row.high:+.3f})"
        parts += [
            _text(8, y - 10, _short(row.name), "start", "name"),
            _text(WIDTH - 8, y - 10, said, "end"),
            f'<path class="line {sure}" d="M{across(row.low):.1f} {y} L{across(row.high):.1f} {y}"/>',
            f'<circle class="dot {sure}" cx="{across(row.mean):.1f}" cy="{y}" r="4"/>',
        ]
    return _figure(title, height, parts)


def bars(title: str, rows: Sequence[tuple[str, float, str]]) -> str:
    """Lengths from zero: a name, a value and how it is said."""
    most = max((value for _, value, _ in rows), default=0.0)
    if not most:
        return ""
    parts = []
    for number, (name, value, said) in enumerate(rows):
        y = TOP + ROW * number
        parts += [
            _text(8, y + 10, _short(name), "start", "name"),
            _text(WIDTH - 8, y + 10, said, "end"),
            f'<rect class="bar c0" x="8" y="{y + 15}" height="8" rx="2" '
            f'width="{max(1.0, (WIDTH - 16) * value / most):.1f}"/>',
        ]
    return _figure(title, TOP + ROW * len(rows), parts)


def scatter(title: str, points: Sequence[tuple[float, float, int]], labels: Sequence[str]) -> str:
    """Points in the plane, coloured by group; the first groups are named at their middle.

    Args:
        points: x, y, and the group's number.
        labels: Of the groups, in the order of their numbers.
    """
    if not points:
        return ""
    height = WIDTH
    xs, ys = [x for x, _, _ in points], [y for _, y, _ in points]
    across = _scale(*_padded(min(xs), max(xs)), 4, WIDTH - 4)
    down = _scale(*_padded(min(ys), max(ys)), height - 4, 4)
    parts = [
        f'<circle class="point {colour_class(group)}" cx="{across(x):.1f}" cy="{down(y):.1f}" '
        'r="2"/>'
        for x, y, group in sorted(points, key=lambda point: -point[2])
    ]
    taken: list[float] = []
    for group, label in list(enumerate(map(_short, labels)))[:COLOURS]:
        members = [(x, y) for x, y, own in points if own == group]
        if not members or not label:
            continue
        middle = across(sorted(x for x, _ in members)[len(members) // 2])
        y = down(sorted(y for _, y in members)[len(members) // 2])
        while any(abs(y - other) < 13 for other in taken):  # labels must not lie on each other
            y += 1
        taken.append(y)
        half = min(len(label) * 3.1, WIDTH / 2)
        x = min(max(middle, half + 4), WIDTH - half - 4)
        parts.append(_text(x, min(y, height - 4), label, "middle", f"place {colour_class(group)}"))
    return _figure(title, height, parts)


def _figure(title: str, height: float, parts: Sequence[str], y_label: str = "") -> str:
    label = f'<p class="axis">{escape(y_label)}</p>' if y_label else ""
    return (
        f'{label}<svg viewBox="0 0 {WIDTH} {height:g}" role="img" '
        f'aria-label="{escape(title)}">{"".join(parts)}</svg>'
    )


def _legend(series: Sequence[Series]) -> str:
    items = "".join(
        f'<li><svg class="key" viewBox="0 0 22 8"><path class="line {colour_class(one.colour)}'
        f'{" dashed" if one.dashed else ""}" d="M1 4 L21 4"/></svg>{escape(one.name)}</li>'
        for one in series
    )
    return f'<ul class="legend">{items}</ul>'


def _text(x: float, y: float, text: str, anchor: str, css: str = "") -> str:
    own = f' class="{css}"' if css else ""
    return f'<text{own} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _horizontal(y: float, label: str) -> str:
    return (
        f'<path class="grid" d="M{LEFT} {y:.1f} L{WIDTH - RIGHT} {y:.1f}"/>'
        + _text(LEFT - 6, y + 4, label, "end")
    )  # fmt: skip


def _vertical(x: float, bottom: float, css: str) -> str:
    return f'<path class="{css}" d="M{x:.1f} {TOP} L{x:.1f} {bottom:.1f}"/>'


def _tick(x: float, label: str) -> str:
    return _text(x, HEIGHT - BOTTOM + 15, label, "middle")


def _scale(low: float, high: float, start: float, end: float) -> Scale:
    span = (high - low) or 1.0
    return lambda value: start + (value - low) / span * (end - start)


def _padded(low: float, high: float) -> tuple[float, float]:
    margin = (high - low) * 0.06 or abs(high) * 0.06 or 1.0
    return low - margin, high + margin


def _ticks(low: float, high: float, count: int = 5) -> list[float]:
    """About `count` round numbers from low to high."""
    raw = (high - low) / count
    if raw <= 0:
        return [low]
    size = 10.0 ** math.floor(math.log10(raw))
    step = next(size * m for m in (1, 2, 5, 10) if size * m >= raw * 0.999)
    first = math.ceil(low / step)
    return [round(n * step, 10) for n in range(first, math.floor(high / step + 1e-9) + 1)]


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_NAME else f"{text[: LONGEST_NAME - 1]}…"


def _number(value: float) -> str:
    return f"{value:g}"
