"""The commands that inspect DIR: show, analyze, check, status, report."""

import json
from dataclasses import asdict
from pathlib import Path

import click

from customir.cli.jobs import open_job, require_folder
from customir.cli.options import Examples, folder_argument, json_option
from customir.cli.output import print_table
from customir.errors import UserError
from customir.files import write_atomically
from customir.settings import read_settings
from customir.terminal import echo


@click.command(
    cls=Examples,
    examples="""
    customir show mail "<20020822122332.A1234@example.org>"
    customir show mail notes/plan.md --json | jq -r '.[].cleaned'
    """,
)
@folder_argument
@click.argument("identifier", metavar="MESSAGE-ID")
@json_option
def show(folder: Path, identifier: str, as_json: bool) -> None:
    """Show a document: its original text, what was cut and why, and its passages.

    MESSAGE-ID is the identifier that `search` prints: a Message-ID, an `_id` or a path.
    """
    from customir.corpus.show import as_text
    from customir.corpus.show import show as look_up
    from customir.workspace import Workspace

    with Workspace(folder, write=False) as workspace:
        documents = look_up(workspace, identifier)
    if as_json:
        echo(json.dumps([asdict(each) for each in documents], ensure_ascii=False))
    else:
        echo("\n\n".join(map(as_text, documents)))


@click.command(
    cls=Examples,
    examples="""
    customir analyze mail
    customir analyze mail --json | jq .topics
    """,
)
@folder_argument
@json_option
def analyze(folder: Path, as_json: bool) -> None:
    """Describe DIR's corpus: lengths, languages, style, periods and topics."""
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
@folder_argument
@click.argument(
    "sources", nargs=-1, required=True, metavar="SOURCE...", type=click.Path(path_type=Path)
)
@click.option(
    "--passages", "count", type=click.IntRange(1), default=60, show_default=True,
    help="How many new passages the LLM writes queries for.",
)  # fmt: skip
@json_option
def check(folder: Path, sources: tuple[Path, ...], count: int, as_json: bool) -> None:
    """Check whether DIR's adapted model is still better than the base for the new mail in SOURCE.

    The LLM writes queries for passages of SOURCE that DIR does not have, and the base and the adapted
    model search old and new passages for them. The energy distance between the embeddings measures how
    much the new mail differs from the old. DIR's corpus, model and index do not change.
    """
    require_folder(folder, "adapt")
    with open_job(folder, (), {}, uses_llm=True) as job:
        from customir.commands.check import check_drift

        result = check_drift(job, sources, count)
    if as_json:
        echo(json.dumps(asdict(result)))
        return
    rows = [["", ""], ["new passages", str(result.passages)]]
    rows.append(["queries, and their threads", f"{result.queries}, {result.threads}"])
    if result.distance:
        rows.append(
            [
                "energy distance of the new mail, 0 to 1",
                f"{result.distance.share:.4f}, p {result.distance.p:.3f}",
            ]
        )
    if result.base is not None and result.adapted is not None:
        rows.append(
            ["Recall@10, base and adapted model", f"{result.base:.3f}, {result.adapted:.3f}"]
        )
    print_table(rows)
    echo(f"\n{result.verdict}")


@click.command(
    cls=Examples,
    examples="""
    customir status mail
    customir status mail --json | jq .stages
    """,
)
@folder_argument
@json_option
def status(folder: Path, as_json: bool) -> None:
    """Show which stages are done, what is left, and how long it will take."""
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


@click.command(
    cls=Examples,
    examples="""
    customir report mail for-the-auditors.html
    customir report mail with-searches.md --with-examples
    """,
)
@folder_argument
@click.argument("file", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--with-examples",
    is_flag=True,
    help="Also searches, samples of queries, topics, sources, and what was skipped.",
)
def report(folder: Path, file: Path, with_examples: bool) -> None:
    """Write the report to FILE (.html or .md) for others: figures without text of the corpus.

    DIR/report.html and DIR/report.md quote the corpus and name its files. FILE does so only with
    --with-examples.
    """
    if file.suffix not in (".html", ".md"):
        raise UserError(f"{file}: end the name with .html or .md.")
    from customir.report.markdown import report_text
    from customir.report.page import page_text
    from customir.report.run import read_run
    from customir.workspace import Workspace

    with Workspace(folder, write=False) as workspace:
        run = read_run(workspace, read_settings(folder, {}))
    run = run if with_examples else run.without_texts()
    text = page_text(run) if file.suffix == ".html" else report_text(run)
    write_atomically(file, text.encode())
    echo(f"{file}: written.")
