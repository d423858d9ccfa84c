"""The command line: it parses, calls and prints, and has no logic of its own.

Heavy imports are in the commands that need them, so that `search` starts without PyTorch.
"""

import os
import sys

import click

from customir import __version__
from customir.cli.access import access
from customir.cli.doctor import doctor
from customir.cli.inspect import analyze, check, report, show, status
from customir.cli.models import models
from customir.cli.network import block
from customir.cli.options import InOrder
from customir.cli.privacy import privacy, purge
from customir.cli.search import search
from customir.cli.serve import serve
from customir.cli.stages import (
    adapt,
    evaluate,
    export,
    generate,
    index,
    ingest,
    mine,
    rollback,
    train,
)
from customir.cli.upkeep import backup, restore, verify
from customir.errors import UserError
from customir.files import is_disk_full
from customir.interrupt import note_interrupts
from customir.terminal import echo

EXIT_USER_ERROR, EXIT_INTERRUPTED = 2, 130


# These commands block the network themselves, because they have to do something first: read which LLM
# servers are allowed, listen (serve), connect to other processes (train), or report how the network is
# blocked (doctor). `models fetch` never blocks it.
BLOCK_NETWORK_THEMSELVES = (
    "adapt",
    "analyze",
    "check",
    "doctor",
    "generate",
    "mine",
    "models",
    "serve",
    "train",
)


@click.group(cls=InOrder)
@click.version_option(__version__, prog_name="customir")
@click.pass_context
def cli(context: click.Context) -> None:
    """Adapt a small text embedder to a private corpus. Nothing leaves this machine.

    \b
    Start with:
      customir models fetch minilm qwen2.5-coder-0.5b
      customir adapt archive.mbox --out DIR
      customir search DIR "what you are looking for"

    SOURCE is a mailbox, a chat export, a table, a JSONL file or a folder of documents. DIR is a
    folder in which CustomIR keeps its results: the model, the index, the report and the settings.
    """
    os.umask(0o077)
    if context.invoked_subcommand not in BLOCK_NETWORK_THEMSELVES:
        block()


for _command in (
    *(adapt, ingest, show, analyze, generate, mine, train, evaluate, check, export, index),
    *(rollback, status, report, search, serve, access),
    *(privacy, purge, backup, restore, verify, models, doctor),
):
    cli.add_command(_command)


def main() -> None:
    """Run the command line. It exits with 2 after a user's mistake and with 130 after Ctrl-C."""
    note_interrupts()
    try:
        cli(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except UserError as error:
        echo(f"Error: {error}", err=True)
        sys.exit(EXIT_USER_ERROR)
    except (click.Abort, KeyboardInterrupt):
        echo("\nStopped. Run the same command again to continue.", err=True)
        sys.exit(EXIT_INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except Exception as error:
        if not is_disk_full(error):
            raise
        echo(
            f"Error: no room on the disk ({error}). Make room and run the same command again: it "
            "continues where it stopped.",
            err=True,
        )
        sys.exit(EXIT_USER_ERROR)
