"""Reading the corpus: documents, threads, passages, groups of near-duplicates."""

import shutil
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from customir import models
from customir.corpus.ingest import ingest
from customir.corpus.sources import sources_fingerprint
from customir.corpus.workers import worth_processes
from customir.encoder.folder import read_model_folder
from customir.job import CHECK_NAME, Job, StageSummary
from customir.job.base_encoder import base_tokenizer_file
from customir.job.base_reading import LOOKED_AT, base_reading
from customir.workspace.passages import read_texts


def fingerprint_inputs(job: Job) -> Sequence[str]:
    return (
        sources_fingerprint(_sources(job)),
        job.settings.corpus.model_dump_json(),
        models.fingerprint(job.embedder),
    )


def run(job: Job) -> StageSummary:
    _rehearse(job)
    summary = ingest(
        job.workspace,
        _sources(job),
        job.settings.corpus,
        base_tokenizer_file(job),
        job.reporter,
        worth_processes(_sources(job)),
    )
    job.reporter.say(f"  {summary.line}")
    if job.workspace.removal_pending:
        # Of `customir check`, which reads its sources anew anyway: they may hold what was removed.
        shutil.rmtree(job.folder / CHECK_NAME, ignore_errors=True)
    # Keys are hashes of content, so the first texts are a random sample.
    sample = [text for _, text in islice(read_texts(job.workspace), LOOKED_AT)]
    return {**summary.as_detail(), "base_reading": base_reading(job, sample)}


def _rehearse(job: Job) -> None:
    """Try whether a base that nobody has tried yet can be adapted and exported, before the long work."""
    named = models.find(job.settings.embedder)
    if named and named.is_pinned and job.settings.truncate_dim is None:
        return
    if read_model_folder(job.embedder).is_static:  # it is only searched with
        return
    from customir.job.rehearsal import rehearse

    job.reporter.say(f"  trying whether {job.embedder.name} can be adapted and exported")
    rehearse(job.embedder)


def _sources(job: Job) -> list[Path]:
    return [Path(source) for source in job.settings.sources]
