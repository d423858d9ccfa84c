import pytest

from customir.runtime.fusion import WORD_WEIGHT, fuse


def test_scores_are_cosines_and_a_weighted_share_of_the_words() -> None:
    fused = fuse({"a": 0.5, "b": 0.4, "c": 0.3}, {"b": 1.0, "c": 0.2})
    assert [key for key, _ in fused] == ["b", "a", "c"]
    assert dict(fused) == pytest.approx(
        {"a": 0.5, "b": 0.4 + WORD_WEIGHT, "c": 0.3 + 0.2 * WORD_WEIGHT}
    )


def test_equal_scores_are_in_the_names_order() -> None:
    assert [key for key, _ in fuse({"b": 0.1, "a": 0.1}, {})] == ["a", "b"]
    assert [row for row, _ in fuse({10: 0.1, 9: 0.1}, {})] == [9, 10]


def test_nothing_in_nothing_out() -> None:
    assert fuse({}, {}) == []
