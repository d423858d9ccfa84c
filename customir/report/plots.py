"""Plots as inline SVG, drawn by Matplotlib and coloured by the page's CSS.

Matplotlib draws in the light theme's colours, and `_svg` replaces each by the CSS variable of the
same name, so that a dark page shows the same plot. Labels stay text, in the page's font.
"""

import io
import logging
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from textwrap import fill
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# The page's CSS variables in the light theme, then in the dark one. c0 to c7 distinguish series.
COLOURS = {
    "c0": "#1f6fd6", "c1": "#b45f00", "c2": "#00797f", "c3": "#8a3ffc", "c4": "#b5367a",
    "c5": "#4d7c0f", "c6": "#8d5524", "c7": "#6b7480", "good": "#0a7d4f", "bad": "#b3261e",
    "rest": "#b9c0c9", "soft": "#565f6b", "ink": "#16191d", "rule": "#e1e5ea", "card": "#ffffff",
    "page": "#f5f6f8",
}  # fmt: skip
DARK = {
    "c0": "#6cb0ff", "c1": "#ffb054", "c2": "#45cbd2", "c3": "#bd93ff", "c4": "#ff85bd",
    "c5": "#a3d65c", "c6": "#d9a371", "c7": "#a3adb8", "good": "#4cc38a", "bad": "#ff8a80",
    "rest": "#4a525c", "soft": "#9aa4b0", "ink": "#e8ebee", "rule": "#30363d", "card": "#1b1f24",
    "page": "#111417",
}  # fmt: skip
SERIES_COLOURS = [name for name in COLOURS if re.fullmatch(r"c\d", name)]
WIDTH, HEIGHT, ROW = 5.0, 3.2, 0.44  # inches, 72 CSS pixels each
NAME_WIDTH, LABELLED_GROUPS = 18, 8  # characters; groups
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10.5,
    "text.color": COLOURS["ink"],
    "axes.edgecolor": COLOURS["rule"],
    "axes.labelcolor": COLOURS["soft"],
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": COLOURS["rule"],
    "xtick.color": COLOURS["rule"],
    "ytick.color": COLOURS["rule"],
    "xtick.labelcolor": COLOURS["soft"],
    "ytick.labelcolor": COLOURS["soft"],
    "legend.frameon": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
}

# Messages about Matplotlib's font cache would appear between the stages on the terminal.
logging.getLogger("matplotlib").setLevel(logging.ERROR)


@dataclass(frozen=True)
class Series:
    """A line of a plot. `colour` names one of COLOURS."""

    name: str
    points: Sequence[tuple[float, float]]
    colour: str
    dashed: bool = False


@dataclass(frozen=True)
class Interval:
    """A row of `forest`: a mean between two ends."""

    name: str
    mean: float
    low: float
    high: float


def lines(
    title: str,
    series: Sequence[Series],
    x_label: str,
    y_label: str,
    *,
    log_x: bool = False,
    x_ticks: Sequence[float] = (),
    diagonal: bool = False,
) -> Markup:
    """Lines over one x axis, with a legend if there are several.

    Args:
        x_ticks: Where the x axis has numbers; by default, Matplotlib chooses.
        diagonal: Draw y = x, dotted.
    """
    series = [one for one in series if one.points]
    if not series:
        return Markup()
    with _plot(f"{title}: {y_label} by {x_label}", HEIGHT + 0.2 * len(series)) as (axes, drawn):
        for one in series:
            marker = "o" if len(one.points) < 40 else ""
            axes.plot(
                *zip(*one.points, strict=True), color=COLOURS[one.colour], label=one.name,
                linestyle="--" if one.dashed else "-", marker=marker, markersize=3.5,
            )  # fmt: skip
        if diagonal:
            axes.plot([0, 1], [0, 1], color=COLOURS["rest"], linestyle=":")
        if log_x:
            axes.set_xscale("log")
        if x_ticks:
            axes.set_xticks(x_ticks, [f"{tick:g}" for tick in x_ticks])
            axes.minorticks_off()
        axes.set(xlabel=x_label, ylabel=y_label)
        axes.grid(True)
        if len(series) > 1:
            axes.figure.legend(loc="outside lower left", ncols=2, fontsize=9.5)
    return drawn[0]


def forest(title: str, rows: Sequence[Interval]) -> Markup:
    """A forest plot: means with their intervals, one per row, and a line at zero."""
    if not rows:
        return Markup()
    with _plot(title, 0.6 + ROW * len(rows)) as (axes, drawn):
        for place, row in enumerate(rows):
            colour = COLOURS["good" if row.low > 0 else "bad" if row.high < 0 else "c7"]
            axes.plot([row.low, row.high], [place, place], color=colour, linewidth=2)
            axes.plot(row.mean, place, "o", color=colour, markersize=6)
        axes.axvline(0, color=COLOURS["soft"], linewidth=1)
        _name_rows(axes, [row.name for row in rows])
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:+g}" if value else "0")
        axes.locator_params(axis="x", nbins=5)
    return drawn[0]


def bars(title: str, rows: Sequence[tuple[str, float, str]]) -> Markup:
    """Horizontal bars from zero. A row has a name, a length, and the label beside the bar."""
    rows = [row for row in rows if row[1] > 0]
    if not rows:
        return Markup()
    with _plot(title, 0.2 + ROW * len(rows)) as (axes, drawn):
        names, lengths, labels = zip(*rows, strict=True)
        made = axes.barh(range(len(rows)), lengths, height=0.5, color=COLOURS["c0"])
        axes.bar_label(made, labels, padding=4, color=COLOURS["ink"])
        axes.margins(x=0.25)
        axes.set_xticks([])
        axes.spines["bottom"].set_visible(False)
        _name_rows(axes, names)
    return drawn[0]


def scatter(
    title: str, points: Sequence[tuple[float, float, int]], labels: Sequence[str]
) -> Markup:
    """Points in the plane, coloured by group; the first groups are labelled at their median.

    Args:
        points: x, y, and the group's number, from 0.
        labels: The labels of the groups, in the order of their numbers.
    """
    if not points:
        return Markup()
    with _plot(title, WIDTH) as (axes, drawn):
        axes.set_axis_off()
        groups: dict[int, list[tuple[float, float]]] = {}
        for x, y, group in points:
            groups.setdefault(group, []).append((x, y))
        for group in sorted(groups, reverse=True):
            axes.plot(
                *zip(*groups[group], strict=True), "o", color=COLOURS[group_colour(group)],
                markersize=3, markeredgewidth=0, alpha=0.75,
            )  # fmt: skip
        places = {
            labels[group]: [sorted(axis)[len(axis) // 2] for axis in zip(*members, strict=True)]
            for group, members in sorted(groups.items())
            if group < min(LABELLED_GROUPS, len(labels))
        }
        _write_apart(axes, places)
    return drawn[0]


def palette() -> str:
    """The CSS that defines each colour for the light and the dark theme."""
    light, dark = (
        ";".join(f"--{name}:{colour}" for name, colour in theme.items())
        for theme in (COLOURS, DARK)
    )
    return f":root{{{light}}}@media screen and (prefers-color-scheme:dark){{:root{{{dark}}}}}"


def group_colour(number: int) -> str:
    """The name of a group's colour; grey ("rest") from number LABELLED_GROUPS on."""
    return SERIES_COLOURS[number] if number < LABELLED_GROUPS else "rest"


@contextmanager
def _plot(title: str, height: float) -> Iterator[tuple["Axes", list[Markup]]]:
    """Axes to draw on, and a list that receives the SVG when the context ends."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    drawn: list[Markup] = []
    with rc_context({**STYLE, "svg.hashsalt": title}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # the browser has its own
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        yield figure.subplots(), drawn
        drawn.append(_svg(figure, title))


def _svg(figure: "Figure", title: str) -> Markup:
    """The figure as an SVG element, whose colours and width the page determines."""
    written = io.StringIO()
    no_metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(written, format="svg", metadata=no_metadata)
    svg = written.getvalue()
    svg = svg[svg.index("<svg ") :]
    svg = re.sub(r"<style.*?</style>", "", svg)  # the page has its own
    svg = re.sub(r'(<g) id="[^"]*"', r"\1", svg)  # the same in every plot
    svg = re.sub(r' (width|height)="[\d.]+pt"', "", svg, count=2)
    for name, colour in COLOURS.items():
        svg = svg.replace(colour, f"var(--{name})")
    return Markup(svg.replace("<svg ", f'<svg role="img" aria-label="{escape(title)}" ', 1))


def _name_rows(axes: "Axes", names: Sequence[str]) -> None:
    """Write the rows' names to the left of the axes, the first one at the top."""
    axes.set_yticks(range(len(names)), [fill(name, NAME_WIDTH) for name in names])
    axes.tick_params(axis="y", length=0, labelcolor=COLOURS["ink"])
    axes.spines["left"].set_visible(False)
    axes.set_ylim(len(names) - 0.5, -0.5)


def _write_apart(axes: "Axes", places: Mapping[str, Sequence[float]]) -> None:
    """Write labels at their positions, and lower those that would overlap another."""
    bottom, top = axes.get_ylim()
    left, right = axes.get_xlim()
    height, width = 0.045 * (top - bottom), 0.35 * (right - left)
    taken: list[tuple[float, float]] = []
    for label, (x, y) in sorted(places.items(), key=lambda item: -item[1][1]):
        while any(abs(x - x_) < width and abs(y - y_) < height for x_, y_ in taken):
            y -= height / 4
        taken.append((x, y))
        x = min(max(x, left + width / 2), right - width / 2)
        axes.text(
            x, y, fill(label, NAME_WIDTH), ha="center", va="center", weight="bold", fontsize=10
        )
