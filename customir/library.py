"""Adapt an embedder from Python: the same stages as `customir adapt`, in one call."""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from customir import models
from customir.errors import UserError
from customir.evaluation.systems import ADAPTED, BASE
from customir.files import make_private_folder, write_atomically
from customir.job import Job
from customir.pipeline import check, run_all
from customir.progress import Silent, reporter_for_terminal
from customir.settings import read_settings, write_settings
from customir.workspace import Workspace

# Texts that were given as Python objects are kept here, below the folder, for the next run.
TEXTS_NAME = "texts.jsonl"
FIELDS = ("_id", "title", "text", "thread", "sender", "date")


@dataclass(frozen=True)
class Adapted:
    """The result of `adapt`.

    Attributes:
        folder: Holds the model, the index and the report; `Searcher(folder)` searches it.
        model: Folder of the embedder that ships; `Embedder(model)` loads it.
        ships_adapted: Whether that is the adapted model; otherwise it is the base.
        reason: Why, in one sentence.
        metrics: Recall@10, nDCG@10 and MRR@10 on the held-out queries, of "base" and, if a
            candidate was compared, "adapted".
    """

    folder: Path
    model: Path
    ships_adapted: bool
    reason: str
    metrics: Mapping[str, Mapping[str, float]]


def adapt(
    corpus: Path | str | Sequence[Path] | Iterable[str | Mapping[str, str]],
    folder: Path | str,
    *,
    embedder: str | None = None,
    llm: str | None = None,
    settings: Mapping[str, Any] | None = None,
    show_progress: bool = False,
) -> Adapted:
    """Adapt an embedder to a corpus, index the corpus with it, and report.

    Interrupted and called again with the same arguments, it continues where it stopped.

    Args:
        corpus: Texts, or mappings with the keys "text" and, optionally, "_id", "title", "thread",
            "sender" and "date"; or a path, or a list of paths, of anything that `customir adapt`
            reads. At least 40 passages are needed.
        folder: The folder for all results. If it does not exist, it is created for its owner alone.
        embedder: Name or folder of the base; default: the setting `embedder`.
        llm: Name or GGUF file of the LLM; default: the setting `llm`.
        settings: Other settings by dotted name, for instance {"queries.passages": 200}.
        show_progress: Print progress on stderr.

    Raises:
        UserError: a source, a model or a setting is wrong. The message says what to do.
    """
    folder = Path(folder)
    make_private_folder(folder)
    given = {
        **(settings or {}),
        "sources": [str(path.resolve()) for path in _sources(corpus, folder)],
        "embedder": models.absolute(embedder),
        "llm": models.absolute(llm),
    }
    resolved = read_settings(folder, given)
    check(resolved)
    reporter = reporter_for_terminal() if show_progress else Silent()
    with Workspace(folder) as workspace:
        write_settings(folder, resolved)
        job = Job(workspace, resolved, reporter)
        run_all(job)
        return _adapted(job)


def _sources(
    corpus: Path | str | Sequence[Path] | Iterable[str | Mapping[str, str]], folder: Path
) -> list[Path]:
    """The corpus as paths; texts are written to a JSONL file below `folder`."""
    if isinstance(corpus, str | os.PathLike):
        return [Path(corpus)]
    items = list(corpus)
    if items and all(isinstance(item, Path) for item in items):
        return [item for item in items if isinstance(item, Path)]
    lines = [json.dumps(_row(item, number)) for number, item in enumerate(items)]
    path = folder / TEXTS_NAME
    write_atomically(path, ("\n".join(lines) + "\n").encode())
    return [path]


def _row(item: Any, number: int) -> dict[str, str]:
    if isinstance(item, str):
        return {"_id": str(number), "text": item}
    if not isinstance(item, Mapping) or "text" not in item:
        raise UserError(f"item {number} of the corpus: give a text, or a mapping with a text.")
    if unknown := sorted(set(item) - set(FIELDS)):
        raise UserError(
            f"item {number} of the corpus: unknown keys {', '.join(unknown)}; known are "
            f"{', '.join(FIELDS)}."
        )
    return {"_id": str(number), **item}


def _adapted(job: Job) -> Adapted:
    evaluated = job.summary("evaluate")
    rows = {row["system"]: row for row in evaluated["table"]}
    return Adapted(
        folder=job.folder,
        model=job.folder / "model",
        ships_adapted=evaluated["weight"] > 0,
        reason=evaluated["reason"],
        metrics={
            name: {
                metric: value for metric, value in rows[name].items() if isinstance(value, float)
            }
            for name in (BASE, ADAPTED)
            if name in rows
        },
    )
