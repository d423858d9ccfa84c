"""Prints tables and search hits: formatted on a terminal, plain when piped."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from customir.terminal import echo, one_line, printable

if TYPE_CHECKING:
    from customir.runtime.facets import Facets
    from customir.runtime.hits import Hit


def print_table(rows: Sequence[Sequence[str]]) -> None:
    """Print a table with a header: drawn on a terminal, tab-separated when piped."""
    if not sys.stdout.isatty():
        for row in rows:
            echo("\t".join(map(one_line, row)))
        return
    table = Table(box=box.SIMPLE_HEAD, show_edge=False)
    for title in rows[0]:
        table.add_column(title)
    for row in rows[1:]:
        table.add_row(*(Text(one_line(cell)) for cell in row))
    Console().print(table)


def print_hit(hit: "Hit") -> None:
    about = "  ".join(part for part in (hit.sender, (hit.date or "")[:10]) if part)
    about, title = one_line(f"{about}  {hit.identifier}"), one_line(hit.title or hit.identifier)
    similar = f"  (+{hit.similar} near-duplicates)" if hit.similar else ""
    similar += f"  ({hit.in_thread} in the thread)" if hit.in_thread > 1 else ""
    if sys.stdout.isatty():
        lines = Group(
            Text.assemble((title, "bold"), f"  {hit.score:.4f}{similar}"),
            Text(about, style="dim"),
            Text.assemble(*_snippet_parts(hit)),
        )
        grid = Table.grid(padding=(0, 1))
        grid.add_row(f"{hit.rank}.", lines)
        Console().print(grid)
        return
    echo(f"{hit.rank}. {title}  {hit.score:.4f}{similar}\n   {about}")
    echo(f"   {_mark_matches(hit)}")


def print_facets(facets: "Facets", considered: int) -> None:
    """How often each sender, month, source and language occurs, a line for each kind."""
    echo(f"Of the {considered} documents that were ranked:")
    for field in fields(facets):
        values = ", ".join(f"{each.value} ({each.count})" for each in getattr(facets, field.name))
        echo(f"   {field.name}: {one_line(values) or 'none known'}")


def _snippet_parts(hit: "Hit") -> Iterator[tuple[str, str]]:
    """The parts of the snippet, each with its style; matches are bold."""
    done = 0
    for start, end in hit.marks:
        yield printable(hit.snippet[done:start]), ""
        yield printable(hit.snippet[start:end]), "bold"
        done = end
    yield printable(hit.snippet[done:]), ""


def _mark_matches(hit: "Hit") -> str:
    """The snippet with its matches in [brackets], for where there is no bold."""
    text = hit.snippet
    for start, end in reversed(hit.marks):
        text = f"{text[:start]}[{text[start:end]}]{text[end:]}"
    return text


def relative_path(path: Path) -> Path:
    try:
        return path.resolve().relative_to(Path.cwd())
    except ValueError:
        return path
