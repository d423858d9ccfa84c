"""What the loss is computed over: queries against passages, and which of these don't count."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class NegativeMask:
    """Which passages are no negatives of which queries, in memory of O(batch).

    Passage j is masked for query i where any label of theirs is equal, or j is among `excluded[i]`.
    The positive itself is never masked.

    Attributes:
        query_labels: int64, shape (queries, labels): the positive's thread and near-duplicate group.
        passage_labels: int64, shape (passages, labels).
        excluded: int64, shape (queries, width): passage positions, filled up with -1.
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
class Contrast:
    """Queries against passages. The logit of a cell is its dot product over the temperature.

    Attributes:
        queries: float32, shape (queries, dimensions).
        passages: float32, shape (passages, dimensions).
        positives: int64, shape (queries,): positions in `passages`.
        scores: Dot products with the positives, shape (queries,).
        margin: Negatives that exceed the positive's score by more than this don't count.
    """

    queries: Tensor
    passages: Tensor
    positives: Tensor
    scores: Tensor
    temperature: float
    mask: NegativeMask | None
    margin: float | None
