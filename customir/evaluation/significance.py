"""Is a difference between two systems more than luck? A paired bootstrap over queries."""

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
    system: np.ndarray, base: np.ndarray, confidence: float, resamples: int, seed: int
) -> Difference:
    """The percentile interval of mean(system - base) (Sakai 2006; Efron and Tibshirani 1993).

    Args:
        system, base: float64 (queries,), the same queries in the same order.
        confidence: 0.95 gives the 2.5th and the 97.5th percentile.
    """
    differences = system - base
    random = np.random.default_rng(seed)
    means = np.empty(resamples)
    for number in range(resamples):
        means[number] = differences[random.integers(len(differences), size=len(differences))].mean()
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return Difference(float(differences.mean()), float(low), float(high))
