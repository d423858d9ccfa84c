"""The gate: the base ships, unless a candidate is significantly better on held-out queries."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from customir.evaluation.significance import Difference, paired_difference
from customir.settings import EvaluationSettings

DECIDING = ("nDCG@10", "Recall@10")
CHOOSING = "nDCG@10"
# With fewer threads in the test part, the bootstrap's interval is too narrow: in simulations of
# sparse rank changes without any signal, 5.0% of candidates shipped at 20, 3.6% at 40.
MINIMUM_THREADS = 25

Metrics = Mapping[str, np.ndarray]
"""By metric name, float64 (queries,)."""


@dataclass(frozen=True)
class PairedMetrics:
    """Candidate and base on the same held-out queries, and the thread of each query's passage."""

    candidate: Metrics
    base: Metrics
    threads: Sequence[str]


@dataclass(frozen=True)
class Verdict:
    """What ships and why.

    Attributes:
        weight: Interpolation weight of the adapter in the model that ships; 0 is the base.
        reason: One sentence for the report.
        differences: The candidate's differences from the base on the LLM's test queries, by metric
            name.
        missing: The evidence for the candidate that is missing, one sentence each.
    """

    weight: float
    reason: str
    differences: Mapping[str, Difference]
    missing: Sequence[str] = ()

    @property
    def ships_adapted(self) -> bool:
        """Whether the adapted model ships."""
        return self.weight > 0


def choose_weight(dev: Mapping[float, Metrics]) -> float:
    """The weight with the best mean nDCG@10 on the dev queries; the smallest one of equals."""
    return max(sorted(dev), key=lambda weight: (float(np.mean(dev[weight][CHOOSING])), -weight))


def decide(
    weight: float,
    written: PairedMetrics,
    pairs: PairedMetrics | None,
    settings: EvaluationSettings,
    seed: int,
) -> Verdict:
    """Decide whether the candidate ships: people's queries decide, and the LLM's must not object.

    On the self-supervised queries, nDCG@10 or Recall@10 has to be significantly better, and neither
    may be significantly worse. On the LLM's queries, most of which took no part in training,
    nDCG@10 has to be higher, and neither metric may be significantly worse. Without self-supervised
    queries, both metrics have to be significantly better on the LLM's queries, because a small gain
    on these can be a loss on people's.

    All of them are test queries, which took no part in choosing the weight. So there is only one
    comparison, and the interval needs no correction for the number of weights.

    Args:
        weight: The interpolation weight that was chosen on the dev queries.
        written: The metrics on the LLM's queries.
        pairs: The metrics on self-supervised queries; None if there are too few.
    """
    threads = len(set(written.threads))
    if weight == 0:
        return Verdict(0.0, "No interpolation weight beat the base on the dev queries.", {})
    if threads < MINIMUM_THREADS:
        return Verdict(
            0.0,
            f"The test queries come from only {threads} threads; the gate needs {MINIMUM_THREADS} "
            "to decide. Sample more passages, or use a larger corpus.",
            {},
        )
    differences = _differences(written, settings, seed)
    reason = f"on the LLM's queries {_said(differences, settings)}"
    if pairs is None:
        missing = _missing_without_people(differences)
    else:
        by_people = _differences(pairs, settings, seed)
        reason += f"; on people's queries {_said(by_people, settings)}"
        missing = _missing(by_people, differences)
    if missing:
        return Verdict(
            0.0, f"Not significantly better than the base: {reason}.", differences, missing
        )
    return Verdict(weight, f"Significantly better than the base: {reason}.", differences)


def _missing(by_people: Mapping[str, Difference], written: Mapping[str, Difference]) -> list[str]:
    """The evidence required to ship that people's and the LLM's queries do not give."""
    missing = []
    if not any(gain.significantly_better for gain in by_people.values()):
        missing.append(
            f"On the queries that people wrote, neither {' nor '.join(by_people)} rose by more than "
            "chance can explain."
        )
    if written[CHOOSING].mean <= 0:
        missing.append(f"On the queries that the LLM wrote, {CHOOSING} did not rise.")
    for writer, gains in (("people", by_people), ("the LLM", written)):
        missing += [
            f"On the queries that {writer} wrote, {name} fell by more than chance can explain."
            for name, gain in gains.items()
            if gain.significantly_worse
        ]
    return missing


def _missing_without_people(written: Mapping[str, Difference]) -> list[str]:
    """The same if there are only the LLM's queries, which then have to give all the evidence."""
    return [
        f"On the queries that the LLM wrote, {name} did not rise by more than chance can explain."
        for name, gain in written.items()
        if not gain.significantly_better
    ]


def _differences(
    metrics: PairedMetrics, settings: EvaluationSettings, seed: int
) -> dict[str, Difference]:
    return {
        name: paired_difference(
            metrics.candidate[name],
            metrics.base[name],
            metrics.threads,
            settings.confidence,
            settings.resamples,
            seed,
        )
        for name in DECIDING
    }


def _said(differences: Mapping[str, Difference], settings: EvaluationSettings) -> str:
    percent = round(100 * settings.confidence)
    return ", ".join(
        f"{name} {gain.mean:+.3f} ({percent}% interval {gain.low:+.3f} to {gain.high:+.3f})"
        for name, gain in differences.items()
    )
