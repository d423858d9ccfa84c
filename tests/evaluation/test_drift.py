"""Drift: the distance against its definition and without a shift, and every verdict."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from customir.evaluation.drift import Distance, energy_distance, judge_drift
from customir.evaluation.gate import MINIMUM_THREADS
from customir.evaluation.significance import Difference


def unit(random: np.random.Generator, count: int, shift: float = 0.0) -> np.ndarray:
    vectors = random.normal(0, 1, (count, 16))
    vectors[:, 0] += shift
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def own(count: int) -> list[str]:
    return [str(number) for number in range(count)]


def test_the_distance_is_that_of_its_definition() -> None:
    random = np.random.default_rng(0)
    old, new = unit(random, 40), unit(random, 30, 2.0)
    between = 2 * cdist(old, new).mean()
    expected = (between - cdist(old, old).mean() - cdist(new, new).mean()) / between
    found = energy_distance(old, new, own(40), own(30), 0)
    assert found.share == pytest.approx(expected, abs=1e-6)
    assert found.is_significant
    assert energy_distance(old, old, own(40), own(40), 0) == Distance(
        pytest.approx(0, abs=1e-5), 1.0
    )


@pytest.mark.slow
def test_threads_are_dealt_out_whole() -> None:
    """Each thread's passages are alike: one by one they would look like a shift, and often do."""
    alone = whole = 0
    for seed in range(40):
        random = np.random.default_rng(seed)
        middles = np.repeat(random.normal(0, 1, (20, 16)), 8, axis=0)
        vectors = middles + random.normal(0, 0.3, (160, 16))
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        threads = np.repeat(own(10), 8).tolist()
        whole += energy_distance(vectors[:80], vectors[80:], threads, threads, seed).is_significant
        alone += energy_distance(vectors[:80], vectors[80:], own(80), own(80), seed).is_significant
    assert whole <= 6, "5% is what p promises"
    assert alone > 30


GAIN_THEN = Difference(0.1, 0.06, 0.14, 0.001)
NEAR, FAR = Distance(0.01, 0.4), Distance(0.2, 0.001)
THREADS = MINIMUM_THREADS


@pytest.mark.parametrize(
    ("gain", "then", "threads", "distance", "holds", "said"),
    [
        (Difference(0.09, 0.03, 0.15, 0.01), GAIN_THEN, THREADS, FAR, True, "The adapted model holds: Recall@10 +0.090"),
        (Difference(0.02, 0.01, 0.03, 0.01), GAIN_THEN, THREADS, NEAR, True, "less than it did"),
        (Difference(-0.1, -0.2, -0.01, 0.01), GAIN_THEN, THREADS, NEAR, False, "no longer holds"),
        (Difference(0.0, -0.1, 0.1, 0.9), GAIN_THEN, THREADS, FAR, None, "about other things"),
        (Difference(0.0, -0.1, 0.1, 0.9), GAIN_THEN, THREADS, NEAR, None, "like the old"),
        (Difference(0.1, 0.05, 0.2, 0.01), GAIN_THEN, THREADS - 1, FAR, None, "There is too little new mail"),
        (None, GAIN_THEN, 0, FAR, None, "There is too little new mail"),
        (Difference(0.0, 0.0, 0.0, 1.0), None, THREADS, FAR, None, "The base ships"),
        (None, GAIN_THEN, 0, None, None, "nothing new"),
    ],
)  # fmt: skip
def test_each_verdict(
    gain: Difference | None,
    then: Difference | None,
    threads: int,
    distance: Distance | None,
    holds: bool | None,
    said: str,
) -> None:
    found, verdict = judge_drift(gain, then, threads, distance)
    assert found is holds
    assert said in verdict
    assert ("less than it did" in verdict) == (said == "less than it did")
