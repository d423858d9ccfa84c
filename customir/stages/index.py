"""Indexing the corpus with the exported model, which becomes DIR's current one with its index."""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from customir.job import Job, StageSummary
from customir.stages.export import exported_generation
from customir.workspace import Workspace
from customir.workspace.passages import read_passages_to_index

if TYPE_CHECKING:
    from customir.runtime.index import IndexedPassage


def fingerprint_inputs(job: Job) -> Sequence[str]:
    return ()


def passages_to_index(workspace: Workspace) -> "list[IndexedPassage]":
    """The passages of the workspace as the index holds them, ordered by key."""
    from customir.runtime.index import IndexedPassage
    from customir.runtime.thin import mark_thin

    return mark_thin([IndexedPassage(*row) for row in read_passages_to_index(workspace)])  # type: ignore[arg-type]


def is_present(job: Job) -> bool:
    """Whether DIR has an index to be searched."""
    from customir.runtime import generations

    return (generations.current(job.folder) / generations.INDEX_NAME).exists()


def run(job: Job) -> StageSummary:
    from customir.runtime import generations
    from customir.runtime.embedder import Embedder, passage_model
    from customir.runtime.index import IndexSummary, adopt, build_successor, holds

    passages = passages_to_index(job.workspace)
    adopt(job.folder)
    made_in = exported_generation(job)
    assert made_in is not None, "stage export is checked to be done before this one runs"
    embedder = Embedder(passage_model(made_in / generations.MODEL_NAME), threads=job.threads)
    if made_in == generations.current(job.folder) and holds(job.folder, passages, embedder):
        # Stopped after the change.
        generations.tidy(job.folder)
        summary = IndexSummary(0, 0, 0, len(passages), rebuilt=False)
    else:
        if made_in == generations.unfinished(job.folder):
            generation = made_in
        else:
            generation = generations.begin(job.folder)
            generations.link_model(made_in, generation)
        summary = build_successor(job.folder, generation, passages, embedder, job.reporter)
    return {**dataclasses.asdict(summary), "fingerprint": embedder.fingerprint}
