"""The inputs of the loss: queries, passages, and which pairs are negatives."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class NegativeMask:
    """Which passages are not negatives of which queries, in O(batch) memory.

    Passage j is masked for query i if they share a label, or if j is among `excluded[i]`. The
    positive itself is never masked.

    Attributes:
        query_labels: The labels of each query's positive, which are its thread and its
            near-duplicate group; int64, shape (queries, labels).
        passage_labels: The labels of each passage; int64, shape (passages, labels).
        excluded: Positions in the passages, padded with -1; int64, shape (queries, width).
    """

    query_labels: Tensor
    passage_labels: Tensor
    excluded: Tensor

    def to(self, device: torch.device) -> "NegativeMask":
        """The same mask on `device`."""
        return NegativeMask(
            self.query_labels.to(device), self.passage_labels.to(device), self.excluded.to(device)
        )


@dataclass(frozen=True)
class ContrastiveInputs:
    """Queries and passages. A logit is the dot product of one of each, divided by the temperature.

    Attributes:
        queries: float32, shape (queries, dimensions).
        passages: float32, shape (passages, dimensions).
        positives: int64, shape (queries,): positions in `passages`.
        scores: Dot products with the positives, shape (queries,).
        margin: A passage that exceeds the positive's score by more than this is not a negative.
    """

    queries: Tensor
    passages: Tensor
    positives: Tensor
    scores: Tensor
    temperature: float
    mask: NegativeMask | None
    margin: float | None
