"""The commands that keep DIR safe: backup, restore, verify."""

import json
from dataclasses import asdict
from pathlib import Path

import click

from customir.cli.options import Examples, folder_argument, json_option
from customir.cli.output import print_table
from customir.errors import UserError
from customir.terminal import echo

FILE = click.Path(dir_okay=False, path_type=Path)


@click.command(cls=Examples, examples="customir backup mail /backups/mail-2026-11-30.tar")
@folder_argument
@click.argument("file", metavar="FILE", type=FILE)
def backup(folder: Path, file: Path) -> None:
    """Write DIR to FILE, a tar archive, while searches and other commands go on.

    FILE has the settings, the workspace, the current model and index, and the reports, with a
    checksum of each. It holds the whole corpus and is readable by its owner alone.
    """
    from customir.commands import backup as work

    size = work.backup(folder, file)
    echo(f"{file}: {size / 1e6:.1f} MB. Go back to it:  customir restore FILE DIR")


@click.command(
    cls=Examples,
    examples="""
    customir restore /backups/mail-2026-11-30.tar mail
    customir restore /backups/mail-2026-11-30.tar mail --replace
    """,
)
@click.argument(
    "file", metavar="FILE", type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@folder_argument
@click.option("--replace", is_flag=True, help="Replace what DIR holds now.")
def restore(file: Path, folder: Path, replace: bool) -> None:
    """Make DIR what it was when `customir backup` wrote FILE.

    A server that is running goes over to the restored model and index. Those that DIR has now are
    kept: `customir rollback DIR` returns to them. The rest of DIR is replaced.
    """
    from customir.commands import backup as work

    work.restore(file, folder, replace=replace)
    echo(f"{folder}: restored from {file}.")


@click.command(
    cls=Examples,
    examples="""
    customir verify mail
    customir verify mail --json | jq '.[] | select(.problem != "")'
    """,
)
@folder_argument
@json_option
def verify(folder: Path, as_json: bool) -> None:
    """Check every file of DIR that has checksums, and say what to do about damage.

    It reads all pages of the workspace and the index, the files of the models, and the cache of the
    vectors. It changes nothing. The exit status is 2 if anything is damaged.
    """
    from customir.commands.verify import verify as check

    found = check(folder)
    if as_json:
        echo(json.dumps([asdict(finding) for finding in found]))
    else:
        rows = [["file", "state"]]
        print_table([*rows, *([each.path, each.problem or "intact"] for each in found)])
    damaged = [each for each in found if each.problem]
    if damaged:
        raise UserError(" ".join(f"{each.path}: {each.problem}. {each.advice}" for each in damaged))
