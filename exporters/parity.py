"""How near two encoders are to each other, on the same texts."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Parity:
    """Cosine between the two vectors of each text: its mean and minimum over the texts."""

    mean_cosine: float
    min_cosine: float


def compare(reference: npt.NDArray[np.float32], other: npt.NDArray[np.float32]) -> Parity:
    """Compare two encoders' vectors of the same texts.

    Args:
        reference: Shape (n, d), n at least 1; rows need not be of length 1, but not of length 0.
        other: The same shape, rows in the same order.

    Raises:
        ValueError: the shapes differ or are empty.
    """
    if reference.shape != other.shape or reference.ndim != 2 or not len(reference):
        raise ValueError(f"cannot compare vectors of shapes {reference.shape} and {other.shape}")
    left = reference.astype(np.float64)
    right = other.astype(np.float64)
    lengths = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    cosines = (left * right).sum(axis=1) / lengths
    return Parity(mean_cosine=float(cosines.mean()), min_cosine=float(cosines.min()))
