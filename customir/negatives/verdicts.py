"""Which candidates for hard negatives are kept: the judge, measured, then believed or not."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from customir.negatives.calibration import Calibration, calibrate, calibration_pairs
from customir.workspace.passages import Passage
from customir.workspace.queries import Query, Verdict


@dataclass(frozen=True)
class Judged:
    """What the LLM says of candidates.

    Attributes:
        calibration: How well it tells relevant passages from others; None where it isn't asked.
        candidates: Of each query the scores of its candidates, in nats; None where the judge
            isn't asked or isn't believed.
        own: Of each query the score of its own passage; None where that isn't asked for.
    """

    calibration: Calibration | None
    candidates: list[list[float]] | None
    own: list[float] | None

    def of(self, query: int, rank: int) -> tuple[float | None, Verdict]:
        """Score and verdict of a query's candidate; without a judge all are negatives."""
        if self.candidates is None or self.calibration is None:
            return None, "negative"
        score = self.candidates[query][rank]
        return score, self.calibration.verdict(score)

    def own_and_candidates(self) -> list[list[float]]:
        """Of each query the scores of its own passage and, after it, of its candidates."""
        return [
            [own, *others]
            for own, others in zip(self.own or [], self.candidates or [], strict=True)
        ]


UNJUDGED = Judged(None, None, None)


def judge_candidates(
    queries: Sequence[Query],
    passages: Sequence[Passage],
    candidates: Sequence[Sequence[Passage]],
    scores: Callable[[Sequence[tuple[Query, Passage]]], np.ndarray],
    required_auc: float,
    seed: int,
    *,
    own_too: bool,
) -> Judged:
    """Measure the judge on known positives, random and near passages; ask it where it is good enough.

    Args:
        candidates: Of each query, hardest first.
        scores: The judge: float64 (n,), in nats.
        own_too: Ask about each query's own passage as well.
    """
    known, random = calibration_pairs(queries, passages, seed)
    of_query = dict(zip((query.key for query in queries), candidates, strict=True))
    near = [(query, of_query[query.key][0]) for query, _ in known if of_query[query.key]]
    calibration = calibrate(scores(known), scores(random), required_auc, scores(near))
    if not calibration.used:
        return Judged(calibration, None, None)
    pairs = [(query, p) for query, mined in zip(queries, candidates, strict=True) for p in mined]
    flat = iter(scores(pairs).tolist())
    own = None
    if own_too:
        by_key = {passage.key: passage for passage in passages}
        own = scores([(query, by_key[query.passage]) for query in queries]).tolist()
    return Judged(calibration, [[next(flat) for _ in mined] for mined in candidates], own)
