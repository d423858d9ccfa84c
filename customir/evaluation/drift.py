"""Does an adapted model still hold for new mail? How far it lies off, and what the model gains there."""

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
    """How far two sets of embeddings lie apart.

    Attributes:
        share: The energy distance as a share of the mean distance between the sets, 0 (the same
            distribution) to 1.
        p: How often threads dealt out at random lie as far apart.
    """

    share: float
    p: float

    @property
    def surely_apart(self) -> bool:
        return self.p < SIGNIFICANT


@dataclass(frozen=True)
class Drift:
    """What `customir check` found.

    Attributes:
        passages: New ones; those that the model was adapted to are not counted.
        threads: Of the passages that the queries were written for.
        base, adapted: Recall@10 on the new queries, among old and new passages; None without any.
        gain: adapted - base on them.
        gain_then: The same on the test queries of the adaptation.
        holds: None where it can't be told.
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

    2 E|X-Y| - E|X-X'| - E|Y-Y'|, as a share of 2 E|X-Y|. What is dealt out anew are threads:
    passages of one thread are alike, and dealt out one by one they would make any two months
    differ for sure.

    Args:
        old, new: float32 (n, d), unit norm; at least one each.
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
    """Whether the model still holds, and why, in a sentence or two.

    It holds where it is still surely better than the base; it does not where it is surely worse.
    In between nobody knows, and the distance says whether to adapt again.
    """
    if distance is None:
        return None, "There is nothing new in it: every passage is in the corpus already."
    if gain_then is None:
        return (
            None,
            "What ships is the base, so there is no adapted model to hold. Run adapt again.",
        )
    if gain is None or threads < MINIMUM_THREADS:
        return None, (
            f"Too little new mail to tell: queries about {threads} threads, and {MINIMUM_THREADS} "
            "are needed."
        )
    said = f"Recall@10 {gain.mean:+.3f} against the base, {gain.low:+.3f} to {gain.high:+.3f}"
    if gain.significantly_worse:
        return False, f"It no longer holds: {said}. Adapt again."
    if gain.significantly_better:
        less = ", though it gains less than it did" if _surely_less(gain, gain_then) else ""
        return True, f"It holds: {said}{less}."
    if distance.surely_apart:
        return None, (
            f"Neither better nor worse for sure: {said}. The new mail is about other things "
            f"(distance {distance.share:.3f}, p {distance.p:.3f}): adapt again."
        )
    return None, (
        f"Neither better nor worse for sure: {said}. The new mail is like the old (p "
        f"{distance.p:.3f}): check again with more of it."
    )


def _share(apart: np.ndarray, is_new: np.ndarray) -> float:
    weight = np.where(is_new, 1 / is_new.sum(), -1 / (~is_new).sum())
    between = 2 * float(np.where(is_new, weight, 0) @ apart @ np.where(is_new, 0, -weight))
    return float(-weight @ apart @ weight) / between if between else 0.0


def _surely_less(now: Difference, then: Difference) -> bool:
    """Whether the gain fell, by the normal approximation; both intervals are 95% ones."""
    wide = NormalDist().inv_cdf(0.975)
    error = np.hypot(now.high - now.low, then.high - then.low) / (2 * wide)
    return bool(then.mean - now.mean > wide * error)
