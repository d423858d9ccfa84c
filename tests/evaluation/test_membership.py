"""The membership test finds what there is to find, and no more."""

import numpy as np
import pytest

from customir.evaluation.membership import MINIMUM_PAIRS, PairScores, measure_membership


def scores(
    count: int, gain: float, seed: int, style: str = "need", base: float = 0.5, per_thread: int = 1
) -> PairScores:
    """Pairs whose cosine rises by `gain` on average, where the noise of a gain is 0.1."""
    random = np.random.default_rng(seed)
    before = random.normal(base, 0.1, count).astype(np.float32)
    threads = [str(number // per_thread) for number in range(count)]
    noise = np.repeat(random.normal(gain, 0.1, -(-count // per_thread)), per_thread)[:count]
    return PairScores([style] * count, threads, before, before + noise.astype(np.float32))


def joined(first: PairScores, second: PairScores) -> PairScores:
    return PairScores(
        [*first.styles, *second.styles],
        [*first.threads, *(f"b{thread}" for thread in second.threads)],
        np.concatenate([first.base, second.base]),
        np.concatenate([first.adapted, second.adapted]),
    )


def test_without_a_leak_the_interval_holds_chance() -> None:
    found = [
        measure_membership(scores(200, 0.2, 2 * seed), scores(200, 0.2, 2 * seed + 1), 0.95, seed)
        for seed in range(40)
    ]
    holds = [each is not None and each.low <= 0.5 <= each.high for each in found]
    assert sum(holds) >= 34, "19 of 20 intervals should"


def test_a_leak_is_measured() -> None:
    # Gains with means one standard deviation apart: Phi(1 / sqrt 2) is 0.760.
    found = measure_membership(scores(400, 0.3, 0), scores(400, 0.2, 1), 0.95, 0)
    assert found
    assert found.auc == pytest.approx(0.760, abs=0.04)
    assert 0.5 < found.low < found.auc < found.high < 0.85
    assert found.base_auc == pytest.approx(0.5, abs=0.06)
    assert (found.trained, found.held_out) == (400, 400)


def test_only_pairs_of_the_same_style_are_compared() -> None:
    # Replies gain much and subjects little, whether trained on or not; their shares differ.
    trained = joined(scores(300, 0.6, 0, "reply"), scores(100, 0.1, 1, "subject"))
    held_out = joined(scores(100, 0.6, 2, "reply"), scores(300, 0.1, 3, "subject"))
    found = measure_membership(trained, held_out, 0.95, 0)
    assert found
    assert found.auc == pytest.approx(0.5, abs=0.06)


def test_what_the_base_tells_is_stated_apart() -> None:
    found = measure_membership(scores(300, 0.2, 0, base=0.7), scores(300, 0.2, 1), 0.95, 0)
    assert found
    assert found.base_auc > 0.85
    assert found.low <= 0.5 <= found.high


def test_pairs_of_one_thread_widen_the_interval() -> None:
    alone = measure_membership(scores(200, 0.2, 0), scores(200, 0.2, 1), 0.95, 0)
    together = measure_membership(
        scores(200, 0.2, 0, per_thread=20), scores(200, 0.2, 1, per_thread=20), 0.95, 0
    )
    assert alone
    assert together
    assert together.high - together.low > 2 * (alone.high - alone.low)


def test_too_few_or_no_comparable_pairs() -> None:
    few, many = scores(MINIMUM_PAIRS - 1, 0.2, 0), scores(50, 0.2, 1)
    assert measure_membership(few, many, 0.95, 0) is None
    assert measure_membership(many, few, 0.95, 0) is None
    assert measure_membership(many, scores(50, 0.2, 1, "reply"), 0.95, 0) is None
