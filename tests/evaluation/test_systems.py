"""BM25's shares and the two fusions, against the formulas written out."""

import numpy as np
import pytest

from customir.evaluation.systems import ByWords, fuse_with_words, rank_by_words
from customir.retrieval.bm25 import Bm25
from customir.runtime.fusion import WORD_WEIGHT, cosine_std

PASSAGES = ["pump oil", "pump gate", "the roof of the garden house", "gate"]


def test_shares_are_scores_over_the_most_that_they_can_be() -> None:
    queries = ["pump oil", "gate", "zebra", "pump oil and many words that nobody here ever wrote"]
    found = rank_by_words(queries, PASSAGES)
    assert [sorted(rows.tolist()) for rows in found.rows] == [[0, 1], [1, 3], [], [0, 1]]
    index = Bm25(PASSAGES)
    limits = index.limits(queries)
    for number, (rows, shares) in enumerate(zip(found.rows, found.shares, strict=True)):
        scores = index.top([queries[number]], len(PASSAGES))[1][0][: len(rows)]
        np.testing.assert_allclose(shares, scores / limits[number], rtol=1e-5)
        assert ((shares > 0) & (shares < 1)).all()
    assert found.shares[0][0] > 2 * found.shares[3][0], "of a long question, few have much"


def test_the_fusions_are_what_their_formulas_say() -> None:
    queries = np.array([[1, 0], [0, 1]], dtype=np.float32)
    passages = np.array([[0.9, 0.1], [0.5, 0.5], [0.1, 0.9]], dtype=np.float32)
    by_words = ByWords(
        [np.array([2, 1]), np.array([], dtype=np.int64)], [np.array([0.9, 0.2]), np.array([])]
    )
    fused = fuse_with_words(queries, passages, by_words)
    factor = WORD_WEIGHT * cosine_std(passages)
    expected = [0.9, 0.5 + 0.2 * factor, 0.1 + 0.9 * factor]
    assert fused.hybrid[0].tolist() == np.argsort(-np.array(expected)).tolist()
    by_ranks = [1 / 61, 1 / 62 + 1 / 62, 1 / 63 + 1 / 61]
    assert fused.rrf[0].tolist() == np.argsort(-np.array(by_ranks)).tolist()
    for rankings in (fused.hybrid, fused.rrf):
        assert rankings[1].tolist() == [2, 1, 0], "without a word, the vectors' order"
    assert set(fused.of("base")) == {"RRF of BM25 and base", "hybrid of BM25 and base"}


@pytest.mark.parametrize(("weight", "first"), [(0.0, False), (100.0, True)])
def test_what_only_words_find_has_its_own_cosine(weight: float, first: bool) -> None:
    random = np.random.default_rng(0)
    passages = random.standard_normal((300, 8)).astype(np.float32)
    passages /= np.linalg.norm(passages, axis=1, keepdims=True)
    query = passages[:1]
    farthest = int(np.argmin(passages @ query[0]))
    words = ByWords([np.array([farthest])], [np.array([0.5])])
    (ranking,) = fuse_with_words(query, passages, words, weight).hybrid
    assert bool(ranking[0] == farthest) is first
    assert (farthest in ranking.tolist()) is first
    assert len(ranking) == 100


@pytest.mark.parametrize("queries", [[], ["the"], ["zebra"]])
def test_nothing_to_find(queries: list[str]) -> None:
    found = rank_by_words(queries, PASSAGES)
    assert [rows.tolist() for rows in found.rows] == [[] for _ in queries]
