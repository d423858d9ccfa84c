"""Significance of a difference between two systems: paired bootstrap and randomisation test."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

# Random numbers drawn at a time: 32 MB of float64.
DRAWS = 1 << 22


@dataclass(frozen=True)
class Difference:
    """The mean of paired differences, in the metric's own unit.

    Attributes:
        low, high: The ends of its bootstrap interval.
        p: The p-value of the two-sided randomisation test: how often chance alone gives as large a
            difference.
    """

    mean: float
    low: float
    high: float
    p: float

    @property
    def significantly_better(self) -> bool:
        return self.low > 0

    @property
    def significantly_worse(self) -> bool:
        return self.high < 0


def paired_difference(
    system: np.ndarray,
    base: np.ndarray,
    clusters: Sequence[str],
    confidence: float,
    resamples: int,
    seed: int,
) -> Difference:
    """Compute mean(system - base) with its interval and p-value.

    The interval is the percentile interval of the bootstrap (Efron and Tibshirani 1993, chapter
    13). Clusters of queries are drawn with replacement (Field and Welsh 2007), because queries
    about one thread win or lose together; drawing single queries would make the interval too
    narrow. The p-value is that of the two-sided randomisation test (Smucker, Allan and Carterette,
    CIKM 2007), which swaps the two systems at random in each cluster.

    Args:
        system, base: A metric on each query, float64 (queries,), the same queries in the same
            order; at least one.
        clusters: The cluster of each query. If all differ, these are the ordinary tests.
        confidence: 0.95 gives the 2.5th and the 97.5th percentile.
    """
    differences = system - base
    _, members = np.unique(np.asarray(clusters), return_inverse=True)
    sums = np.bincount(members, weights=differences)
    sizes = np.bincount(members)
    random = np.random.default_rng(seed)
    means = np.concatenate(
        [
            sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
            for count in _blocks(resamples, len(sums))
            for drawn in [random.integers(len(sums), size=(count, len(sums)))]
        ]
    )
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    # Sums that differ by rounding alone count as equal.
    found = abs(sums.sum()) - 1e-9
    as_large = sum(
        int((np.abs(_signs(random, count, len(sums)) @ sums) >= found).sum())
        for count in _blocks(resamples, len(sums))
    )
    p = (as_large + 1) / (resamples + 1)
    return Difference(float(differences.mean()), float(low), float(high), p)


def _blocks(resamples: int, width: int) -> Iterator[int]:
    size = max(1, DRAWS // width)
    for start in range(0, resamples, size):
        yield min(size, resamples - start)


def _signs(random: np.random.Generator, count: int, width: int) -> np.ndarray:
    return random.integers(2, size=(count, width), dtype=np.int8).astype(np.float32) * 2 - 1
