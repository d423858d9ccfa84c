"""The commands that look into DIR: show, analyze, check, status."""

import json
from dataclasses import asdict
from pathlib import Path

import click

from customir.cli.jobs import open_job, require_folder
from customir.cli.options import FOLDER, Examples
from customir.cli.output import print_table
from customir.settings import (
    read_settings,
)
from customir.terminal import echo


@click.command(
    cls=Examples,
    examples="""
    customir show mail "<20020822122332.A1234@example.org>"
    customir show mail notes/plan.md --json | jq -r '.[].cleaned'
    """,
)
@click.argument("folder", metavar="DIR", type=FOLDER)
@click.argument("identifier", metavar="MESSAGE-ID")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(folder: Path, identifier: str, as_json: bool) -> None:
    """Show a message: its original text, what was cut and why, and its passages.

    MESSAGE-ID is what `search` prints: a Message-ID, an `_id` or a path.
    """
    from customir.corpus.show import as_text
    from customir.corpus.show import show as look_up
    from customir.workspace import Workspace

    with Workspace(folder, write=False) as workspace:
        found = look_up(workspace, identifier)
    if as_json:
        echo(json.dumps([asdict(each) for each in found], ensure_ascii=False))
    else:
        echo("\n\n".join(map(as_text, found)))


@click.command(
    cls=Examples,
    examples="""
    customir analyze mail
    customir analyze mail --json | jq .topics
    """,
)
@click.argument("folder", metavar="DIR", type=FOLDER)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def analyze(folder: Path, as_json: bool) -> None:
    """Show what is in DIR's corpus: lengths, languages, style, time and topics."""
    require_folder(folder, "ingest")
    with open_job(folder, (), {}, uses_llm=True) as job:
        from customir.commands.analyze import analyse
        from customir.queries.summary import render

        summary = analyse(job)
    echo(json.dumps(asdict(summary)) if as_json else render(summary))


@click.command(
    cls=Examples,
    examples="""
    customir check mail new.mbox
    customir check mail new.mbox --passages 120 --json | jq .holds
    """,
)
@click.argument("folder", metavar="DIR", type=FOLDER)
@click.argument(
    "sources", nargs=-1, required=True, metavar="SOURCE...", type=click.Path(path_type=Path)
)
@click.option(
    "--passages", "count", type=click.IntRange(1), default=60, show_default=True,
    help="New passages to write queries for.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def check(folder: Path, sources: tuple[Path, ...], count: int, as_json: bool) -> None:
    """Check whether DIR's adapted model is still better than the base for the new mail in SOURCE.

    The LLM writes queries for passages of SOURCE that DIR does not have, and base and adapted model
    search old and new passages for them. The energy distance of the embeddings says how far the new
    mail is from the old. DIR's corpus, model and index stay as they are.
    """
    require_folder(folder, "adapt")
    with open_job(folder, (), {}, uses_llm=True) as job:
        from customir.commands.check import check_drift

        found = check_drift(job, sources, count)
    if as_json:
        echo(json.dumps(asdict(found)))
        return
    rows = [["", ""], ["new passages", str(found.passages)]]
    rows.append(["queries, and threads they are about", f"{found.queries}, {found.threads}"])
    if found.distance:
        rows.append(
            [
                "distance of the new mail, 0 to 1",
                f"{found.distance.share:.4f}, p {found.distance.p:.3f}",
            ]
        )
    if found.base is not None and found.adapted is not None:
        rows.append(["Recall@10, base and adapted", f"{found.base:.3f}, {found.adapted:.3f}"])
    print_table(rows)
    echo(f"\n{found.verdict}")


@click.command(
    cls=Examples,
    examples="""
    customir status mail
    customir status mail --json | jq .stages
    """,
)
@click.argument("folder", metavar="DIR", type=FOLDER)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(folder: Path, as_json: bool) -> None:
    """Show what is done, what is left, and how long it takes at the measured rate."""
    from customir.commands.status import stage_status
    from customir.job import Job
    from customir.pipeline import states
    from customir.progress import Silent
    from customir.workspace import Workspace

    with Workspace(folder, write=False) as workspace:
        job = Job(workspace, read_settings(folder, {}), Silent())
        rows = [stage_status(stage, state, done) for stage, state, done in states(job)]
    if as_json:
        echo(json.dumps({"stages": [asdict(row) for row in rows]}))
        return
    table = [["stage", "state", "seconds", "work", "left"]]
    table += [[row.name, row.state, row.seconds_text, row.work_text, row.left_text] for row in rows]
    print_table(table)
