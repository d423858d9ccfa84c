import numpy as np
import pytest

from customir.runtime.fusion import SAMPLE, WORD_WEIGHT, cosine_std, fuse, sample


def test_scores_are_cosines_and_a_weighted_share_of_the_words() -> None:
    fused = fuse({"a": 0.5, "b": 0.4, "c": 0.3}, {"b": 1.0, "c": 0.2}, 0.1)
    assert [key for key, _ in fused] == ["b", "a", "c"]
    assert dict(fused) == pytest.approx(
        {"a": 0.5, "b": 0.4 + 0.1 * WORD_WEIGHT, "c": 0.3 + 0.02 * WORD_WEIGHT}
    )


def test_equal_scores_are_in_the_names_order() -> None:
    assert [key for key, _ in fuse({"b": 0.1, "a": 0.1}, {}, 0.1)] == ["a", "b"]
    assert [row for row, _ in fuse({10: 0.1, 9: 0.1}, {}, 0.1)] == [9, 10]


def test_nothing_in_nothing_out() -> None:
    assert fuse({}, {}, 0.0) == []


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def test_cosines_that_lie_closer_together_give_the_same_order() -> None:
    random = np.random.default_rng(0)
    vectors = unit(random.standard_normal((60, 16)))
    squeezed = unit(np.hstack([vectors, np.full((60, 1), 3.0)]))
    shares = dict(enumerate(random.random(59)))
    orders = []
    for asked, *passages in (vectors, squeezed):
        held = np.array(passages)
        cosines = dict(enumerate((held @ asked).tolist()))
        orders.append([row for row, _ in fuse(cosines, shares, cosine_std(held))])
    assert cosine_std(squeezed) < cosine_std(vectors) / 5
    assert orders[0] == orders[1]


def test_the_spread_is_that_of_all_pairs() -> None:
    vectors = unit(np.random.default_rng(1).standard_normal((20, 8)))
    pairs = [vectors[a] @ vectors[b] for a in range(20) for b in range(a)]
    assert cosine_std(vectors) == pytest.approx(np.std(pairs), rel=1e-5)
    assert cosine_std(vectors[:1]) == cosine_std(vectors[:0]) == 0


@pytest.mark.parametrize("count", [0, 1, 2, SAMPLE, 12345])
def test_the_sample_is_spread_over_all(count: int) -> None:
    places = sample(count).tolist()
    assert sample(count).dtype == np.int64
    assert len(set(places)) == len(places) == min(count, SAMPLE)
    assert places[:1] == [0][:count]
    assert places[-1:] == [count - 1][:count]
