"""Distillation targets: the judge's scores of each query's own passage and its candidates."""

from collections.abc import Sequence

import numpy as np

from customir.retrieval.scores import score_std
from customir.workspace.passages import Passage
from customir.workspace.queries import Query

Targets = dict[tuple[str, str], float]
"""Scores by the keys of query and passage."""


def distillation_targets(
    queries: Sequence[Query],
    candidates: Sequence[Sequence[Passage]],
    scores: Sequence[Sequence[float]],
) -> Targets:
    """The judge's scores, divided by their standard deviation within lists.

    Args:
        scores: For each query, the score of its own passage and then those of its candidates.
    """
    unit = score_std(np.array(values) for values in scores if len(values) > 1)
    return {
        (query.key, key): value / unit
        for query, mined, values in zip(queries, candidates, scores, strict=True)
        for key, value in zip(
            (query.passage, *(passage.key for passage in mined)), values, strict=True
        )
    }
