"""Opening DIR for a command: its settings, its workspace, its stages."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from customir.cli.network import block, warn_of_llm_servers
from customir.errors import UserError
from customir.progress import reporter_for_terminal
from customir.settings import read_settings, write_settings

if TYPE_CHECKING:
    from customir.job import Job


@contextmanager
def open_job(
    folder: Path,
    sources: Sequence[Path],
    flags: dict[str, Any],
    uses_llm: bool = False,
    adapts: bool = True,
) -> Iterator["Job"]:
    """Read, check and record DIR's settings, open its workspace for writing, and yield the job.

    Args:
        uses_llm: Whether the command may connect to LLM servers.
        adapts: Whether the command is part of adaptation, which needs all models.
    """
    settings = read_settings(folder, overrides(sources, flags))
    if uses_llm:
        if not flags.get("llm_url"):
            warn_of_llm_servers(folder, settings)
        block(settings.llm_urls)
    from customir.job import Job
    from customir.pipeline import check
    from customir.workspace import Workspace

    check(settings, adapts=adapts)
    with Workspace(folder) as workspace:
        write_settings(folder, settings)
        yield Job(workspace, settings, reporter_for_terminal())


def require_folder(folder: Path, command: str) -> None:
    """Raise UserError if DIR does not exist; the error names the command that creates it."""
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder. Run: customir {command} SOURCE --out {folder}")


def overrides(sources: Sequence[Path], flags: dict[str, Any]) -> dict[str, Any]:
    """The settings that the command line sets, by dotted name."""
    from customir.models import absolute

    return {
        "sources": [str(source.resolve()) for source in sources] or None,
        "embedder": absolute(flags.get("embedder")),
        "truncate_dim": flags.get("truncate_dim"),
        "llm": absolute(flags.get("llm")),
        "llm_urls": list(flags.get("llm_url") or ()) or None,
        "device": flags.get("device"),
        "seed": flags.get("seed"),
        "queries.passages": flags.get("passages"),
        "queries.queries_per_passage": flags.get("queries"),
        "training.full_fine_tuning": flags.get("full"),
        "training.freeze_passage_encoder": flags.get("freeze_passage_encoder"),
        "corpus.include_unwanted": flags.get("include_unwanted"),
        "corpus.columns": parse_columns(flags.get("columns") or ()),
        "corpus.ocr": flags.get("ocr"),
        "export.fp16": flags.get("fp16"),
        "export.gguf": flags.get("gguf"),
    }


def parse_columns(options: Sequence[str]) -> dict[str, str] | None:
    """The names of columns by field, from --columns."""
    columns: dict[str, str] = {}
    for option in options:
        field, separator, name = option.partition("=")
        if not separator or not field or not name:
            raise UserError(f"--columns {option}: give it as FIELD=NAME, for example text=Inhalt.")
        columns[field.strip()] = name.strip()
    return columns or None


def help_to_train(folder: Path, flags: dict[str, Any]) -> None:
    from customir.job import Job
    from customir.pipeline import help_to_train
    from customir.progress import Silent
    from customir.workspace import Workspace

    with Workspace(folder, write=False) as workspace:
        help_to_train(Job(workspace, read_settings(folder, overrides((), flags)), Silent()))


def run_stage(
    name: str,
    folder: Path,
    sources: Sequence[Path],
    flags: dict[str, Any],
    opened: Callable[[], None] = lambda: None,
    uses_llm: bool = False,
) -> None:
    if name != "ingest":
        require_folder(folder, "ingest")
    with open_job(folder, sources, flags, uses_llm, adapts=name != "ingest") as job:
        from customir import pipeline

        opened()
        pipeline.run_stage(pipeline.STAGE[name], job)
