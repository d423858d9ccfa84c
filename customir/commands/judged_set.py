"""`customir evaluate --beir`: DIR's model on a judged test set."""

from pathlib import Path
from typing import TYPE_CHECKING

from customir.job import Job
from customir.stages.export import model_folder

if TYPE_CHECKING:
    from customir.evaluation.systems import SystemResult


def measure_on(job: Job, test_set: Path) -> "list[SystemResult]":
    """Measure DIR's newest model, the base and the baselines on a test set in BEIR's layout."""
    from customir.evaluation.beir import compare_on, read_beir
    from customir.evaluation.systems import ADAPTED, embedders

    model = model_folder(job)
    return compare_on(
        read_beir(test_set),
        embedders(job.embedder, model, job.settings.evaluation),
        {f"{ADAPTED} INT8": model},
        job.settings,
        job.workspace,
        job.reporter,
    )
