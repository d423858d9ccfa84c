"""Retrieval metrics by ir-measures (trec_eval): the field's reference implementation."""

from collections.abc import Mapping, Sequence

import ir_measures
import numpy as np
from ir_measures import Qrel, R, ScoredDoc, nDCG

DEPTH = 10
METRICS = {"Recall@10": R @ DEPTH, "nDCG@10": nDCG @ DEPTH}

Qrels = Mapping[str, Mapping[str, int]]


def by_query(
    qrels: Qrels,
    query_keys: Sequence[str],
    passage_keys: Sequence[str],
    rows: Sequence[np.ndarray] | np.ndarray,
) -> dict[str, np.ndarray]:
    """Each metric of each query: float64 (queries,), 0 to 1, in the order of `query_keys`.

    Args:
        qrels: Grades above 0 by query key and passage key; every query has at least one.
        rows: One int64 array a query: row numbers in `passage_keys`, best first.
    """
    judged = [Qrel(q, p, grade) for q in query_keys for p, grade in qrels[q].items()]
    run = [
        ScoredDoc(query, passage_keys[row], float(-rank))
        for query, hits in zip(query_keys, rows, strict=True)
        for rank, row in enumerate(hits[:DEPTH])
    ]
    place = {query: number for number, query in enumerate(query_keys)}
    values = {name: np.zeros(len(query_keys)) for name in METRICS}
    names = {measure: name for name, measure in METRICS.items()}
    for result in ir_measures.iter_calc(list(METRICS.values()), judged, run):
        values[names[result.measure]][place[result.query_id]] = result.value
    return values
