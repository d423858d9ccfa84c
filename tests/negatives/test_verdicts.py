"""What a measured judge's scores make of the candidates, with scores that are given."""

from collections.abc import Sequence

import numpy as np
import pytest

from customir.negatives.verdicts import UNJUDGED, judge_candidates
from customir.workspace.passages import Passage
from customir.workspace.queries import Query

PASSAGES = [Passage(f"p{n}", f"d{n}", 0, f"text {n}", f"p{n}", "", f"t{n}") for n in range(6)]
QUERIES = [Query(f"q{n}", f"p{n}", "need", f"query {n}", None, "train") for n in range(3)]
# The last query has no candidate that is not masked.
CANDIDATES = [[PASSAGES[3], PASSAGES[4]], [PASSAGES[5]], []]


def scores(pairs: Sequence[tuple[Query, Passage]]) -> np.ndarray:
    """9 for a query's own passage, and for p4, which was never said to be relevant; else 0."""
    return np.array([9.0 if p.key in (q.passage, "p4") else 0.0 for q, p in pairs])


def test_a_good_judge_masks_what_is_relevant() -> None:
    judged = judge_candidates(QUERIES, PASSAGES, CANDIDATES, scores, 0.75, 0)
    assert judged.calibration is not None
    assert judged.calibration.used
    assert judged.of(0, 0) == (0.0, "negative")
    assert judged.of(0, 1) == (9.0, "relevant")
    assert judged.of(1, 0) == (0.0, "negative")


def test_a_judge_that_tells_nothing_apart_is_measured_and_not_asked() -> None:
    asked = 0

    def alike(pairs: Sequence[tuple[Query, Passage]]) -> np.ndarray:
        nonlocal asked
        asked += len(pairs)
        return np.zeros(len(pairs))

    judged = judge_candidates(QUERIES, PASSAGES, CANDIDATES, alike, 0.75, 0)
    assert judged.calibration is not None
    assert judged.calibration.auc == pytest.approx(0.5)
    assert judged.of(0, 1) == (None, "negative")
    assert asked == 3 + 3 + 2, "known, random and near pairs alone"


def test_unjudged_candidates_are_negatives() -> None:
    assert UNJUDGED.of(0, 0) == (None, "negative")
