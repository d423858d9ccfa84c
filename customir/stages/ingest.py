"""Reading the corpus: documents, threads, passages, groups of near-duplicates."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from customir import models
from customir.corpus.ingest import ingest, require_enough
from customir.corpus.sources import sources_fingerprint
from customir.corpus.workers import worth_processes
from customir.job import CHECK_NAME, Job, StageSummary


def fingerprint_inputs(job: Job) -> Sequence[str]:
    return (
        sources_fingerprint(_sources(job)),
        job.settings.corpus.model_dump_json(),
        models.fingerprint(job.embedder),
    )


def run(job: Job) -> StageSummary:
    summary = ingest(
        job.workspace,
        _sources(job),
        job.settings.corpus,
        job.embedder / "tokenizer.json",
        job.reporter,
        worth_processes(_sources(job)),
    )
    job.reporter.say(f"  {summary.line}")
    if job.workspace.removal_pending:
        # Of `customir check`, which reads its sources anew anyway: they may hold what was removed.
        shutil.rmtree(job.folder / CHECK_NAME, ignore_errors=True)
    require_enough(job.workspace)
    return summary.as_detail()


def _sources(job: Job) -> list[Path]:
    return [Path(source) for source in job.settings.sources]
