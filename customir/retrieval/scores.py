"""Scores of a ranking on a common scale."""

from collections.abc import Iterable

import numpy as np


def score_std(rows: Iterable[np.ndarray]) -> float:
    """The standard deviation of scores around the mean of their row, over all rows.

    1 if the scores do not differ, so that dividing by it leaves them as they are.
    """
    centred = [row - row.mean() for row in rows]
    if not centred:
        return 1.0
    return float(np.sqrt(np.mean(np.square(np.concatenate(centred))))) or 1.0
