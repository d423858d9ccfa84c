"""The judge's scores as distillation learns them: of each query's own passage and its candidates."""

from collections.abc import Iterable, Sequence

import numpy as np

from customir.workspace.passages import Passage
from customir.workspace.queries import Query

Taught = dict[tuple[str, str], float]  # by the keys of query and passage


def distillation_targets(
    queries: Sequence[Query],
    candidates: Sequence[Sequence[Passage]],
    scores: Sequence[Sequence[float]],
) -> Taught:
    """The scores in units of their spread within lists.

    Args:
        scores: Of each query those of its own passage and, after it, of its candidates.
    """
    unit = spread(np.array(values) for values in scores if len(values) > 1)
    return {
        (query.key, key): value / unit
        for query, mined, values in zip(queries, candidates, scores, strict=True)
        for key, value in zip(
            (query.passage, *(passage.key for passage in mined)), values, strict=True
        )
    }


def spread(rows: Iterable[np.ndarray]) -> float:
    """The unit of a teacher's scores: their root mean square distance from the mean of their row.

    1 where they don't differ, so that scores divided by it stay as they are.
    """
    apart = [row - row.mean() for row in rows]
    if not apart:
        return 1.0
    return float(np.sqrt(np.mean(np.square(np.concatenate(apart))))) or 1.0
