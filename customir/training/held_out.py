"""Recall@10 on held-out queries: what early stopping goes by."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from customir.encoder.torch_encoder import Encoder

DEPTH = 10


@dataclass(frozen=True)
class HeldOut:
    """Queries that are never trained on.

    Attributes:
        passages: Among which answers are looked for.
        relevant: Of each query, positions in `passages`; at least one.
    """

    queries: Sequence[str]
    passages: Sequence[str]
    relevant: Sequence[frozenset[int]]


def recall(encoder: Encoder, held_out: HeldOut, passages: np.ndarray | None = None) -> float:
    """Mean share of the relevant passages that are among the ten nearest, 0 to 1.

    Args:
        passages: Their vectors, float32 (passages, dimensions); None: by `encoder`.
    """
    if passages is None:
        passages = encoder.encode(held_out.passages, "passage")
    queries = encoder.encode(held_out.queries, "query")
    found = np.argsort(-(queries @ passages.T), axis=1, kind="stable")[:, :DEPTH]
    shares = [
        len(relevant.intersection(row)) / len(relevant)
        for row, relevant in zip(found.tolist(), held_out.relevant, strict=True)
    ]
    return float(np.mean(shares))
