"""`customir search`."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from customir.cli.options import Examples, folder_argument, json_option
from customir.cli.output import print_facets, print_hit
from customir.terminal import echo


@click.command(
    cls=Examples,
    examples="""
    customir search mail "who has the key for the seminar room"
    customir search mail "invoice paid twice" -k 3 --mode vector
    customir search mail 'backup from:ann after:2002-08 has:attachment'
    customir search mail '"quarterly report" -draft from:"Ann Lee"'
    customir search mail "subject:backup" --facets
    customir search mail --like "<20020822113453.GA1234@example.org>"
    customir search mail "backup" --source archive.mbox --by-thread
    customir search mail "backup" --json | jq -r '.[].identifier'
    """,
)
@folder_argument
@click.argument("query", required=False)
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
@click.option(
    "--like",
    metavar="IDENTIFIER",
    help="Instead of QUERY: find what is like this document, outside of its thread.",
)
@click.option(
    "--facets", is_flag=True, help="Count senders, months, sources and languages of the results."
)
@json_option
def search(
    folder: Path,
    query: str | None,
    count: int,
    mode: Any,
    since: str | None,
    until: str | None,
    sender: str | None,
    source: str | None,
    by_thread: bool,
    like: str | None,
    facets: bool,
    as_json: bool,
) -> None:
    """Search DIR's index for QUERY.

    QUERY holds words to look for, and conditions that every result fulfils: from:ann, to:ann,
    subject:word, after:2002-08, before:2002-08-22, has:attachment, in:archive.mbox, language:de,
    "an exact phrase", -word, -from:ann. A query of conditions alone lists the newest documents first.
    Begin a query that starts with a minus with a space.
    """
    from customir.runtime.filters import Filter
    from customir.runtime.query import parse
    from customir.runtime.search import Found, Searcher

    if (query is None) == (like is None):
        raise click.UsageError("Give either QUERY or --like IDENTIFIER.")
    if like is not None and facets:
        raise click.UsageError("--facets goes with QUERY, not with --like.")
    asked = parse(query or "")
    only = Filter(since, until, sender, source, asked.conditions)
    with Searcher(folder) as searcher:
        if like is not None:
            found = Found(searcher.similar(like, count, only, by_thread))
        else:
            found = searcher.search_with_facets(
                asked.text, count, mode, only, by_thread, count=facets
            )
    if as_json:
        hits = [asdict(hit) for hit in found.hits]
        answer = asdict(found) if facets else hits
        echo(json.dumps(answer, ensure_ascii=False))
        return
    if not found.hits:
        echo("Nothing found.", err=True)
    for hit in found.hits:
        print_hit(hit)
    if found.facets is not None:
        print_facets(found.facets, found.considered)
