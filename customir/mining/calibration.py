"""The judge is measured before it is believed: known positives against random passages."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import mannwhitneyu

from customir.corpus.document import Passage
from customir.workspace import content_key
from customir.workspace.queries import Query

PAIRS = 150
NONE = np.empty(0)


@dataclass(frozen=True)
class Calibration:
    """How well the judge tells a query's own passage from a random one.

    Attributes:
        auc: Area under the ROC curve (Mann-Whitney), 0.5 is chance.
        threshold: Score in nats at and above which a candidate counts as relevant.
        true_positive_rate, false_positive_rate: At the threshold.
        pairs: Of each kind.
        used: Whether `auc` reached the required one.
        near_auc: Area against the hardest candidates, of which some are relevant without anybody
            having said so; None without any.
        near_positive_rate: The share of them at and above the threshold.
        roc: The curve: false and true positive rate at each threshold, rising.
    """

    auc: float
    threshold: float
    true_positive_rate: float
    false_positive_rate: float
    pairs: int
    used: bool
    near_auc: float | None = None
    near_positive_rate: float | None = None
    roc: tuple[tuple[float, float], ...] = ()


def calibration_pairs(
    queries: Sequence[Query], passages: Sequence[Passage], seed: int
) -> tuple[list[tuple[Query, Passage]], list[tuple[Query, Passage]]]:
    """Known positives, and the same queries with passages of other threads and groups.

    Both are drawn by content: the same queries give the same pairs. A query's random passage is
    the next one on the circle of hashes, so that a corpus that grows changes few pairs.
    """
    by_key = {passage.key: passage for passage in passages}
    placed = sorted((content_key("calibration", seed, p.key), p.key) for p in passages)
    ordered = [by_key[key] for _, key in placed]
    chosen = sorted(queries, key=lambda q: content_key("calibration", seed, q.key))[:PAIRS]
    known, random = [], []
    for query in chosen:
        own = by_key[query.passage]
        start = bisect_left(placed, (content_key("calibration", seed, query.key), ""))
        for step in range(len(ordered)):
            other = ordered[(start + step) % len(ordered)]
            if other.thread != own.thread and other.duplicates != own.duplicates:
                known.append((query, own))
                random.append((query, other))
                break
    return known, random


def calibrate(
    known: np.ndarray, random: np.ndarray, required_auc: float, near: np.ndarray = NONE
) -> Calibration:
    """Rates and threshold from the scores of known positives and of random passages.

    The threshold is where the true positive rate is furthest above the false positive rate
    (Youden 1950, J = TPR - FPR).

    Args:
        known: float64 (n,), scores of relevant pairs, in nats.
        random: float64 (m,), of random pairs.
        near: float64 (k,), of hard candidates; these are reported and decide nothing.
    """
    if not len(known) or not len(random):
        return Calibration(0.5, float("inf"), 0.0, 0.0, 0, used=False)
    auc = _area(known, random)
    thresholds = np.unique(np.concatenate([known, random]))
    true_rates = (known[None, :] >= thresholds[:, None]).mean(axis=1)
    false_rates = (random[None, :] >= thresholds[:, None]).mean(axis=1)
    best = int(np.argmax(true_rates - false_rates))
    near_rate = float((near >= thresholds[best]).mean()) if len(near) else None
    return Calibration(
        auc=auc,
        threshold=float(thresholds[best]),
        true_positive_rate=float(true_rates[best]),
        false_positive_rate=float(false_rates[best]),
        pairs=len(known),
        used=auc >= required_auc,
        near_auc=_area(known, near) if len(near) else None,
        near_positive_rate=near_rate,
        roc=((0.0, 0.0), *zip(false_rates[::-1].tolist(), true_rates[::-1].tolist(), strict=True)),
    )


def _area(known: np.ndarray, others: np.ndarray) -> float:
    """Area under the ROC curve: how often a known positive scores above another, ties half."""
    return float(mannwhitneyu(known, others).statistic) / (len(known) * len(others))
