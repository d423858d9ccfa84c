"""`customir search`."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from customir.cli.options import Examples, folder_argument, json_option
from customir.cli.output import print_hit
from customir.terminal import echo


@click.command(
    cls=Examples,
    examples="""
    customir search mail "who has the key for the seminar room"
    customir search mail "invoice paid twice" -k 3 --mode vector
    customir search mail "backup" --since 2002-08-01 --sender ann
    customir search mail "backup" --source archive.mbox --by-thread
    customir search mail "backup" --json | jq -r '.[].identifier'
    """,
)
@folder_argument
@click.argument("query")
@click.option(
    "-k",
    "count",
    type=click.IntRange(1, 1000),
    default=10,
    show_default=True,
    help="How many hits.",
)
@click.option(
    "--mode",
    type=click.Choice(["hybrid", "vector", "text"]),
    default="hybrid",
    show_default=True,
    help="Rank by meaning (vector), by words (text), or by both (hybrid).",
)
@click.option(
    "--since", help="No document before this date, or time (in UTC unless it has an offset)."
)
@click.option("--until", help="No document after this date, or time.")
@click.option("--sender", help="Only senders whose name or address contains this.")
@click.option(
    "--source",
    help="Only this source, given by its path or file name, or this file or folder in a source.",
)
@click.option("--by-thread", is_flag=True, help="Show one hit per thread, the best one.")
@json_option
def search(
    folder: Path,
    query: str,
    count: int,
    mode: Any,
    since: str | None,
    until: str | None,
    sender: str | None,
    source: str | None,
    by_thread: bool,
    as_json: bool,
) -> None:
    """Search DIR's index for QUERY."""
    from customir.runtime.filters import Filter
    from customir.runtime.search import search as find

    filter_ = Filter(since=since, until=until, sender=sender, source=source)
    hits = find(folder, query, count, mode, filter_, by_thread)
    if as_json:
        echo(json.dumps([asdict(hit) for hit in hits], ensure_ascii=False))
        return
    if not hits:
        echo("Nothing found.", err=True)
    for hit in hits:
        print_hit(hit)
