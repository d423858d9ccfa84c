"""Drift: does an adapted model still beat the base on new mail, and how different is that mail?"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from customir.evaluation.gate import MINIMUM_THREADS
from customir.evaluation.significance import Difference

PERMUTATIONS = 999
SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Distance:
    """How far two sets of embeddings are apart.

    Attributes:
        share: The energy distance as a share of the mean distance between the sets, 0 (the same
            distribution) to 1.
        p: Of the permutation test: how often random assignments of the threads are as far apart.
    """

    share: float
    p: float

    @property
    def is_significant(self) -> bool:
        """Whether the distance is statistically significant."""
        return self.p < SIGNIFICANT


@dataclass(frozen=True)
class Drift:
    """The result of `customir check`.

    Attributes:
        passages: The number of new passages, which the model was not adapted to.
        queries: The number of new queries.
        threads: The number of threads of the passages that the queries were written for.
        base, adapted: Recall@10 on the new queries, among old and new passages; None if there are
            no queries.
        gain: adapted - base on the new queries.
        gain_then: The same on the test queries of the adaptation.
        holds: Whether the adapted model still beats the base; None if that is undecided.
        verdict: The same in a sentence or two.
    """

    passages: int
    queries: int
    threads: int
    distance: Distance | None
    base: float | None
    adapted: float | None
    gain: Difference | None
    gain_then: Difference | None
    holds: bool | None
    verdict: str


def energy_distance(
    old: np.ndarray,
    new: np.ndarray,
    old_threads: Sequence[str],
    new_threads: Sequence[str],
    seed: int,
) -> Distance:
    """The energy distance with a permutation test (Székely and Rizzo 2013, J. Stat. Plan. Inf.).

    2 E|X-Y| - E|X-X'| - E|Y-Y'|, as a share of 2 E|X-Y|. Whole threads are permuted, because
    passages of one thread are alike. If single passages were permuted, any two months would differ
    significantly.

    Args:
        old, new: Vectors, float32 (n, d), unit norm; at least one each.
    """
    vectors = np.concatenate([old, new]).astype(np.float64)
    apart = np.sqrt(np.maximum(2 - 2 * vectors @ vectors.T, 0.0))
    np.fill_diagonal(apart, 0.0)
    names = [*(f"old {name}" for name in old_threads), *(f"new {name}" for name in new_threads)]
    _, thread = np.unique(names, return_inverse=True)
    is_new = np.arange(len(vectors)) >= len(old)
    found = _share(apart, is_new)
    new_of_thread = np.zeros(thread.max() + 1, dtype=bool)
    new_of_thread[thread[is_new]] = True
    random = np.random.default_rng(seed)
    as_far = sum(
        _share(apart, random.permutation(new_of_thread)[thread]) >= found - 1e-12
        for _ in range(PERMUTATIONS)
    )
    return Distance(found, (as_far + 1) / (PERMUTATIONS + 1))


def judge_drift(
    gain: Difference | None, gain_then: Difference | None, threads: int, distance: Distance | None
) -> tuple[bool | None, str]:
    """Whether the model is still better than the base, and why, in a sentence or two.

    It holds if it is still significantly better, and does not if it is significantly worse.
    Otherwise the result is None, and the distance decides whether to adapt again.
    """
    if distance is None:
        return None, "There is nothing new: every passage is in the corpus already."
    if gain_then is None:
        return (
            None,
            "The base ships, so there is no adapted model to check. Run adapt again.",
        )
    if gain is None or threads < MINIMUM_THREADS:
        return None, (
            f"There is too little new mail: the queries are about {threads} threads, and "
            f"{MINIMUM_THREADS} are needed."
        )
    said = f"Recall@10 {gain.mean:+.3f} against the base, {gain.low:+.3f} to {gain.high:+.3f}"
    if gain.significantly_worse:
        return False, f"The adapted model no longer holds: {said}. Adapt again."
    if gain.significantly_better:
        less = ", though it gains less than it did" if _significantly_less(gain, gain_then) else ""
        return True, f"The adapted model holds: {said}{less}."
    if distance.is_significant:
        return None, (
            f"Neither significantly better nor worse: {said}. The new mail is about other things "
            f"(distance {distance.share:.3f}, p {distance.p:.3f}): adapt again."
        )
    return None, (
        f"Neither significantly better nor worse: {said}. The new mail is like the old (p "
        f"{distance.p:.3f}): check again with more of it."
    )


def _share(apart: np.ndarray, is_new: np.ndarray) -> float:
    weight = np.where(is_new, 1 / is_new.sum(), -1 / (~is_new).sum())
    between = 2 * float(np.where(is_new, weight, 0) @ apart @ np.where(is_new, 0, -weight))
    return float(-weight @ apart @ weight) / between if between else 0.0


def _significantly_less(now: Difference, then: Difference) -> bool:
    """Whether the gain fell significantly (normal approximation from two 95% intervals)."""
    wide = NormalDist().inv_cdf(0.975)
    error = np.hypot(now.high - now.low, then.high - then.low) / (2 * wide)
    return bool(then.mean - now.mean > wide * error)
