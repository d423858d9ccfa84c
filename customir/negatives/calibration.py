"""Calibration of the judge: known positives against random and near passages.

The judge is used only if it separates them well enough.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import mannwhitneyu

from customir.workspace import content_key
from customir.workspace.passages import Passage
from customir.workspace.queries import Query, Verdict

PAIRS = 150
# This share of mined candidates may be relevant but unlabelled (arXiv 2510.21729).
RELEVANT_CANDIDATES = 0.32
# The maximum share of random pairs above the ambiguous band, and of known positives below it.
TAIL = 0.05
NONE = np.empty(0)


@dataclass(frozen=True)
class Calibration:
    """How well the judge distinguishes a query's own passage from others.

    Attributes:
        auc: Area under the ROC curve against random passages (Mann-Whitney); 0.5 is chance.
        threshold: Score in nats that separates them best.
        true_positive_rate, false_positive_rate: The rates at the threshold.
        low, high: Candidates that score between them are ambiguous.
        pairs: Number of pairs of each kind.
        used: Whether both areas reach their required values.
        near_auc: Area against the hardest candidates, some of which are relevant but unlabelled;
            None if there are no candidates.
        near_positive_rate: Share of these candidates that score at or above the threshold; None if
            there are none.
        roc: The ROC curve: false and true positive rate at each threshold, in ascending order.
    """

    auc: float
    threshold: float
    true_positive_rate: float
    false_positive_rate: float
    low: float
    high: float
    pairs: int
    used: bool
    near_auc: float | None = None
    near_positive_rate: float | None = None
    roc: tuple[tuple[float, float], ...] = ()

    def verdict(self, score: float) -> Verdict:
        """The verdict on a candidate with this score."""
        if score >= self.high:
            return "relevant"
        return "negative" if score < self.low else "ambiguous"


def calibration_pairs(
    queries: Sequence[Query], passages: Sequence[Passage], seed: int
) -> tuple[list[tuple[Query, Passage]], list[tuple[Query, Passage]]]:
    """Known positives, and the same queries with passages of other threads and groups.

    Both are pseudo-random and depend only on content, so the same queries give the same pairs. A
    query's random passage is the next one on the circle of hashes, so that a growing corpus changes
    only a few pairs.
    """

    def place(item: Query | Passage) -> str:
        return content_key("calibration", seed, item.key)

    by_key = {passage.key: passage for passage in passages}
    ordered = sorted(passages, key=place)
    chosen = sorted(queries, key=place)[:PAIRS]
    known, random = [], []
    for query in chosen:
        own = by_key[query.passage]
        start = bisect_left(ordered, place(query), key=place)
        for step in range(len(ordered)):
            other = ordered[(start + step) % len(ordered)]
            if other.thread != own.thread and other.duplicates != own.duplicates:
                known.append((query, own))
                random.append((query, other))
                break
    return known, random


def calibrate(
    known: np.ndarray,
    random: np.ndarray,
    required_auc: float,
    near: np.ndarray = NONE,
) -> Calibration:
    """Rates and thresholds from the scores of known positives and of other passages.

    The threshold maximises the true positive rate minus the false positive rate (Youden 1950,
    J = TPR - FPR). The share TAIL of the known positives scores below `low`, and the share TAIL of
    the random pairs scores above `high`. If the judge separates them cleanly, both are the
    threshold.

    Args:
        known: float64 (n,), scores of relevant pairs, in nats.
        random: float64 (m,), scores of random pairs.
        required_auc: The area against random passages that the judge must reach to be used. The
            area against near passages must reach `required_near_auc(required_auc)`.
        near: float64 (k,), scores of hard candidates.
    """
    if not len(known) or not len(random):
        nothing = float("inf")
        return Calibration(0.5, nothing, 0.0, 0.0, nothing, nothing, 0, used=False)
    auc = _area(known, random)
    near_auc = _area(known, near) if len(near) else None
    thresholds = np.unique(np.concatenate([known, random]))
    true_rates = (known[None, :] >= thresholds[:, None]).mean(axis=1)
    false_rates = (random[None, :] >= thresholds[:, None]).mean(axis=1)
    best = int(np.argmax(true_rates - false_rates))
    threshold = float(thresholds[best])
    return Calibration(
        auc=auc,
        threshold=threshold,
        true_positive_rate=float(true_rates[best]),
        false_positive_rate=float(false_rates[best]),
        low=min(threshold, float(np.quantile(known, TAIL))),
        high=max(threshold, float(np.quantile(random, 1 - TAIL))),
        pairs=len(known),
        used=auc >= required_auc
        and (near_auc is None or near_auc >= required_near_auc(required_auc)),
        near_auc=near_auc,
        near_positive_rate=float((near >= threshold).mean()) if len(near) else None,
        roc=((0.0, 0.0), *zip(false_rates[::-1].tolist(), true_rates[::-1].tolist(), strict=True)),
    )


def required_near_auc(required_auc: float) -> float:
    """The lowest measured area of a judge that reaches `required_auc` on irrelevant near passages.

    The share RELEVANT_CANDIDATES of the near passages may be relevant. Against these the judge's
    area is that of chance.
    """
    return 0.5 + (required_auc - 0.5) * (1 - RELEVANT_CANDIDATES)


def _area(known: np.ndarray, others: np.ndarray) -> float:
    """Area under the ROC curve: how often a known positive scores higher; ties count half."""
    return float(mannwhitneyu(known, others).statistic) / (len(known) * len(others))
