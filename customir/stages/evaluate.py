"""Evaluating on held-out queries: the table, the verdict, gains by style, single queries."""

import dataclasses
import shutil
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from customir.job import Job, StageSummary
from customir.job.held_out import held_out_data_of
from customir.job.membership import membership_of
from customir.workspace.queries import read_queries

if TYPE_CHECKING:
    from customir.evaluation.compare import Comparison
    from customir.evaluation.gate import Metrics


def fingerprint_inputs(job: Job) -> Sequence[str]:
    return (job.settings.evaluation.model_dump_json(),)


def run(job: Job) -> StageSummary:
    from customir.embeddings import stored_embeddings
    from customir.evaluation.compare import compare
    from customir.exporters.merge import merge_adapter

    trained = job.summary("train")["adapter"]
    data = held_out_data_of(job)
    for leftover in job.folder.glob("candidates-*"):  # of an evaluation that was killed
        shutil.rmtree(leftover)
    with tempfile.TemporaryDirectory(dir=job.folder, prefix="candidates-") as folder:

        def merged(weight: float) -> Path:
            return Path(folder) / f"weight-{weight:g}"

        def merge(weight: float) -> Path:
            made: Path = merge_adapter(job.embedder, job.folder / trained, weight, merged(weight))
            return made

        embed = stored_embeddings(job.workspace, "evaluate", job.reporter)

        comparison = compare(
            data,
            job.embedder,
            merge if trained else None,
            job.settings,
            embed,
        )
        weight = comparison.verdict.weight
        membership = membership_of(job, data.of("test"), merged(weight), embed) if weight else None
    return {
        **_broken_down(job, comparison),
        "table": [result.as_row() for result in comparison.test],
        "dev": _mean_by_weight(comparison.dev),
        "self_supervised": {
            "styles": dict(Counter(pair.style for pair in data.of("test").pairs)),
            "dev": _mean_by_weight(comparison.pairs_dev),
            "table": [result.as_row() for result in comparison.pairs_test],
        },
        "queries": len(comparison.threads),
        "threads": len(set(comparison.threads)),
        "pool": {
            "dev": comparison.dev_pool_size,
            "test": len(comparison.pool),
            "passages": len(job.passages),
        },
        "membership": dataclasses.asdict(membership) if membership else None,
        "weight": weight,
        "reason": comparison.verdict.reason,
        "missing": list(comparison.verdict.missing),
    }


def _mean_by_weight(dev: "Mapping[float, Metrics]") -> list[StageSummary]:
    """The mean metrics of each interpolation weight, the base first."""
    return [
        {"weight": weight, **{name: float(np.mean(values)) for name, values in metrics.items()}}
        for weight, metrics in sorted(dev.items())
        if all(len(values) for values in metrics.values())
    ]


def _broken_down(job: Job, comparison: "Comparison") -> StageSummary:
    """Gains by query style, and how single queries moved, as `customir search` ranks."""
    from customir.evaluation.breakdown import by_style, movement
    from customir.evaluation.held_out import qrels_of
    from customir.evaluation.systems import ADAPTED, BASE, hybrid

    test = read_queries(job.workspace, splits=("test",))
    if not test:
        return {}
    values = {result.system: result.by_query["Recall@10"] for result in comparison.test}
    candidate = ADAPTED if ADAPTED in values else BASE
    moved = movement(
        test, comparison.pool, qrels_of(test, comparison.pool),
        comparison.rankings[hybrid(BASE)], comparison.rankings[hybrid(candidate)],
    )  # fmt: skip
    return {
        "candidate": candidate,
        "movement": dataclasses.asdict(moved),
        "by_style": by_style(
            test, values[BASE], values[candidate], comparison.threads,
            job.settings.evaluation, job.settings.seed,
        ) if candidate != BASE else [],
    }  # fmt: skip
