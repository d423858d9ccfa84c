"""Whether the adapted model gives away what it was trained on: a membership inference test.

An attacker has a query and a passage, the base and the adapted model, and guesses from how much closer
the adapted model sees the two whether it was trained on them. The test makes the same guess for pairs
that were trained on and for held-out ones. Its result is the area under the ROC curve (Shokri et al.,
"Membership Inference Attacks Against Machine Learning Models", arXiv 1610.05820; Song and Raghunathan,
"Information Leakage in Embedding Models", arXiv 2004.00053).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

RESAMPLES = 1000
# With fewer, the interval covers nearly everything.
MINIMUM_PAIRS = 20

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class PairScores:
    """Pairs of a query and its passage.

    Attributes:
        styles: Of the queries; only pairs of the same style are compared with each other.
        threads: Of the passages.
        base, adapted: The cosine of each pair by the two models, float32 (pairs,).
    """

    styles: Sequence[str]
    threads: Sequence[str]
    base: Floats
    adapted: Floats


@dataclass(frozen=True)
class Membership:
    """The result of the test.

    Attributes:
        trained, held_out: How many pairs were compared.
        auc: The probability that a trained pair gained more than a held-out one; 0.5 is chance.
        low, high: The ends of its bootstrap interval.
        base_auc: The same by the base's cosine alone, which has seen neither: how much the two kinds of
            pairs differ by themselves.
    """

    trained: int
    held_out: int
    auc: float
    low: float
    high: float
    base_auc: float


def measure_membership(
    trained: PairScores, held_out: PairScores, confidence: float, seed: int
) -> Membership | None:
    """Compare the gains of trained and held-out pairs; None if there are too few of a kind.

    The interval is a percentile bootstrap that draws whole threads, because pairs of one thread gain
    together.

    Args:
        confidence: 0.95 gives the 2.5th and the 97.5th percentile.
    """
    if min(len(trained.styles), len(held_out.styles)) < MINIMUM_PAIRS:
        return None
    comparable = np.equal.outer(np.array(trained.styles), np.array(held_out.styles))
    same_style = comparable.astype(np.float32)
    if not same_style.any():
        return None
    wins = _wins(trained.adapted - trained.base, held_out.adapted - held_out.base) * same_style
    random = np.random.default_rng(seed)
    trained_weights = _bootstrap_weights(trained.threads, random)
    held_out_weights = _bootstrap_weights(held_out.threads, random)
    won = ((trained_weights @ wins) * held_out_weights).sum(1)
    compared = ((trained_weights @ same_style) * held_out_weights).sum(1)
    drawn = won[compared > 0] / compared[compared > 0]
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    base_wins = _wins(trained.base, held_out.base) * same_style
    return Membership(
        trained=len(trained.styles),
        held_out=len(held_out.styles),
        auc=float(wins.sum() / same_style.sum()),
        low=float(low),
        high=float(high),
        base_auc=float(base_wins.sum() / same_style.sum()),
    )


def _wins(trained: Floats, held_out: Floats) -> Floats:
    """1 where a trained pair's score is the higher one, 0.5 where they are equal; (trained, held out)."""
    difference = np.subtract.outer(trained, held_out)
    return ((np.sign(difference) + 1) / 2).astype(np.float32)


def _bootstrap_weights(threads: Sequence[str], random: np.random.Generator) -> Floats:
    """How often each pair is drawn in each resample, float32 (RESAMPLES, pairs)."""
    _, thread_of = np.unique(np.array(threads), return_inverse=True)
    count = int(thread_of.max()) + 1
    drawn = random.multinomial(count, np.full(count, 1 / count), size=RESAMPLES)
    weights: Floats = drawn[:, thread_of].astype(np.float32)
    return weights
