"""Retrieval metrics by ir-measures (trec_eval): the field's reference implementation."""

from collections.abc import Iterator, Mapping, Sequence

import ir_measures
import numpy as np
from ir_measures import RR, Qrel, R, ScoredDoc, nDCG

CUT = 10
METRICS = {f"Recall@{CUT}": R @ CUT, f"nDCG@{CUT}": nDCG @ CUT, f"MRR@{CUT}": RR}
# Depth of the rankings, deep enough for the curve of Recall@k.
DEPTH = 100
CURVE_DEPTHS = (1, 2, 3, 5, 10, 20, 50, 100)

Qrels = Mapping[str, Mapping[str, int]]
Rankings = Sequence[np.ndarray] | np.ndarray
"""One int64 array per query: row numbers of passages, best first."""


def by_query(
    qrels: Qrels, query_keys: Sequence[str], passage_keys: Sequence[str], rows: Rankings
) -> dict[str, np.ndarray]:
    """Compute each metric on each query: float64 (queries,), 0 to 1, in the order of `query_keys`.

    Args:
        qrels: Grades above 0 by query key and passage key; every query has at least one.
        rows: Row numbers in `passage_keys`.
    """
    place = {query: number for number, query in enumerate(query_keys)}
    values = {name: np.zeros(len(query_keys)) for name in METRICS}
    names = {measure: name for name, measure in METRICS.items()}
    judged, run = _judged(qrels, query_keys), _run(query_keys, passage_keys, rows, CUT)
    for result in ir_measures.iter_calc(list(METRICS.values()), judged, run):
        values[names[result.measure]][place[result.query_id]] = result.value
    return values


def recall_curve(
    qrels: Qrels, query_keys: Sequence[str], passage_keys: Sequence[str], rows: Rankings
) -> dict[int, float]:
    """Mean Recall@k, 0 to 1, for each k of CURVE_DEPTHS; empty without queries."""
    if not query_keys:
        return {}
    measures = {R @ depth: depth for depth in CURVE_DEPTHS}
    sums = dict.fromkeys(CURVE_DEPTHS, 0.0)
    judged, run = _judged(qrels, query_keys), _run(query_keys, passage_keys, rows, DEPTH)
    for result in ir_measures.iter_calc(list(measures), judged, run):
        sums[measures[result.measure]] += result.value
    return {depth: total / len(query_keys) for depth, total in sums.items()}


def _judged(qrels: Qrels, query_keys: Sequence[str]) -> list[Qrel]:
    return [Qrel(q, p, grade) for q in query_keys for p, grade in qrels[q].items()]


def _run(
    query_keys: Sequence[str], passage_keys: Sequence[str], rows: Rankings, depth: int
) -> Iterator[ScoredDoc]:
    for query, hits in zip(query_keys, rows, strict=True):
        for rank, row in enumerate(hits[:depth]):
            yield ScoredDoc(query, passage_keys[row], float(-rank))
