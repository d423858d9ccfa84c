"""Ranking for the corpus' own free queries: people's words, without a label.

A subject asks for the mail below it, a question for its answer. On judged sets these told what
people's queries would say where the LLM's did not (docs/evaluation.md): so they choose the share of
the adapter, and the gate asks them too.
"""

from collections.abc import Sequence

import numpy as np

from customir.evaluation.metrics import DEPTH, Rankings
from customir.workspace.passages import Passage
from customir.workspace.queries import FreeQuery

QUERIES_AT_ONCE = 256


def rank_free(
    queries: Sequence[FreeQuery],
    asked: np.ndarray,
    answers: np.ndarray,
    corpus: np.ndarray,
    passages: Sequence[Passage],
) -> Rankings:
    """The `DEPTH` best rows of the corpus for each query.

    Its own passage takes part as the answer. All others of its thread and near-duplicate group are
    left out: they may answer as well, or quote what was taken away.

    Args:
        asked: The queries' vectors, float32 (queries, d).
        answers: Those of their answers, the same shape.
        corpus: Those of the passages, (passages, d).
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
