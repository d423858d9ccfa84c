"""Calibration against scikit-learn, and the pairs that it is done on."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score, roc_curve

from customir.negatives.calibration import (
    PAIRS,
    RELEVANT_CANDIDATES,
    TAIL,
    Calibration,
    calibrate,
    calibration_pairs,
    required_near_auc,
)
from customir.workspace.passages import Passage
from customir.workspace.queries import Query


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("decimals", [0, 8])
def test_rates_are_scikit_learn_s(seed: int, decimals: int) -> None:
    random = np.random.default_rng(seed)
    known = random.normal(0.8, 1.0, 60).round(decimals)  # 0 decimals: many ties
    other = random.normal(0.0, 1.5, 40).round(decimals)
    truth = np.repeat([1, 0], [60, 40])
    scores = np.concatenate([known, other])
    made = calibrate(known, other, 0.75)
    auc = roc_auc_score(truth, scores)
    assert made.auc == pytest.approx(auc)
    assert made.used == (auc >= 0.75)
    assert made.pairs == 60
    assert made.low <= made.threshold <= made.high
    assert (known < made.low).mean() <= TAIL
    assert (other > made.high).mean() <= TAIL + 1 / 40
    false_rates, true_rates, _ = roc_curve(truth, scores, drop_intermediate=False)
    np.testing.assert_allclose(made.roc, np.stack([false_rates, true_rates], axis=1))
    assert made.true_positive_rate - made.false_positive_rate == pytest.approx(
        (true_rates - false_rates).max()
    )
    assert made.true_positive_rate == pytest.approx((known >= made.threshold).mean())
    assert made.false_positive_rate == pytest.approx((other >= made.threshold).mean())


def test_near_pairs_are_measured_and_asked_too() -> None:
    random = np.random.default_rng(0)
    known, other, near = random.normal(2, 1, 50), random.normal(0, 1, 50), random.normal(1, 1, 30)
    made = calibrate(known, other, 0.75, near)
    truth = np.repeat([1, 0], [50, 30])
    assert made.near_auc == pytest.approx(roc_auc_score(truth, np.concatenate([known, near])))
    assert made.near_positive_rate == pytest.approx((near >= made.threshold).mean())
    without = calibrate(known, other, 0.75)
    assert (without.near_auc, without.near_positive_rate) == (None, None)
    assert (without.threshold, without.auc, without.used) == (made.threshold, made.auc, made.used)
    # Nearly as high as the known ones: no judge of candidates, however well it tells random ones.
    blind = calibrate(known, other, 0.75, known - 0.1)
    assert blind.near_auc is not None
    assert 0.5 < blind.near_auc < required_near_auc(0.75)
    assert (blind.used, without.used) == (False, True)


def test_the_near_area_that_is_required_allows_for_relevant_candidates() -> None:
    random = np.random.default_rng(1)
    known, irrelevant = random.normal(1, 1, 4_000), random.normal(0, 1, 4_000)
    area = calibrate(known, irrelevant, 0.5).auc
    hidden = round(RELEVANT_CANDIDATES * 4_000)
    near = np.concatenate([random.normal(1, 1, hidden), irrelevant[hidden:]])
    measured = calibrate(known, irrelevant, 0.5, near).near_auc
    assert measured == pytest.approx(required_near_auc(area), abs=0.01)


def test_verdicts_between_low_and_high_are_ambiguous() -> None:
    random = np.random.default_rng(2)
    made = calibrate(random.normal(1, 1, 200), random.normal(0, 1, 200), 0.5)
    assert made.low < made.threshold < made.high
    assert made.verdict(made.high) == "relevant"
    assert made.verdict(made.low - 0.01) == "negative"
    assert made.verdict(made.threshold) == made.verdict(made.low) == "ambiguous"
    # Where nothing overlaps, nothing is ambiguous.
    clean = calibrate(random.normal(9, 1, 200), random.normal(0, 1, 200), 0.5)
    assert clean.low == clean.threshold == clean.high


def test_a_perfect_judge_a_blind_one_and_a_contrary_one() -> None:
    high, low = np.array([1.0, 2.0, 3.0]), np.array([-2.0, -1.0])
    perfect = calibrate(high, low, 1.0)
    assert (perfect.auc, perfect.threshold, perfect.used) == (1.0, 1.0, True)
    assert (perfect.true_positive_rate, perfect.false_positive_rate) == (1.0, 0.0)
    # At the threshold is above it, and what is required is enough.
    assert calibrate(high, low, 1.0, np.array([1.0, 0.0])).near_positive_rate == 0.5
    assert required_near_auc(0.5) == calibrate(high, low, 0.5, high).near_auc == 0.5
    assert calibrate(high, low, 0.5, high).used
    blind = calibrate(np.zeros(5), np.zeros(5), 0.6)
    assert (blind.auc, blind.used) == (0.5, False)
    contrary = calibrate(low, high, 0.6)
    assert (contrary.auc, contrary.used) == (0.0, False)


def test_nothing_to_measure_on_is_no_judge() -> None:
    made = calibrate(np.empty(0), np.empty(0), 0.5)
    inf = float("inf")
    assert made == Calibration(0.5, inf, 0.0, 0.0, inf, inf, 0, used=False)
    assert (
        calibrate(np.ones(3), np.empty(0), 0.5) == made == calibrate(np.empty(0), np.ones(3), 0.5)
    )
    assert made.verdict(1e9) == "negative"


def corpus(size: int) -> tuple[list[Passage], list[Query]]:
    passages = [
        Passage(f"p{n}", f"d{n}", 0, "text", f"p{n - n % 2}", "", f"t{n % 11}") for n in range(size)
    ]
    queries = [Query(f"q{n}", f"p{n}", "need", f"text {n}", None, "train") for n in range(size)]
    return passages, queries


def test_random_passages_are_of_other_threads_and_groups() -> None:
    passages, queries = corpus(2 * PAIRS)
    known, other = calibration_pairs(queries, passages, 0)
    assert len(known) == len(other) == PAIRS
    for (query, own), (same, random) in zip(known, other, strict=True):
        assert query == same
        assert own.key == query.passage
        assert random.thread != own.thread
        assert random.duplicates != own.duplicates
    assert len({passage.key for _, passage in other}) > PAIRS / 2
    assert calibration_pairs(queries[::-1], passages[::-1], 0) == (known, other)
    assert calibration_pairs(queries, passages, 1) != (known, other)


def test_pairs_are_the_same_on_every_machine() -> None:
    passages, queries = corpus(6)
    passages = [replace(each, thread=f"t{n // 3}") for n, each in enumerate(passages)]
    _, other = calibration_pairs(queries, passages, 5)
    assert [f"{query.key} {passage.key}" for query, passage in other] == [
        "q4 p1", "q0 p3", "q5 p0", "q2 p4", "q3 p1", "q1 p3",
    ]  # fmt: skip


def test_a_corpus_of_one_thread_has_no_random_pairs() -> None:
    passages = [Passage(f"p{n}", "d", 0, "text", f"p{n}", "", "t") for n in range(4)]
    queries = [Query("q", "p0", "need", "text", None, "train")]
    assert calibration_pairs(queries, passages, 0) == ([], [])
    assert calibration_pairs([], passages, 0) == ([], [])
