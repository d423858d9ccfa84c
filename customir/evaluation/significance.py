"""Is a difference between two systems more than luck? A paired bootstrap over queries."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Difference:
    """The mean of paired differences and its bootstrap interval, in the metric's own unit."""

    mean: float
    low: float
    high: float

    @property
    def surely_better(self) -> bool:
        return self.low > 0

    @property
    def surely_worse(self) -> bool:
        return self.high < 0


def paired_bootstrap(
    system: np.ndarray,
    base: np.ndarray,
    clusters: Sequence[str],
    confidence: float,
    resamples: int,
    seed: int,
) -> Difference:
    """The percentile interval of mean(system - base) (Efron and Tibshirani 1993, chapter 13).

    What is drawn with replacement are clusters of queries (Field and Welsh 2007): queries about
    one thread win or lose together, and drawn one by one they would make the interval too narrow.

    Args:
        system, base: float64 (queries,), the same queries in the same order.
        clusters: What each query belongs to; all different: the ordinary bootstrap.
        confidence: 0.95 gives the 2.5th and the 97.5th percentile.
    """
    differences = system - base
    _, members = np.unique(np.asarray(clusters), return_inverse=True)
    sums = np.bincount(members, weights=differences)
    sizes = np.bincount(members)
    random = np.random.default_rng(seed)
    means = np.empty(resamples)
    for number in range(resamples):
        drawn = random.integers(len(sums), size=len(sums))
        means[number] = sums[drawn].sum() / sizes[drawn].sum()
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return Difference(float(differences.mean()), float(low), float(high))
