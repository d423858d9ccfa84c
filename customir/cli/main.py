"""The command line: parses, calls, prints. No logic.

Heavy imports stand in the commands that need them, so that `search` starts without torch.
"""

import os
import sys

import click

from customir import __version__
from customir.cli.doctor import doctor
from customir.cli.inspect import analyze, check, show, status
from customir.cli.models import models
from customir.cli.network import block
from customir.cli.options import InOrder
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
from customir.errors import UserError
from customir.interrupt import note_interrupts
from customir.terminal import echo

EXIT_USER_ERROR, EXIT_INTERRUPTED = 2, 130


# These commands block the network themselves, because something comes first: reading which LLM
# servers are allowed, listening (serve), meeting other processes (train), saying what holds the
# block (doctor). `models fetch` never does.
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

    Start with:  customir models fetch minilm qwen2.5-coder-0.5b;
    customir adapt mail.mbox --out DIR;  customir search DIR "what you are looking for"
    """
    os.umask(0o077)
    if context.invoked_subcommand not in BLOCK_NETWORK_THEMSELVES:
        block()


for _command in (
    *(adapt, ingest, show, analyze, generate, mine, train, evaluate, check, export, index),
    *(rollback, status, search, serve, models, doctor),
):
    cli.add_command(_command)


def main() -> None:
    """Run the command line. Exit status 2 for a user's mistake, 130 for Ctrl-C."""
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
