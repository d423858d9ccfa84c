"""The systems that every table compares: their rankings, metrics and differences from the base."""

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
from customir.runtime.fusion import WORD_WEIGHT, cosine_std, fuse, sample
from customir.settings import EvaluationSettings

BM25, BASE, ADAPTED = "BM25", "base", "adapted"
RANK_CONSTANT = 60  # of reciprocal rank fusion


@dataclass(frozen=True)
class SystemResult:
    """The results of one system on a set of queries.

    Attributes:
        by_query: The metrics on each query, float64 (queries,), by metric name.
        differences: The differences from the base, by metric name; empty for the base itself.
        curve: Mean Recall@k by k.
    """

    system: str
    by_query: Mapping[str, np.ndarray]
    differences: Mapping[str, Difference]
    curve: Mapping[int, float]

    @property
    def metrics(self) -> dict[str, float | None]:
        """The mean of each metric; None without queries."""
        return {
            name: float(np.mean(values)) if len(values) else None
            for name, values in self.by_query.items()
        }

    def as_row(self) -> dict[str, Any]:
        """The result for a stage's summary and for JSON; `comparison_rows` formats such rows."""
        row: dict[str, Any] = {"system": self.system, **self.metrics}
        for name, found in self.differences.items():
            row[f"{name} difference"] = [found.mean, found.low, found.high, found.p]
        row["curve"] = {str(depth): value for depth, value in self.curve.items()}
        return row


@dataclass(frozen=True)
class ByWords:
    """BM25's best passages for each query.

    Attributes:
        rows: Passages that share a word with the query, best first.
        shares: Their scores divided by the largest possible BM25 score, float32, of the same
            lengths.
    """

    rows: Rankings
    shares: Sequence[np.ndarray]

    def among(self, rows: Sequence[int]) -> "ByWords":
        """The same rankings of the passages in `rows` alone, renumbered by their position there."""
        places = {row: place for place, row in enumerate(rows)}
        masks = [np.array([row in places for row in own.tolist()], bool) for own in self.rows]
        return ByWords(
            [
                np.array([places[row] for row in own[mask].tolist()], dtype=np.int64)
                for own, mask in zip(self.rows, masks, strict=True)
            ],
            [share[mask] for share, mask in zip(self.shares, masks, strict=True)],
        )


def hybrid(name: str) -> str:
    """The name of the fusion of BM25 and a system, as `customir search` computes it."""
    return f"hybrid of BM25 and {name}"


def rrf(name: str) -> str:
    """The name of the reciprocal rank fusion of BM25 and a system."""
    return f"RRF of BM25 and {name}"


def reference_embedder(settings: EvaluationSettings) -> tuple[str, Path] | None:
    """Name and folder of the reference model; None if none is set or it is not on this machine."""
    if not settings.reference_model:
        return None
    try:
        return settings.reference_model, models.locate(settings.reference_model, "embedder")
    except UserError:
        return None


def embedders(base: Path, adapted: Path | None, settings: EvaluationSettings) -> dict[str, Path]:
    """The models compared on a judged set, by system: base, reference and adapted model."""
    reference = reference_embedder(settings)
    found = {BASE: base, **dict([reference] if reference else [])}
    return {**found, ADAPTED: adapted} if adapted else found


def rank_by_words(queries: Sequence[str], passages: Sequence[str]) -> ByWords:
    """BM25's ranking for each query."""
    index = Bm25(passages)
    rows, scores = index.top(queries, DEPTH)
    shares = scores / np.maximum(index.limits(queries), np.finfo(np.float32).tiny)[:, None]
    found = scores > 0
    return ByWords(
        [row[mask] for row, mask in zip(rows, found, strict=True)],
        [share[mask] for share, mask in zip(shares, found, strict=True)],
    )


def rank_by_vectors(queries: np.ndarray, passages: np.ndarray) -> list[np.ndarray]:
    """The ranking by inner product for each query. Both arguments are float32 (n, d)."""
    return list(top_k(queries, passages, DEPTH)[0])


@dataclass(frozen=True)
class Fused:
    """A system's rankings fused with BM25's.

    Attributes:
        hybrid: Fused by scores, as `customir search` does it.
        rrf: Fused by reciprocal ranks, the usual way.
    """

    hybrid: Rankings
    rrf: Rankings

    def of(self, name: str) -> dict[str, Rankings]:
        """Both rankings under their names for a system."""
        return {rrf(name): self.rrf, hybrid(name): self.hybrid}


def fuse_with_words(
    queries: np.ndarray, passages: np.ndarray, by_words: ByWords, weight: float = WORD_WEIGHT
) -> Fused:
    """Fuse the rankings by vectors and by words.

    Args:
        queries, passages: Vectors, float32 (n, d).
    """
    rows, cosines = top_k(queries, passages, DEPTH)
    std = cosine_std(passages[sample(len(passages))])
    hybrids, by_ranks = [], []
    for number, (worded, shares) in enumerate(zip(by_words.rows, by_words.shares, strict=True)):
        by_ranks.append(_reciprocal_rank_fusion([rows[number], worded]))
        near = dict(zip(rows[number].tolist(), cosines[number].tolist(), strict=True))
        others = [row for row in worded.tolist() if row not in near]
        near |= dict(zip(others, (passages[others] @ queries[number]).tolist(), strict=True))
        words = dict(zip(worded.tolist(), shares.tolist(), strict=True))
        best = fuse(near, words, std, weight)
        hybrids.append(np.array([row for row, _ in best[:DEPTH]], dtype=np.int64))
    return Fused(hybrids, by_ranks)


def measure(
    runs: Mapping[str, Rankings],
    qrels: Qrels,
    query_keys: Sequence[str],
    passage_keys: Sequence[str],
    clusters: Sequence[str],
    settings: EvaluationSettings,
    seed: int,
) -> list[SystemResult]:
    """Every system's metrics and differences from the base, which must be among the runs.

    Args:
        clusters: The cluster of each query (see `paired_difference`).
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


def _reciprocal_rank_fusion(rankings: Sequence[np.ndarray]) -> np.ndarray:
    """Fuse rankings by score(d) = sum over rankings of 1 / (60 + rank of d).

    Cormack, Clarke and Buettcher, Reciprocal rank fusion outperforms Condorcet and individual rank
    learning methods, SIGIR 2009.
    """
    scores: dict[int, float] = {}
    for ranking in rankings:
        for rank, row in enumerate(ranking.tolist(), start=1):
            scores[row] = scores.get(row, 0.0) + 1.0 / (RANK_CONSTANT + rank)
    best = sorted(scores, key=lambda row: (-scores[row], row))
    return np.array(best[:DEPTH], dtype=np.int64)
