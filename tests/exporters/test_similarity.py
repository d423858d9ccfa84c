import numpy as np
import pytest
from customir.exporters.similarity import Encoded, HeldOut, Measured, Parity, compare


def test_mean_and_minimum_of_the_cosines() -> None:
    reference = np.array([[1, 0], [2, 0]], dtype=np.float32)
    other = np.array([[3, 0], [1, 1]], dtype=np.float32)

    parity = compare(reference, other)

    assert parity.mean_cosine == pytest.approx((1 + 0.5**0.5) / 2)
    assert parity.min_cosine == pytest.approx(0.5**0.5)


def test_unequal_shapes_and_no_texts_are_refused() -> None:
    with pytest.raises(ValueError, match="shapes"):
        compare(np.ones((2, 3), np.float32), np.ones((3, 3), np.float32))
    with pytest.raises(ValueError, match="shapes"):
        compare(np.ones((0, 3), np.float32), np.ones((0, 3), np.float32))


def found(rows: np.ndarray) -> dict[str, float]:
    """Recall@10 where passage i answers query i."""
    return {"Recall@10": float(np.mean([number in hits for number, hits in enumerate(rows)]))}


def test_recall_is_measured_on_the_ten_best() -> None:
    passages = np.eye(30, dtype=np.float32)
    queries = np.eye(30, dtype=np.float32)[[0, 1, 20]]  # the third asks for another passage
    held_out = HeldOut([""] * 30, [""] * 3, found)
    assert held_out.measure(Encoded(passages, queries)) == {"Recall@10": 1.0}  # equal scores by row
    queries[2] = -np.eye(30, dtype=np.float32)[2]
    assert held_out.measure(Encoded(passages, queries)) == {"Recall@10": pytest.approx(2 / 3)}
    assert HeldOut([""]).measure(Encoded(passages, queries[:0])) == {}


@pytest.mark.parametrize(
    ("queries", "lost", "cosine", "expected"),
    [
        (1000, 0.005, 0.991, None),
        (1000, 0.006, 0.991, "0.6 points of Recall@10 on 1000 queries"),
        (20, 0.15, 0.991, None),  # three queries of twenty
        (20, 0.2, 0.991, "20.0 points of Recall@10 on 20 queries"),
        (1000, -0.1, 0.989, "mean cosine 0.9890, below 0.99"),
    ],
)
def test_limits(queries: int, lost: float, cosine: float, expected: str | None) -> None:
    before = Measured("a", None, {"Recall@10": 0.8}, 0.99)
    after = Measured("b", Parity(cosine, 0.9), {"Recall@10": 0.8 - lost}, 0.99)
    assert after.loss(before, HeldOut(["p"], ["q"] * queries)) == expected
