"""The judge's scores in one unit."""

import pytest

from customir.negatives.distillation_targets import distillation_targets
from customir.workspace.passages import Passage
from customir.workspace.queries import Query


def query(number: int) -> Query:
    return Query(f"q{number}", f"own{number}", "question", "?", None, "train")


def passage(key: str) -> Passage:
    return Passage(key, "document", 0, "text", "", "thread", key)


def test_scores_are_divided_by_their_spread_within_lists() -> None:
    # Deviations -1, 1, -3, 3: their root mean square is the root of 5.
    found = distillation_targets(
        [query(0), query(1), query(2)],
        [[passage("a")], [passage("b")], []],
        [[10.0, 12.0], [100.0, 106.0], [7.0]],
    )
    spread = 5**0.5
    assert found == {
        ("q0", "own0"): pytest.approx(10 / spread),
        ("q0", "a"): pytest.approx(12 / spread),
        ("q1", "own1"): pytest.approx(100 / spread),
        ("q1", "b"): pytest.approx(106 / spread),
        ("q2", "own2"): pytest.approx(7 / spread),
    }


def test_equal_scores_stay_as_they_are() -> None:
    assert distillation_targets([query(0)], [[passage("a")]], [[3.0, 3.0]]) == {
        ("q0", "own0"): 3.0,
        ("q0", "a"): 3.0,
    }
    assert distillation_targets([], [], []) == {}
