"""Teachers' scores in one unit."""

import numpy as np
import pytest

from customir.mining.teachers import added, cosines, standardised
from customir.retrieval.bm25 import Bm25


def test_scores_are_divided_by_their_spread_within_lists() -> None:
    # Deviations -1, 1, -3, 3: their root mean square is the root of 5.
    found = standardised([[10.0, 12.0], [100.0, 106.0], [7.0]])
    spread = 5**0.5
    assert found == [
        pytest.approx([10 / spread, 12 / spread]),
        pytest.approx([100 / spread, 106 / spread]),
        pytest.approx([7 / spread]),
    ]
    assert standardised([[3.0, 3.0]]) == [[3.0, 3.0]]
    assert standardised([]) == []


def test_cosines_are_of_each_querys_own_list() -> None:
    passages = np.eye(3, dtype=np.float32)
    queries = np.array([[1, 0, 0], [0, 0.6, 0.8]], dtype=np.float32)
    assert cosines(queries, passages, [[2, 0], [1, 2]]) == [[0.0, 1.0], pytest.approx([0.6, 0.8])]


def test_bm25_scores_are_those_of_its_ranking() -> None:
    passages = ["the pump in hall two squeaks", "hall keys", "oil for the pump, oil for all"]
    index = Bm25(passages)
    queries = ["oil pump", "keys", "nothing of it"]
    rows, scores = index.top(queries, 3)
    for number, found in enumerate(index.scores(queries, [[0, 1, 2]] * 3)):
        wanted = dict(zip(rows[number].tolist(), scores[number].tolist(), strict=True))
        assert found == pytest.approx([wanted[row] for row in range(3)])
    assert Bm25([""]).scores(["oil"], [[0]]) == [[0.0]]


def test_two_teachers_are_added() -> None:
    assert added([[1.0, 2.0]], [[0.5, -2.0]]) == [[1.5, 0.0]]
