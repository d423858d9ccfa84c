import numpy as np
import pytest
from customir.exporters.parity import compare


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
