"""The randomisation test: against scipy's, and by what it promises."""

import numpy as np
import pytest
from scipy.stats import permutation_test

from customir.evaluation.significance import DRAWS, _blocks, paired_difference


def p_of(system: np.ndarray, base: np.ndarray, clusters: list[str], seed: int = 0) -> float:
    return paired_difference(system, base, clusters, 0.95, 4000, seed).p


def own(count: int) -> list[str]:
    return [str(number) for number in range(count)]


@pytest.mark.parametrize("gain", [0.0, 0.03, 0.1])
def test_p_is_that_of_scipy(gain: float) -> None:
    random = np.random.default_rng(3)
    base = random.random(60)
    system = base + random.normal(gain, 0.2, 60)
    expected = permutation_test(
        (system, base), lambda a, b, axis: np.mean(a - b, axis=axis), permutation_type="samples",
        n_resamples=9999, rng=np.random.default_rng(0),
    ).pvalue  # fmt: skip
    assert p_of(system, base, own(60)) == pytest.approx(expected, abs=0.02)


def test_no_difference_and_a_certain_one() -> None:
    base = np.random.default_rng(0).random(50)
    assert p_of(base, base, own(50)) == 1.0
    assert p_of(base + 0.1, base, own(50)) == pytest.approx(1 / 4001)
    assert p_of(base - 0.1, base, own(50)) == pytest.approx(1 / 4001)


def test_threads_are_swapped_whole() -> None:
    random = np.random.default_rng(1)
    base = random.random(20)
    system = base + random.normal(0.07, 0.2, 20)
    once = p_of(system, base, own(20))
    copies = p_of(np.repeat(system, 6), np.repeat(base, 6), np.repeat(own(20), 6).tolist())
    apart = p_of(np.repeat(system, 6), np.repeat(base, 6), own(120))
    assert copies == pytest.approx(once, abs=0.03)
    assert apart < once / 2


def test_draws_are_cut_into_blocks_that_fit_into_memory() -> None:
    assert list(_blocks(10, DRAWS // 4)) == [4, 4, 2]
    assert list(_blocks(8, DRAWS // 4)) == [4, 4]
    assert list(_blocks(3, 2 * DRAWS)) == [1, 1, 1], "one cluster too many for a block"
    assert list(_blocks(0, 1)) == []


def test_without_signal_p_is_uniform() -> None:
    random = np.random.default_rng(2)
    found = []
    for seed in range(200):
        base = random.random(40)
        system = base + random.normal(0, 0.2, 40)
        found.append(paired_difference(system, base, own(40), 0.95, 500, seed).p)
    assert 0.01 < np.mean(np.array(found) < 0.05) < 0.1
    assert np.mean(found) == pytest.approx(0.5, abs=0.07)
