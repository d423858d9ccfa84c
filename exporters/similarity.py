"""Similarity of two encoders on the same texts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

DEPTH = 10
RECALL = "Recall@10"
LEAST_MEAN_COSINE = 0.99  # of INT8 to fp32
LEAST_HALF_COSINE = 0.999  # of half precision to fp32
LEAST_EXACT_COSINE = 0.9999  # of fp32 to fp32; below it, the models differ
MOST_LOST_RECALL = 0.005
QUERIES_BY_CHANCE = 3

Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Parity:
    """The mean and minimum, over the texts, of the cosine between a text's two vectors."""

    mean_cosine: float
    min_cosine: float


@dataclass(frozen=True)
class Encoded:
    """An encoder's vectors of the held-out texts, float32 (texts, d) each."""

    passages: Vectors
    queries: Vectors

    @property
    def all(self) -> Vectors:
        return np.concatenate([self.passages, self.queries])


def _no_metrics(rows: npt.NDArray[np.int64]) -> Mapping[str, float]:
    return {}


@dataclass(frozen=True)
class HeldOut:
    """The texts on which a step of the chain is measured.

    Attributes:
        passages: The passages that are searched for each query's answers.
        queries: The queries, none of which may have taken part in training.
        metrics: Maps the ten best passages of each query, int64 (queries, 10) with rows of
            `passages`, to the mean of each metric, 0 to 1, Recall@10 among them.
    """

    passages: Sequence[str]
    queries: Sequence[str] = ()
    metrics: Callable[[npt.NDArray[np.int64]], Mapping[str, float]] = field(default=_no_metrics)

    def measure(self, encoded: Encoded) -> Mapping[str, float]:
        """The metrics of an encoder; empty if there are no queries."""
        if not len(encoded.queries):
            return {}
        scores = encoded.queries @ encoded.passages.T
        best = np.argsort(-scores, axis=1, kind="stable")[:, :DEPTH]
        return self.metrics(best.astype(np.int64))

    @property
    def lost_recall_limit(self) -> float:
        """The allowed loss of Recall@10: 0.5 points, or three queries if there are fewer than 600.

        Any rounding moves a few hits across rank 10 in either direction. With few queries, two or
        three are therefore lost by chance, whatever the setting.
        """
        return max(MOST_LOST_RECALL, QUERIES_BY_CHANCE / max(1, len(self.queries)))


@dataclass(frozen=True)
class Measured:
    """The measurement of one file of the chain.

    Attributes:
        parity: Parity with `before`; None for the first file.
        metrics: See `HeldOut`.
        least_mean_cosine: If the mean cosine is below it, the step has lost too much.
        before: The file that this one is compared with; None for the first file.
    """

    file: str
    parity: Parity | None
    metrics: Mapping[str, float]
    least_mean_cosine: float
    before: str | None = None

    def loss(self, before: "Measured", held_out: HeldOut) -> str | None:
        """What this step loses beyond its limits, in words for the user; None if it keeps them."""
        if self.parity is not None and self.parity.mean_cosine < self.least_mean_cosine:
            return f"mean cosine {self.parity.mean_cosine:.4f}, below {self.least_mean_cosine}"
        if RECALL in self.metrics:
            lost = before.metrics[RECALL] - self.metrics[RECALL]
            if lost > held_out.lost_recall_limit + 1e-9:  # tolerance for floating-point sums
                return f"{100 * lost:.1f} points of {RECALL} on {len(held_out.queries)} queries"
        return None


def compare(reference: Vectors, other: Vectors) -> Parity:
    """Compare two encoders' vectors of the same texts.

    Args:
        reference: Shape (n, d), n at least 1. Rows may have any length except 0.
        other: The same shape, with rows in the same order.

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
