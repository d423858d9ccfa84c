"""The commands about what DIR remembers: privacy, purge."""

import json
import shlex
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from customir.cli.options import Examples, folder_argument, json_option
from customir.cli.output import print_table
from customir.errors import UserError
from customir.terminal import echo

if TYPE_CHECKING:
    from customir.commands.purge import Purged

SHOWN_DOCUMENTS = 10


@click.command(
    cls=Examples,
    examples="""
    customir privacy mail
    customir privacy mail --json | jq '.[] | {path, content}'
    """,
)
@folder_argument
@json_option
def privacy(folder: Path, as_json: bool) -> None:
    """List what DIR holds: every file and table, and whether it has text of the corpus.

    Outside DIR, CustomIR writes nothing of the corpus, except to files that you name: a backup, a
    report with examples, and the audit log of `customir serve`, which has identifiers of documents.
    """
    from customir.commands.privacy import list_contents

    entries = list_contents(folder)
    if as_json:
        echo(json.dumps([asdict(entry) for entry in entries]))
        return
    rows = [["file or table", "size", "holds", "what it is"]]
    for entry in entries:
        size = f"{entry.size} rows" if entry.table else f"{entry.size} bytes"
        name = f"  {entry.table}" if entry.table else entry.path
        rows.append([name, size, entry.content, entry.what])
    print_table(rows)
    echo(f"\nDelete documents from all of these:  customir purge {_shown(folder)} --message ID")


@click.command(
    cls=Examples,
    examples="""
    customir purge mail --message "<20020822113453.GA1234@example.org>"
    customir purge mail --sender ann@example.org --before 2019
    customir purge mail --all-but-model --yes
    """,
)
@folder_argument
@click.option(
    "--message",
    "messages",
    multiple=True,
    metavar="ID",
    help="The identifier that `search` prints: a Message-ID, an `_id` or a path. Repeatable.",
)
@click.option(
    "--sender",
    "senders",
    multiple=True,
    metavar="ADDRESS",
    help="The sender's address, or the whole name in a chat. Repeatable.",
)
@click.option(
    "--before",
    metavar="DATE",
    help="Only documents from before this day, month or year. Those without a date stay.",
)
@click.option("--all-but-model", is_flag=True, help="Delete everything in DIR except the model.")
@click.option("--yes", is_flag=True, help="Do not ask before deleting.")
@json_option
def purge(
    folder: Path,
    messages: tuple[str, ...],
    senders: tuple[str, ...],
    before: str | None,
    all_but_model: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Delete documents from DIR at once, with everything that was made from them.

    Documents that fulfil all conditions are deleted from the workspace, the index, its caches, the
    reports and earlier generations. The current model stays, and so does search. The command says
    whether the model had learned from the documents. A purged document that is still in the sources
    is left out when they are read again. If the command is stopped, run it again.
    """
    from customir.commands import purge as work

    selection = work.Selection(messages, senders, before)
    if all_but_model:
        if messages or senders or before:
            raise UserError("--all-but-model deletes everything else. Leave out the conditions.")
        _confirm(f"Delete everything in {folder} except the model?", yes)
        result = work.purge_all_but_model(folder)
    else:
        found = work.find_documents(folder, selection)
        if not found and not work.is_unfinished(folder):
            raise UserError(f"{folder}: no document fulfils these conditions. Nothing was deleted.")
        if not yes:
            for document in found[:SHOWN_DOCUMENTS]:
                echo(f"  {document.identifier}  {document.title}", err=True)
            if len(found) > SHOWN_DOCUMENTS:
                echo(f"  and {len(found) - SHOWN_DOCUMENTS} more", err=True)
        _confirm(f"Delete from {folder} (documents: {len(found)})?", yes)
        result = work.purge(folder, selection)
    if as_json:
        retrain = f"customir adapt --out {_shown(folder)}"
        echo(json.dumps({**asdict(result), "retrain": retrain, "limits": work.LIMITS}))
    else:
        _print(folder, result, all_but_model)
    if not result.complete:
        raise UserError(
            f"{folder}: another process still reads what was deleted. Run the command again when it "
            "has ended."
        )


def _confirm(question: str, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise UserError("This deletes data and asks first, which needs a terminal. Add --yes.")
    click.confirm(question, abort=True, err=True)


def _print(folder: Path, result: "Purged", all_but_model: bool) -> None:
    from customir.commands.purge import LIMITS

    if all_but_model:
        echo(f"{folder}: everything except the model is deleted.")
    else:
        echo(f"{folder}: documents deleted: {result.documents}.")
    for model in result.learned:
        if model.documents is None:
            learned = "may have learned from what was deleted"
        else:
            learned = f"had learned from {model.documents} of them"
        echo(
            f"{model.folder} {learned} and keeps that until it is trained again. Copies of it have the "
            f"SHA-256 {model.sha256} (of onnx/SHA256SUMS)."
        )
    if not all_but_model:
        echo(f"Train and report anew:  customir adapt --out {_shown(folder)}")
    for limit in LIMITS:
        echo(limit)


def _shown(folder: Path) -> str:
    return shlex.quote(str(folder))
