"""The gate: each of its decisions, and how often it ships what is no better."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import binomtest

from customir.evaluation.gate import (
    MINIMUM_THREADS,
    Metrics,
    PairedMetrics,
    Verdict,
    choose_weight,
    decide,
)
from customir.evaluation.significance import Difference, paired_difference
from customir.settings import EvaluationSettings

SETTINGS = EvaluationSettings()
QUICK = EvaluationSettings(resamples=1000)


def metrics(ndcg: object, recall: object = None) -> Metrics:
    ndcg = np.asarray(ndcg, dtype=np.float64)
    return {
        "nDCG@10": ndcg,
        "Recall@10": ndcg if recall is None else np.asarray(recall, dtype=np.float64),
    }


def bootstrap(system: np.ndarray, base: np.ndarray, *more: float) -> Difference:
    """Of queries that have nothing to do with each other."""
    confidence, resamples, seed = more
    own = [str(number) for number in range(len(base))]
    return paired_difference(system, base, own, confidence, int(resamples), int(seed))


def gate(
    alpha: float, candidate: Metrics, base: Metrics, settings: EvaluationSettings, seed: int
) -> Verdict:
    """The verdict where each query is about a thread of its own."""
    own = [str(number) for number in range(len(base["nDCG@10"]))]
    return decide(alpha, PairedMetrics(candidate, base, own), None, settings, seed)


def test_queries_about_one_thread_count_as_one() -> None:
    random = np.random.default_rng(0)
    base, gain = random.random(40), random.normal(0.05, 0.2, 40)
    threads = [str(number) for number in range(40)]
    once = paired_difference(base + gain, base, threads, 0.95, 2000, 0)
    four = paired_difference(
        np.repeat(base + gain, 4), np.repeat(base, 4), np.repeat(threads, 4).tolist(), 0.95, 2000, 0
    )
    assert (four.low, four.high) == pytest.approx((once.low, once.high), abs=0.01)
    apart = bootstrap(np.repeat(base + gain, 4), np.repeat(base, 4), 0.95, 2000, 0)
    assert apart.high - apart.low == pytest.approx((once.high - once.low) / 2, rel=0.15)


def test_the_bootstrap_is_paired_repeatable_and_centred() -> None:
    random = np.random.default_rng(0)
    base = random.random(200)
    shifted = bootstrap(base + 0.1, base, 0.95, 1000, 0)
    assert (shifted.mean, shifted.low, shifted.high) == pytest.approx((0.1, 0.1, 0.1))
    noisy = base + random.normal(0.05, 0.2, 200)
    made = bootstrap(noisy, base, 0.95, 2000, 0)
    assert made == bootstrap(noisy, base, 0.95, 2000, 0)
    assert made.mean == pytest.approx((noisy - base).mean())
    # The percentile interval of a mean is close to that of the normal distribution.
    error = (noisy - base).std() / np.sqrt(200)
    assert made.low == pytest.approx(made.mean - 1.96 * error, abs=0.2 * error)
    assert made.high == pytest.approx(made.mean + 1.96 * error, abs=0.2 * error)
    reverse = bootstrap(base, noisy, 0.95, 2000, 0)
    assert (reverse.low, reverse.high) == pytest.approx((-made.high, -made.low))
    assert made.low < bootstrap(noisy, base, 0.6, 2000, 0).low


def test_significant_means_beyond_zero() -> None:
    assert Difference(0.1, 0.01, 0.2, 0.5).significantly_better
    assert not Difference(0.1, 0.0, 0.2, 0.5).significantly_better
    assert Difference(-0.1, -0.2, -0.01, 0.5).significantly_worse
    assert not Difference(-0.1, -0.2, 0.0, 0.5).significantly_worse


def test_a_real_gain_ships() -> None:
    base = np.random.default_rng(0).random(60) * 0.8
    verdict = gate(0.5, metrics(base + 0.1), metrics(base), SETTINGS, 0)
    assert verdict.ships_adapted
    assert verdict.weight == 0.5
    assert verdict.reason == (
        "Significantly better than the base: on the LLM's queries nDCG@10 +0.100 (95% interval "
        "+0.100 to +0.100), Recall@10 +0.100 (95% interval +0.100 to +0.100)."
    )
    assert set(verdict.differences) == {"nDCG@10", "Recall@10"}


def test_the_seed_alone_decides_the_intervals() -> None:
    random = np.random.default_rng(0)
    own = [str(number) for number in range(60)]
    base = random.random(60)
    held = [
        PairedMetrics(metrics(base + random.normal(0.05, 0.2, 60)), metrics(base), own)
        for _ in range(2)
    ]
    verdict = decide(1.0, *held, QUICK, 3)
    assert decide(1.0, *held, QUICK, 3) == verdict
    assert decide(1.0, *held, QUICK, 4).reason != verdict.reason


def test_no_gain_does_not_ship() -> None:
    random = np.random.default_rng(0)
    base = random.random(60)
    for candidate in (base, base - 0.1, base + random.normal(0, 0.3, 60)):
        verdict = gate(1.0, metrics(candidate), metrics(base), SETTINGS, 0)
        assert not verdict.ships_adapted
        assert verdict.reason.startswith("Not significantly better")


def test_a_gain_by_one_metric_alone_does_not_ship() -> None:
    base = np.full(60, 0.5)
    for ndcg, recall in ((0.1, -0.1), (0.1, 0.0), (0.0, 0.1)):
        verdict = gate(1.0, metrics(base + ndcg, base + recall), metrics(base, base), SETTINGS, 0)
        assert verdict.weight == 0
        assert verdict.reason.startswith("Not significantly better than the base: on the LLM's")
        fell_short = ["nDCG@10"] * (ndcg <= 0) + ["Recall@10"] * (recall <= 0)
        assert verdict.missing == [
            f"On the queries that the LLM wrote, {name} did not rise by more than chance can explain."
            for name in fell_short
        ]
        assert set(verdict.differences) == {"nDCG@10", "Recall@10"}


def test_too_few_threads_ship_nothing() -> None:
    for threads in (0, 1, MINIMUM_THREADS - 1):
        base = np.zeros(threads)
        verdict = gate(1.0, metrics(base + 1), metrics(base), SETTINGS, 0)
        assert not verdict.ships_adapted
        assert verdict.reason == (
            f"The test queries come from only {threads} threads; the gate needs {MINIMUM_THREADS} "
            "to decide. Sample more passages, or use a larger corpus."
        )
        assert verdict.differences == {}
    base = np.zeros(200)
    two = [str(number % 2) for number in range(200)]
    assert not decide(
        1.0, PairedMetrics(metrics(base + 1), metrics(base), two), None, SETTINGS, 0
    ).ships_adapted
    base = np.zeros(MINIMUM_THREADS)
    assert gate(1.0, metrics(base + 1), metrics(base), SETTINGS, 0).ships_adapted


@pytest.mark.parametrize(
    ("ndcg", "recall", "ships"),
    [(0.1, 0.1, True), (0.1, 0.0, True), (0.0, 0.1, True), (0.0, 0.0, False), (0.1, -0.1, False)],
)
def test_people_have_to_agree(ndcg: float, recall: float, ships: bool) -> None:
    """On their queries one metric significantly better, and none significantly worse."""
    base = np.random.default_rng(0).random(60) * 0.8
    own = [str(number) for number in range(60)]
    written = PairedMetrics(metrics(base + 0.1), metrics(base), own)
    free = PairedMetrics(metrics(base + ndcg, base + recall), metrics(base), own)
    verdict = decide(1.0, written, free, SETTINGS, 0)
    assert verdict.ships_adapted == ships
    beginning = "Significantly" if ships else "Not significantly"
    assert verdict.reason.startswith(
        f"{beginning} better than the base: on the LLM's queries nDCG@10 +0.100"
    )
    assert f"; on people's queries nDCG@10 {ndcg:+.3f}" in verdict.reason
    assert verdict.differences["nDCG@10"].mean == pytest.approx(0.1), "those of the LLM's queries"
    assert bool(verdict.missing) != ships


def test_what_is_missing_is_said_plainly() -> None:
    base = np.random.default_rng(0).random(60) * 0.8
    own = [str(number) for number in range(60)]
    better, worse = metrics(base + 0.1), metrics(base - 0.1)
    people, written = (
        PairedMetrics(worse, metrics(base), own),
        PairedMetrics(better, metrics(base), own),
    )
    assert decide(1.0, written, people, QUICK, 0).missing == [
        "On the queries that people wrote, neither nDCG@10 nor Recall@10 rose by more than chance "
        "can explain.",
        "On the queries that people wrote, nDCG@10 fell by more than chance can explain.",
        "On the queries that people wrote, Recall@10 fell by more than chance can explain.",
    ]
    assert decide(1.0, people, written, QUICK, 0).missing == [
        "On the queries that the LLM wrote, nDCG@10 did not rise.",
        "On the queries that the LLM wrote, nDCG@10 fell by more than chance can explain.",
        "On the queries that the LLM wrote, Recall@10 fell by more than chance can explain.",
    ]


@pytest.mark.parametrize(
    ("ndcg", "recall", "ships"),
    [(0.01, 0.0, True), (0.01, -0.1, False), (0.0, 0.1, False), (-0.1, -0.1, False)],
)
def test_the_llm_must_not_object(ndcg: float, recall: float, ships: bool) -> None:
    """Where people's queries are significantly better: on the LLM's nDCG@10 higher, and none significantly worse."""
    random = np.random.default_rng(0)
    base, spread = random.random(60) * 0.8, random.normal(0, 0.2, 60)
    spread -= spread.mean()
    own = [str(number) for number in range(60)]
    written = PairedMetrics(
        metrics(base + ndcg + spread * (ndcg == 0.01), base + recall), metrics(base), own
    )
    free = PairedMetrics(metrics(base + 0.1), metrics(base), own)
    assert decide(1.0, written, free, SETTINGS, 0).ships_adapted == ships


def test_alpha_0_is_the_base() -> None:
    base = metrics(np.zeros(30))
    verdict = gate(0.0, base, base, SETTINGS, 0)
    assert not verdict.ships_adapted
    assert verdict.reason == "No interpolation weight beat the base on the dev queries."
    assert verdict.differences == {}


def test_alpha_is_chosen_on_dev_and_of_equals_the_nearest_to_the_base() -> None:
    dev = {1.0: metrics([0.5, 0.7]), 0.0: metrics([0.5, 0.5]), 0.5: metrics([0.7, 0.5])}
    assert choose_weight(dev) == 0.5
    assert choose_weight({0.0: metrics([0.5]), 0.5: metrics([0.5])}) == 0.0
    # Recall takes no part in it.
    assert choose_weight({0.0: metrics([0.5], [0.9]), 1.0: metrics([0.6], [0.1])}) == 1.0


def noise(random: np.random.Generator, queries: int) -> tuple[np.ndarray, np.ndarray]:
    base = random.random(queries)
    return base + random.normal(0, 0.2, queries), base


def ranks(random: np.random.Generator, queries: int) -> tuple[np.ndarray, np.ndarray]:
    """nDCG@10 of one relevant passage: most ranks stay as they are, some move."""
    before = random.integers(0, 14, queries)
    after = np.where(random.random(queries) < 0.3, random.integers(0, 14, queries), before)

    def ndcg(rank: np.ndarray) -> np.ndarray:
        return np.where(rank < 10, 1 / np.log2(rank + 2), 0.0)

    return ndcg(after), ndcg(before)


# 2.5% is what a two-sided 95% interval promises. The percentile bootstrap of few queries, most of
# them unchanged, is too narrow: 3,000 trials of `ranks` gave 5.0% at 20, 3.6% at 40, 2.8% at
# 100, queries that have nothing to do with each other.
@pytest.mark.parametrize(("queries", "most"), [(MINIMUM_THREADS, 0.07), (100, 0.05)])
@pytest.mark.parametrize("draw", [noise, ranks])
def test_what_is_no_better_rarely_ships(
    draw: Callable[[np.random.Generator, int], tuple[np.ndarray, np.ndarray]],
    queries: int,
    most: float,
) -> None:
    random = np.random.default_rng(0)
    trials = 200
    shipped = 0
    for seed in range(trials):
        candidate, base = draw(random, queries)
        shipped += gate(1.0, metrics(candidate), metrics(base), QUICK, seed).ships_adapted
    assert shipped / trials < most, shipped
    assert shipped > 0, "a gate that never opens would pass, too"


def test_what_is_no_better_rarely_ships_by_people_and_the_llm_either() -> None:
    random = np.random.default_rng(0)
    trials, shipped = 200, 0
    for seed in range(trials):
        held = []
        for queries in (60, 100):
            (after, before), own = ranks(random, queries), [str(n) for n in range(queries)]
            # Of the ranks that gave nDCG@10; a hit is in the first ten.
            held.append(
                PairedMetrics(
                    metrics(after, (after > 0).astype(float)),
                    metrics(before, (before > 0).astype(float)),
                    own,
                )
            )
        shipped += decide(1.0, held[0], held[1], QUICK, seed).ships_adapted
    assert 0 < shipped < 0.05 * trials, shipped


def test_choosing_among_shares_and_asking_one_thread_often_ships_no_more() -> None:
    """Dev chooses among four shares that are no better; queries of a thread move together."""
    random = np.random.default_rng(0)
    trials, shipped, chosen = 200, 0, 0
    for seed in range(trials):
        each = 3
        base = random.random(each * 90)
        moved = np.repeat(random.random(90) < 0.5, each) * np.repeat(
            random.normal(0, 0.3, 90), each
        )
        shares = {0.0: base} | {
            share: base + share * moved + random.normal(0, 0.05, len(base))
            for share in (0.25, 0.5, 0.75, 1.0)
        }
        dev, test = slice(0, each * 30), slice(each * 30, None)
        alpha = choose_weight({share: metrics(values[dev]) for share, values in shares.items()})
        chosen += alpha > 0
        threads = [str(number // each) for number in range(each * 60)]
        held = PairedMetrics(metrics(shares[alpha][test]), metrics(base[test]), threads)
        verdict = decide(alpha, held, None, QUICK, seed)
        shipped += verdict.ships_adapted
    assert chosen > trials / 2, "dev is fooled often, so that test has to decide"
    assert 0 < shipped <= 0.05 * trials, shipped


def test_the_interval_covers_what_it_says() -> None:
    random = np.random.default_rng(1)
    trials, covered = 200, 0
    for seed in range(trials):
        base = random.random(80)
        system = base + 0.03 + random.normal(0, 0.2, 80)
        made = bootstrap(system, base, 0.95, 1000, seed)
        covered += made.low <= 0.03 <= made.high
    assert binomtest(covered, trials, 0.95).pvalue > 0.001, covered
