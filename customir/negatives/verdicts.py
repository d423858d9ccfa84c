"""Verdicts on candidates for hard negatives, by a judge that is used only if it measures well."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from customir.negatives.calibration import Calibration, calibrate, calibration_pairs
from customir.workspace.passages import Passage
from customir.workspace.queries import Query, Verdict


@dataclass(frozen=True)
class Judged:
    """The judge's scores of candidates.

    Attributes:
        calibration: How well the judge distinguishes relevant passages from others; None without a
            judge.
        candidates: For each query the scores of its candidates, in nats; None without a judge, or if
            its calibration is too poor.
    """

    calibration: Calibration | None
    candidates: list[list[float]] | None

    def of(self, query: int, rank: int) -> tuple[float | None, Verdict]:
        """Score and verdict for a query's candidate; without a judge all candidates are negatives."""
        if self.candidates is None or self.calibration is None:
            return None, "negative"
        score = self.candidates[query][rank]
        return score, self.calibration.verdict(score)


UNJUDGED = Judged(None, None)


def judge_candidates(
    queries: Sequence[Query],
    passages: Sequence[Passage],
    candidates: Sequence[Sequence[Passage]],
    scores: Callable[[Sequence[tuple[Query, Passage]]], np.ndarray],
    required_auc: float,
    seed: int,
) -> Judged:
    """Calibrate the judge on known positives, random and near passages; use it if it is good enough.

    Args:
        candidates: The candidates of each query, hardest first.
        scores: The judge: float64 (n,), in nats.
    """
    known, random = calibration_pairs(queries, passages, seed)
    of_query = dict(zip((query.key for query in queries), candidates, strict=True))
    near = [(query, of_query[query.key][0]) for query, _ in known if of_query[query.key]]
    calibration = calibrate(scores(known), scores(random), required_auc, scores(near))
    if not calibration.used:
        return Judged(calibration, None)
    pairs = [(query, p) for query, mined in zip(queries, candidates, strict=True) for p in mined]
    flat = iter(scores(pairs).tolist())
    return Judged(calibration, [[next(flat) for _ in mined] for mined in candidates])
