"""`customir models`: list, fetch, add, remove, verify, path, convert, optimize."""

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from customir.cli.network import block
from customir.cli.options import FOLDER, Examples, InOrder, json_option
from customir.cli.output import print_table
from customir.errors import UserError
from customir.processors import usable_processors
from customir.progress import reporter_for_terminal
from customir.terminal import echo

if TYPE_CHECKING:
    from customir.models import Model

LANGUAGES_SHOWN = 3


@click.group(cls=InOrder)
def models() -> None:
    """List, fetch, add, verify and remove models that have a name."""


@models.command("list", cls=Examples, examples="customir models list\ncustomir models list --json")
@json_option
def list_models(as_json: bool) -> None:
    """Show the models that have a name, and which of them are on this machine.

    Checksums are "pinned" where CustomIR states them, "locked" where they were written down when the
    model was fetched or added, and "locked on first use" where nobody has fetched the model yet.
    """
    block()
    from customir import models as known_models

    rows = [_row(model) for model in known_models.known()]
    if as_json:
        echo(json.dumps(rows))
        return
    table = [
        [
            "name",
            "kind",
            "size",
            "licence",
            "languages",
            "window",
            "checksums",
            "here",
            "description",
        ]
    ]
    table += [
        [
            row["name"],
            row["kind"],
            f"{row['bytes'] / 1e6:.0f} MB" if row["bytes"] else "?",
            row["licence"] or "not stated",
            _short(row["languages"]),
            str(row["window"] or "?"),
            row["checksums"],
            "yes" if row["path"] else "no",
            row["description"],
        ]
        for row in rows
    ]
    print_table(table)


def _row(model: "Model") -> dict[str, Any]:
    from customir.models import entry, is_installed

    first_use = "locked" if model.files else "locked on first use"
    return {
        "name": model.name,
        "kind": model.kind,
        "description": model.description,
        "licence": model.licence,
        "languages": list(model.languages),
        "window": model.window,
        "bytes": model.size or None,
        "checksums": "pinned" if model.is_pinned else first_use,
        "hub": model.hub_repository,
        "revision": model.revision,
        "path": str(entry(model)) if is_installed(model) else None,
    }


def _short(languages: Sequence[str]) -> str:
    """The first languages and how many more there are."""
    more = len(languages) - LANGUAGES_SHOWN
    shown = ", ".join(languages[:LANGUAGES_SHOWN]) or "not stated"
    return f"{shown} and {more} more" if more > 0 else shown


@models.command(
    cls=Examples,
    examples="""
    customir models fetch minilm qwen2.5-coder-0.5b
    customir models fetch bge-small-en-v1.5
    customir models fetch hf:BAAI/bge-small-en-v1.5@main
    customir models fetch hf:Qwen/Qwen3-4B-GGUF/Qwen3-4B-Q4_K_M.gguf
    """,
)
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option(
    "--sha256",
    metavar="HEX",
    help="The SHA-256 that the model's only file of weights must have. With one NAME.",
)
def fetch(names: tuple[str, ...], sha256: str | None) -> None:
    """Fetch models and verify their SHA-256. This is the only command that uses the network.

    NAME is a name from `customir models list`, or a model's name on the model hub:
    hf:ORGANISATION/REPOSITORY for an embedder, hf:ORGANISATION/REPOSITORY/FILE.gguf for an LLM, either
    with @REVISION. From the hub come only safetensors, GGUF, JSON, tokenizers and text. The commit and
    the checksums are written down the first time, and nothing else is accepted later.

    Some models come by pip, whose mirror settings apply. For the others HF_ENDPOINT names a mirror of
    the hub, HTTPS_PROXY a proxy, and HF_TOKEN an access token. Run it again to continue a download.
    """
    if sha256 and len(names) > 1:
        raise UserError(
            "--sha256: it is for one model. Fetch the others in a command of their own."
        )
    from customir import models as known_models

    reporter = reporter_for_terminal()
    for name in names:
        echo(known_models.fetch(name, reporter, sha256))


@models.command(
    cls=Examples,
    examples="""
    customir models add downloads/bge-small-en-v1.5 --name bge-small-en-v1.5
    customir models add downloads/qwen2.5-7b-q4_k_m.gguf --name qwen2.5-7b
    """,
)
@click.argument("path", metavar="PATH", type=click.Path(path_type=Path))
@click.option("--name", required=True, help="The name for --embedder or --llm.")
def add(path: Path, name: str) -> None:
    """Give the model at PATH a name: a sentence-transformers folder, or a GGUF file.

    It stays where it is. Its checksums are written down, and a changed file is refused from then on.
    """
    block()
    from customir import models as known_models

    model = known_models.add(path, name)
    echo(f"{name}: {len(model.files)} files, {model.size / 1e6:.0f} MB, in {model.folder}")


@models.command(cls=Examples, examples="customir models remove bge-small-en-v1.5")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
def remove(names: tuple[str, ...]) -> None:
    """Delete models from this machine. Files of a model that was added stay, and lose their name."""
    block()
    from customir import models as known_models

    for name in names:
        echo(known_models.remove(name))


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

    return [model.name for model in known_models.known() if known_models.is_installed(model)]
