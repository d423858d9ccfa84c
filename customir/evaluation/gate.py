"""The gate: what ships is the base, unless something is surely better on held-out queries."""

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
class Held:
    """Candidate and base on the same held-out queries, and the thread of each query's passage."""

    candidate: Metrics
    base: Metrics
    threads: Sequence[str]


@dataclass(frozen=True)
class Verdict:
    """What ships and why.

    Attributes:
        alpha: Share of the adapter's weights in the model that ships; 0 is the base.
        reason: One sentence for the report.
        differences: Of the candidate against the base on the LLM's test queries, by metric name.
    """

    alpha: float
    reason: str
    differences: Mapping[str, Difference]

    @property
    def ships_adapted(self) -> bool:
        return self.alpha > 0


def choose_alpha(dev: Mapping[float, Metrics]) -> float:
    """The alpha with the best mean nDCG@10 on the dev queries; of equals, the nearest to the base."""
    return max(sorted(dev), key=lambda alpha: (float(np.mean(dev[alpha][CHOOSING])), -alpha))


def decide(
    alpha: float, written: Held, free: Held | None, settings: EvaluationSettings, seed: int
) -> Verdict:
    """Whether the candidate ships: what people wrote decides, and what the LLM wrote must not object.

    On the free queries, nDCG@10 or Recall@10 has to be surely better, and neither surely worse. On
    the LLM's, which mostly took no part in training, nDCG@10 has to be higher, and neither surely
    worse. Without free queries, both have to be surely better on the LLM's: a small gain on these
    can be a loss on people's (docs/evaluation.md).

    All are test queries, which took no part in choosing `alpha`: one comparison, so the interval
    needs no correction for the number of alphas.

    Args:
        written: On the LLM's queries.
        free: On the corpus' own free queries; None where there are too few.
    """
    found = len(set(written.threads))
    if alpha == 0:
        return Verdict(0.0, "No share of the adapter beat the base on the dev queries.", {})
    if found < MINIMUM_THREADS:
        return Verdict(
            0.0,
            f"The test queries come from only {found} threads; the gate needs {MINIMUM_THREADS} "
            "to decide. Sample more passages, or give a larger corpus.",
            {},
        )
    differences = _differences(written, settings, seed)
    reason = f"on the LLM's queries {_said(differences, settings)}"
    ships = all(gain.significantly_better for gain in differences.values())
    if free is not None:
        by_people = _differences(free, settings, seed)
        reason += f"; on people's {_said(by_people, settings)}"
        ships = (
            any(gain.significantly_better for gain in by_people.values())
            and differences[CHOOSING].mean > 0
            and not any(
                gain.significantly_worse for gain in (*by_people.values(), *differences.values())
            )
        )
    if not ships:
        return Verdict(0.0, f"Not surely better than the base: {reason}.", differences)
    return Verdict(alpha, f"Surely better than the base: {reason}.", differences)


def _differences(held: Held, settings: EvaluationSettings, seed: int) -> dict[str, Difference]:
    return {
        name: paired_difference(
            held.candidate[name],
            held.base[name],
            held.threads,
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
