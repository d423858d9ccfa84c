"""Indexing the corpus with the exported model."""

import dataclasses
from collections.abc import Sequence

from customir.job import Job, StageSummary


def fingerprint_inputs(job: Job) -> Sequence[str]:
    return ()


def run(job: Job) -> StageSummary:
    from customir.runtime.embedder import Embedder, passage_model
    from customir.runtime.index import INDEX_NAME, IndexedPassage, build_index

    rows = job.workspace.database.execute(
        "SELECT passage.key, document, identifier, source, title, sender, date, thread, "
        "duplicates, passage.text, header FROM passage JOIN document ON document.key = document "
        "ORDER BY passage.key"
    )
    passages = [IndexedPassage(*row) for row in rows]
    embedder = Embedder(passage_model(job.folder / "model"), threads=job.threads)
    summary = build_index(job.folder / INDEX_NAME, passages, embedder, job.reporter)
    return {**dataclasses.asdict(summary), "fingerprint": embedder.fingerprint}
