"""Ranking the corpus for held-out self-supervised queries, which people wrote and nobody labelled.

A subject is a query for the mail below it, and a question is one for its reply. On judged sets
these queries agreed with people's queries where the LLM's did not. Therefore the interpolation
weight is chosen on them, and the gate decides by them.
"""

from collections.abc import Sequence

import numpy as np

from customir.evaluation.metrics import DEPTH, Rankings
from customir.workspace.passages import Passage
from customir.workspace.queries import SelfSupervisedQuery

QUERIES_AT_ONCE = 256


def rank_pairs(
    queries: Sequence[SelfSupervisedQuery],
    asked: np.ndarray,
    answers: np.ndarray,
    corpus: np.ndarray,
    passages: Sequence[Passage],
) -> Rankings:
    """Rank the corpus for each query, to a depth of `DEPTH`.

    The query's own passage is ranked without the text that the query was taken from. Other passages
    of its thread and near-duplicate group are left out, because they may answer the query as well.

    Args:
        asked: Vectors of the queries, float32 (queries, d).
        answers: Vectors of their answers, the same shape.
        corpus: Vectors of the passages, float32 (passages, d).
    """
    threads, groups = (
        np.unique(names, return_inverse=True)[1]
        for names in ([p.thread for p in passages], [p.duplicates for p in passages])
    )
    own = np.array([query.row for query in queries], dtype=np.int64)
    depth = min(DEPTH, len(passages))
    found: list[np.ndarray] = []
    for start in range(0, len(queries), QUERIES_AT_ONCE):
        part = slice(start, start + QUERIES_AT_ONCE)
        rows = own[part]
        scores = asked[part] @ corpus.T
        related = (threads == threads[rows, None]) | (groups == groups[rows, None])
        scores[related] = -np.inf
        scores[np.arange(len(rows)), rows] = (asked[part] * answers[part]).sum(1)
        best = np.argpartition(-scores, depth - 1, axis=1)[:, :depth]
        order = np.argsort(-np.take_along_axis(scores, best, 1), axis=1, kind="stable")
        found += list(np.take_along_axis(best, order, 1))
    return found
