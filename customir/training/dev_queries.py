"""Recall@10 on dev queries, the metric of early stopping."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from customir.encoder.torch_encoder import Encoder

DEPTH = 10


@dataclass(frozen=True)
class DevQueries:
    """Queries of dev threads, which are never trained on.

    Attributes:
        passages: The passages that are searched.
        relevant: Positions in `passages` of each query's answers, at least one per query.
    """

    queries: Sequence[str]
    passages: Sequence[str]
    relevant: Sequence[frozenset[int]]


def recall(encoder: Encoder, dev: DevQueries, passages: np.ndarray | None = None) -> float:
    """Mean share of the relevant passages that are among the ten nearest, 0 to 1.

    Args:
        passages: Vectors of the passages, float32 (passages, dimensions). If None, `encoder`
            computes them.
    """
    if passages is None:
        passages = encoder.encode(dev.passages, "passage")
    queries = encoder.encode(dev.queries, "query")
    found = np.argsort(-(queries @ passages.T), axis=1, kind="stable")[:, :DEPTH]
    shares = [
        len(relevant.intersection(row)) / len(relevant)
        for row, relevant in zip(found.tolist(), dev.relevant, strict=True)
    ]
    return float(np.mean(shares))
