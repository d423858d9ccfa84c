"""The systems that every table compares: how each ranks, and what it is worth against the base."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from customir import models
from customir.errors import UserError
from customir.evaluation.metrics import DEPTH, Qrels, Rankings, by_query, recall_curve
from customir.evaluation.significance import Difference, paired_difference
from customir.retrieval.bm25 import Bm25
from customir.retrieval.dense import top_k
from customir.runtime.fusion import reciprocal_rank_fusion
from customir.settings import Evaluation

BM25, BASE, ADAPTED = "BM25", "base", "adapted"


@dataclass(frozen=True)
class SystemResult:
    """One system on a set of queries.

    Attributes:
        by_query: float64 (queries,) by metric name.
        differences: To the base, by metric name; none of the base itself.
        curve: Mean Recall@k by k.
    """

    system: str
    by_query: Mapping[str, np.ndarray]
    differences: Mapping[str, Difference]
    curve: Mapping[int, float]

    @property
    def metrics(self) -> dict[str, float | None]:
        """The means; None without queries."""
        return {
            name: float(np.mean(values)) if len(values) else None
            for name, values in self.by_query.items()
        }

    def as_row(self) -> dict[str, Any]:
        """For a stage's detail and for JSON; `comparison_rows` makes a table of such rows."""
        row: dict[str, Any] = {"system": self.system, **self.metrics}
        for name, found in self.differences.items():
            row[f"{name} difference"] = [found.mean, found.low, found.high, found.p]
        row["curve"] = {str(depth): value for depth, value in self.curve.items()}
        return row


def hybrid(name: str) -> str:
    """What the fusion of BM25 and a system is called."""
    return f"hybrid of BM25 and {name}"


def larger_embedder(settings: Evaluation) -> tuple[str, Path] | None:
    """The larger embedder's name and folder; None where none is wanted or it is not here."""
    if not settings.larger:
        return None
    try:
        return settings.larger, models.locate(settings.larger, "embedder")
    except UserError:
        return None


def embedders(base: Path, adapted: Path | None, settings: Evaluation) -> dict[str, Path]:
    """What a judged set compares, by system: the base, the larger embedder, the adapted one."""
    larger = larger_embedder(settings)
    found = {BASE: base, **dict([larger] if larger else [])}
    return {**found, ADAPTED: adapted} if adapted else found


def rank_by_words(queries: Sequence[str], passages: Sequence[str]) -> list[np.ndarray]:
    """BM25's ranking for each query; only passages that share a word with it."""
    rows, scores = Bm25(passages).top(queries, DEPTH)
    return [row[score > 0] for row, score in zip(rows, scores, strict=True)]


def rank_by_vectors(queries: np.ndarray, passages: np.ndarray) -> list[np.ndarray]:
    """The ranking for each query by inner product. Both are float32 (n, d)."""
    return list(top_k(queries, passages, DEPTH)[0])


def fuse(first: Rankings, second: Rankings) -> list[np.ndarray]:
    """The reciprocal rank fusion of two systems' rankings, query by query."""
    return [_fused(one, other) for one, other in zip(first, second, strict=True)]


def measure(
    runs: Mapping[str, Rankings],
    qrels: Qrels,
    query_keys: Sequence[str],
    passage_keys: Sequence[str],
    clusters: Sequence[str],
    settings: Evaluation,
    seed: int,
) -> list[SystemResult]:
    """Every system's metrics and its differences to the base, which must be among the runs.

    Args:
        clusters: Of each query: what is drawn together (`paired_difference`).
    """
    values = {name: by_query(qrels, query_keys, passage_keys, run) for name, run in runs.items()}
    return [
        SystemResult(
            name,
            metrics,
            {
                metric: paired_difference(
                    metrics[metric], values[BASE][metric], clusters,
                    settings.confidence, settings.resamples, seed,
                )
                for metric in (metrics if name != BASE and len(query_keys) else ())
            },
            recall_curve(qrels, query_keys, passage_keys, runs[name]),
        )
        for name, metrics in values.items()
    ]  # fmt: skip


def _fused(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    fused = reciprocal_rank_fusion([[f"{row:09}" for row in rows] for rows in (first, second)])
    return np.array([int(row) for row, _ in fused[:DEPTH]], dtype=np.int64)
