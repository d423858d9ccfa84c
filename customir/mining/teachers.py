"""Scores of a teacher for distillation: of each query's own passage and its candidates.

A teacher's unit is its own (nats, a cosine, BM25's sums), so scores are divided by their spread: the
root mean square distance from the mean of their list, over all lists.
"""

from collections.abc import Sequence

import numpy as np

from customir.corpus.document import Passage
from customir.workspace.queries import Query

Scores = list[list[float]]
Taught = dict[tuple[str, str], float]  # by the keys of query and passage


def lists_of(
    queries: Sequence[Query], passages: Sequence[Passage], candidates: Sequence[Sequence[Passage]]
) -> list[list[int]]:
    """Of each query the rows of its own passage and, after it, of its candidates."""
    row_of = {passage.key: row for row, passage in enumerate(passages)}
    return [
        [row_of[query.passage], *(row_of[passage.key] for passage in mined)]
        for query, mined in zip(queries, candidates, strict=True)
    ]


def by_key(
    queries: Sequence[Query],
    passages: Sequence[Passage],
    rows: Sequence[Sequence[int]],
    scores: Scores,
) -> Taught:
    """The scores of the lists `rows`, by query and passage."""
    return {
        (query.key, passages[row].key): score
        for query, listed, values in zip(queries, rows, scores, strict=True)
        for row, score in zip(listed, values, strict=True)
    }


def standardised(scores: Sequence[Sequence[float]]) -> Scores:
    """The scores in units of their spread within lists; as they are where they don't differ."""
    apart = [
        value - float(np.mean(values)) for values in scores if len(values) > 1 for value in values
    ]
    spread = float(np.sqrt(np.mean(np.square(apart)))) if apart else 0.0
    return [[value / (spread or 1.0) for value in values] for values in scores]


def cosines(queries: np.ndarray, passages: np.ndarray, rows: Sequence[Sequence[int]]) -> Scores:
    """The inner products of each query with its list.

    Args:
        queries: float32 (queries, d).
        passages: float32 (passages, d).
        rows: Of each query, its list: rows of `passages`.
    """
    return [
        (passages[list(listed)] @ query).tolist()
        for query, listed in zip(queries, rows, strict=True)
    ]


def added(first: Scores, second: Scores) -> Scores:
    """Two teachers as one: the sum of their scores (CombSUM; Fox and Shaw 1994)."""
    return [
        [one + other for one, other in zip(*pair, strict=True)]
        for pair in zip(first, second, strict=True)
    ]
