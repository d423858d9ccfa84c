"""Indexing the corpus with the exported model."""

import dataclasses
from collections.abc import Sequence

from customir.job import Job, StageSummary
from customir.workspace.passages import read_passages_to_index


def fingerprint_inputs(job: Job) -> Sequence[str]:
    return ()


def run(job: Job) -> StageSummary:
    from customir.runtime.embedder import Embedder, passage_model
    from customir.runtime.index import INDEX_NAME, IndexedPassage, build_index

    passages = [IndexedPassage(*row) for row in read_passages_to_index(job.workspace)]  # type: ignore[arg-type]
    embedder = Embedder(passage_model(job.folder / "model"), threads=job.threads)
    summary = build_index(job.folder / INDEX_NAME, passages, embedder, job.reporter)
    return {**dataclasses.asdict(summary), "fingerprint": embedder.fingerprint}
