"""`customir search`."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from customir.cli.options import FOLDER, Examples
from customir.cli.output import print_hit
from customir.terminal import echo


@click.command(
    cls=Examples,
    examples="""
    customir search mail "who has the key for the seminar room"
    customir search mail "invoice paid twice" -k 3 --mode vector
    customir search mail "backup" --since 2002-08-01 --until 2002-08-31 --sender ann
    customir search mail "backup" --source archive.mbox --by-thread
    customir search mail "backup" --json | jq -r '.[].identifier'
    """,
)
@click.argument("folder", metavar="DIR", type=FOLDER)
@click.argument("query")
@click.option(
    "-k", "count", type=click.IntRange(1, 1000), default=10, show_default=True, help="Hits."
)
@click.option(
    "--mode",
    type=click.Choice(["hybrid", "vector", "text"]),
    default="hybrid",
    show_default=True,
    help="By meaning (vector), by words (text), or both (cosine, and a share of the query's words).",
)
@click.option("--since", help="Not before this date (or time; without a zone, UTC).")
@click.option("--until", help="Not after this date.")
@click.option("--sender", help="A part of the sender's name or address.")
@click.option("--source", help="A source, by its path or file name, or a folder or file in one.")
@click.option("--by-thread", is_flag=True, help="One hit a thread: the best.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
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
    """Search DIR for QUERY."""
    from customir.runtime.filters import Filter
    from customir.runtime.search import search as find

    only = Filter(since=since, until=until, sender=sender, source=source)
    hits = find(folder, query, count, mode, only, by_thread)
    if as_json:
        echo(json.dumps([asdict(hit) for hit in hits], ensure_ascii=False))
        return
    if not hits:
        echo("Nothing found.", err=True)
    for hit in hits:
        print_hit(hit)
