"""The judge's scores as distillation learns them: of each query's own passage and its candidates."""

from collections.abc import Sequence

import numpy as np

from customir.corpus.document import Passage
from customir.workspace.queries import Query

Taught = dict[tuple[str, str], float]  # by the keys of query and passage


def taught(
    queries: Sequence[Query],
    candidates: Sequence[Sequence[Passage]],
    scores: Sequence[Sequence[float]],
) -> Taught:
    """The scores in units of their spread: the root mean square distance from their list's mean.

    Where they don't differ they are left as they are.

    Args:
        scores: Of each query those of its own passage and, after it, of its candidates.
    """
    apart = [
        value - float(np.mean(values)) for values in scores if len(values) > 1 for value in values
    ]
    spread = float(np.sqrt(np.mean(np.square(apart)))) if apart else 0.0
    return {
        (query.key, key): value / (spread or 1.0)
        for query, mined, values in zip(queries, candidates, scores, strict=True)
        for key, value in zip(
            (query.passage, *(passage.key for passage in mined)), values, strict=True
        )
    }
