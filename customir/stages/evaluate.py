"""Evaluating on held-out queries: the table, the verdict, gains by style, queries won and lost."""

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from customir.job import Job, StageSummary
from customir.job.self_supervised import held_out_free_of
from customir.workspace.queries import read_queries

if TYPE_CHECKING:
    from customir.evaluation.compare import Comparison
    from customir.evaluation.gate import Metrics


def fingerprint_inputs(job: Job) -> Sequence[str]:
    return (job.settings.evaluation.model_dump_json(),)


def run(job: Job) -> StageSummary:
    from customir.evaluation.compare import compare

    adapter = job.detail("train")["adapter"]
    free = held_out_free_of(job)
    comparison = compare(
        job.workspace,
        "evaluate",
        job.embedder,
        job.folder / adapter if adapter else None,
        job.passages,
        read_queries(job.workspace, splits=("dev", "test")),
        free,
        job.settings,
        job.reporter,
    )
    return {
        **_broken_down(job, comparison),
        "table": [result.as_row() for result in comparison.test],
        "dev": _shares(comparison.dev),
        "free": {
            "styles": dict(Counter(query.style for query in free if query.split == "test")),
            "dev": _shares(comparison.free_dev),
            "table": [result.as_row() for result in comparison.free_test],
        },
        "queries": len(comparison.threads),
        "threads": len(set(comparison.threads)),
        "alpha": comparison.verdict.alpha,
        "reason": comparison.verdict.reason,
    }


def _shares(dev: "Mapping[float, Metrics]") -> list[StageSummary]:
    """The mean metrics of each share of the adapter, the base first."""
    return [
        {"alpha": alpha, **{name: float(np.mean(values)) for name, values in metrics.items()}}
        for alpha, metrics in sorted(dev.items())
        if all(len(values) for values in metrics.values())
    ]


def _broken_down(job: Job, comparison: "Comparison") -> StageSummary:
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
