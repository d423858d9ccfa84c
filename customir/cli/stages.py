"""The commands that run stages, and `rollback`."""

import json
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from customir.airgap import refuse_in_python
from customir.cli.jobs import help_to_train, open_job, require_folder, run_stage
from customir.cli.network import KERNEL_DOES_NOT_BLOCK, block
from customir.cli.options import (
    Examples,
    folder_argument,
    out_option,
    reading_options,
    settings_options,
    truncate_dim_option,
)
from customir.cli.output import print_table, relative_path
from customir.errors import UserError
from customir.files import make_private_folder
from customir.progress import reporter_for_terminal
from customir.settings import read_settings
from customir.terminal import echo

if TYPE_CHECKING:
    from customir.job import Job

# The keys of exporters/engines.py, whose imports take seconds.
ENGINES = ("tei", "infinity", "llama.cpp", "vespa", "opensearch", "triton", "openvino")


@click.command(
    cls=Examples,
    examples="""
    customir adapt archive.mbox --out mail
    customir adapt archive.mbox notes/ --out mail --passages 1000 --seed 1
    customir adapt corpus.jsonl --out papers --llm qwen2.5-7b.gguf --device cuda
    """,
)
@click.argument("sources", nargs=-1, metavar="SOURCE...", type=click.Path(path_type=Path))
@out_option(required=True)
@reading_options
@settings_options
def adapt(folder: Path, sources: tuple[Path, ...], **flags: Any) -> None:
    """Adapt an embedder to SOURCE and index it: all stages, from reading to the index.

    SOURCE is a mailbox, a chat export, a table, a JSONL file, or a folder of these and of documents.
    Run it again to continue where it was stopped. DIR/customir.toml has every setting; flags
    override it.
    """
    with open_job(folder, sources, flags, uses_llm=True) as job:
        from customir import pipeline

        pipeline.run_all(job)
        _print_closing(job)


@click.command(cls=Examples, examples="customir ingest archive.mbox notes/ --out mail")
@click.argument("sources", nargs=-1, metavar="SOURCE...", type=click.Path(path_type=Path))
@out_option(required=True)
@reading_options
@settings_options
def ingest(folder: Path, sources: tuple[Path, ...], **flags: Any) -> None:
    """Read and clean SOURCE, split it into passages, and find threads and near-duplicates."""
    run_stage("ingest", folder, sources, flags)


@click.command(cls=Examples, examples="customir generate mail --passages 1000 --queries 4")
@folder_argument
@settings_options
def generate(folder: Path, **flags: Any) -> None:
    """Let the LLM write queries for sampled passages, and drop the bad ones."""
    run_stage("generate", folder, (), flags, uses_llm=True)


@click.command(cls=Examples, examples="customir mine mail")
@folder_argument
def mine(folder: Path) -> None:
    """Mine hard negatives by BM25 and the base embedder, and let the LLM judge them.

    The setting negatives.candidates_per_query is the number of candidates for each query. It is 0 by
    default, because on judged sets hard negatives gained nothing over in-batch negatives.
    """
    run_stage("mine", folder, (), {}, uses_llm=True)


@click.command(
    cls=Examples,
    examples="""
    customir train mail --device cuda
    torchrun --nproc-per-node 2 -m customir train mail
    """,
)
@folder_argument
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    help="Where models run; auto: on a GPU if there is one.",
)
@click.option(
    "--full/--lora", default=None, help="Train every weight, or a LoRA adapter (the default)."
)
@click.option(
    "--freeze-passage-encoder/--train-passage-encoder",
    default=None,
    help="Adapt only the encoding of queries, so that passages keep the base's vectors.",
)
def train(folder: Path, **flags: Any) -> None:
    """Train the embedder on queries, passages and hard negatives.

    Under torchrun all processes share the work, and the first one writes the result.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        block()
        run_stage("train", folder, (), flags)
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
            echo(f"{KERNEL_DOES_NOT_BLOCK}: NCCL connects its processes later.", err=True)
        else:
            block()
        if rank_and_world_size()[0] == 0:
            run_stage("train", folder, (), flags, opened=barrier)
        else:
            barrier()  # until the first process has written the settings
            help_to_train(folder, flags)


@click.command(
    cls=Examples,
    examples="""
    customir evaluate mail
    customir evaluate mail --beir testsets/scifact
    """,
)
@folder_argument
@click.option(
    "--beir",
    "test_set",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Measure DIR/model on a judged test set in BEIR's layout instead.",
)
@click.option("--json", "as_json", is_flag=True, help="With --beir: print the table as JSON.")
def evaluate(folder: Path, test_set: Path | None, as_json: bool) -> None:
    """Compare base, adapted model and BM25 on held-out queries, and decide which model ships."""
    if test_set:
        _print_test_set(folder, test_set, as_json)
    else:
        run_stage("evaluate", folder, (), {})


@click.command(
    cls=Examples,
    examples="""
    customir export mail
    customir export mail --gguf
    customir export --check mail
    customir export mail --for tei
    """,
)
@folder_argument
@click.option(
    "--check",
    is_flag=True,
    help="Only compare the files in DIR/model with each other.",
)
@click.option(
    "--fp16/--no-fp16",
    default=None,
    help="Also write ONNX in half precision, for a GPU. Default: no.",
)
@click.option("--gguf/--no-gguf", default=None, help="Also write GGUF, for llama.cpp. Default: no.")
@click.option(
    "--for",
    "engine",
    type=click.Choice(ENGINES),
    help="Only write DIR/engines/ENGINE, with DIR's current model as this engine expects it.",
)
def export(
    folder: Path, check: bool, fp16: bool | None, gguf: bool | None, engine: str | None
) -> None:
    """Write DIR/model: merged safetensors, ONNX, ONNX INT8, and a model card.

    Each file is compared with the one that it was made from, on held-out queries: cosine, Recall@10
    and nDCG@10. If INT8 loses more than 0.5 points of Recall@10, it is quantised again with a less
    lossy setting.
    """
    if not check and engine is None:
        run_stage("export", folder, (), {"fp16": fp16, "gguf": gguf})
    elif fp16 is not None or gguf is not None or (check and engine is not None):
        raise UserError(
            "--check and --for use files that exist already. Give one of them, and neither --fp16 "
            "nor --gguf."
        )
    elif check:
        _check_export(folder)
    elif engine is not None:
        _export_for(engine, folder)


@click.command(
    cls=Examples,
    examples="""
    customir index archive.mbox notes/ --out mail
    customir index --out mail
    customir index mail
    """,
)
@click.argument("paths", nargs=-1, metavar="SOURCE... | DIR", type=click.Path(path_type=Path))
@out_option(required=False)
@click.option(
    "--embedder",
    help="The base embedder: a name from `customir models list`, or a sentence-transformers folder.",
)
@truncate_dim_option
@reading_options
def index(folder: Path | None, paths: tuple[Path, ...], **flags: Any) -> None:
    """Make SOURCE searchable at once, or index DIR with the model that `customir export` wrote.

    With --out, SOURCE is read and indexed with DIR's current model, or with the base if DIR has no
    model yet. No LLM and no training are needed; `customir adapt` with the same DIR improves it later.
    With --out alone, the sources that DIR was made of are read again.
    Without --out, DIR is indexed with the model that `customir export` wrote. If nothing was exported
    yet, what `customir ingest` read is made searchable as with --out.
    """
    if folder is None:
        if len(paths) != 1 or any(flags.values()):
            raise UserError("Give the folder: customir index SOURCE... --out DIR")
        folder, paths = paths[0], ()
        require_folder(folder, "index")
    with open_job(folder, paths, flags, adapts=False) as job:
        from customir.commands.index_at_once import index_at_once
        from customir.pipeline import STAGE, run_stage

        if not paths and job.workspace.stage("export"):
            run_stage(STAGE["index"], job)
            return
        count = index_at_once(job)
    shown = shlex.quote(str(relative_path(folder)))
    echo(f'{count} passages. Search them:  customir search {shown} "what you are looking for"')


@click.command(cls=Examples, examples="customir rollback mail")
@folder_argument
def rollback(folder: Path) -> None:
    """Return to the model and the index that were current before the last change.

    Run it again to undo this. An earlier generation that contains documents which have left the
    sources is not kept.
    """
    from customir.runtime.generations import roll_back

    pointer = roll_back(folder)
    echo(f"{folder}: generation {pointer.current} is now current; {pointer.previous} is kept.")


def _print_closing(job: "Job") -> None:
    """Print what came out, the tables, searches before and after, and how to go on."""
    from customir.report.closing import (
        comparison_tables,
        next_lines,
        opening_lines,
        search_lines,
    )
    from customir.report.run import read_run

    run = read_run(job.workspace, job.settings)
    echo("\n" + "\n".join(opening_lines(run)))
    for title, table in comparison_tables(run):
        echo(title)
        print_table(table)
        echo("")
    for line in (*search_lines(run.evaluate), "", *next_lines(relative_path(job.folder))):
        echo(line)


def _print_test_set(folder: Path, test_set: Path, as_json: bool) -> None:
    from customir.commands.judged_set import measure_on
    from customir.job import Job
    from customir.report.wording import comparison_rows
    from customir.workspace import Workspace

    settings = read_settings(folder, {})
    with Workspace(folder) as workspace:
        results = measure_on(Job(workspace, settings, reporter_for_terminal()), test_set)
    rows = [result.as_row() for result in results]
    if as_json:
        echo(json.dumps(rows))
    else:
        print_table(comparison_rows(rows, settings.evaluation.confidence))


def _export_for(engine: str, folder: Path) -> None:
    from customir.runtime import generations

    generation = generations.current(folder)
    model = generation / generations.MODEL_NAME
    if not model.is_dir():
        raise UserError(f"{folder}: it has no model yet. Run: customir adapt SOURCE --out {folder}")
    if (generation / generations.PASSAGE_MODEL_NAME).exists():
        raise UserError(
            f"{folder}: it embeds passages with a model of their own, and {engine} serves one model. "
            "Adapt again with freeze_passage_encoder = false in customir.toml."
        )
    from customir.exporters.engines import export_for

    out = make_private_folder(folder / "engines") / engine
    export_for(engine, model, out)
    echo(f"{out}: README.md in it says how to start {engine}.")


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
        raise UserError(
            f"{folder}: no held-out queries to compare with. Run: customir adapt --out {folder}"
        )
    job.reporter.say(
        f"Measuring on {len(held_out.queries)} held-out queries among {len(held_out.passages)} "
        "passages."
    )
    chain = measure_parity(model, held_out, job.reporter)
    print_table(table(chain))
    if lost := losses(chain, held_out):
        raise UserError(f"{model}: {'; '.join(lost)}. Run: customir export {folder}")
    echo("Each file agrees with the one that it was made from, within the limits.")
