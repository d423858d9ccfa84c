"""Evaluating on held-out queries: the table, the verdict, gains by style, queries won and lost."""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from customir.stages.job import Detail, Job
from customir.workspace.queries import read_queries

if TYPE_CHECKING:
    from customir.evaluation.compare import Comparison


def basis(job: Job) -> Sequence[str]:
    return (job.settings.evaluation.model_dump_json(),)


def run(job: Job) -> Detail:
    from customir.evaluation.compare import compare

    adapter = job.detail("train")["adapter"]
    comparison = compare(
        job.workspace,
        "evaluate",
        job.embedder,
        job.folder / adapter if adapter else None,
        job.passages,
        read_queries(job.workspace, splits=("dev",)),
        read_queries(job.workspace, splits=("test",)),
        job.settings,
        job.reporter,
    )
    return {
        **_broken_down(job, comparison),
        "table": [result.as_row() for result in comparison.test],
        "dev": [
            {"alpha": alpha, **{name: float(np.mean(values)) for name, values in metrics.items()}}
            for alpha, metrics in sorted(comparison.dev.items())
            if all(len(values) for values in metrics.values())
        ],
        "queries": len(comparison.threads),
        "threads": len(set(comparison.threads)),
        "alpha": comparison.verdict.alpha,
        "reason": comparison.verdict.reason,
    }


def _broken_down(job: Job, comparison: "Comparison") -> Detail:
    """Gains by query style and queries won and lost; nothing where base and adapted are one."""
    from customir.evaluation.breakdown import by_style, won_and_lost
    from customir.evaluation.compare import qrels_of
    from customir.evaluation.systems import ADAPTED, BASE

    test = read_queries(job.workspace, splits=("test",))
    values = {result.system: result.by_query["Recall@10"] for result in comparison.test}
    if ADAPTED not in values or not test:
        return {}
    won, lost = won_and_lost(
        test, job.passages, qrels_of(test, job.passages), comparison.rankings, BASE, ADAPTED
    )
    return {
        "by_style": by_style(
            test, values[BASE], values[ADAPTED], comparison.threads,
            job.settings.evaluation, job.settings.seed,
        ),
        "examples": {
            "won": [dataclasses.asdict(example) for example in won],
            "lost": [dataclasses.asdict(example) for example in lost],
        },
    }  # fmt: skip
