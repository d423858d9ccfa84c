"""Hybrid search: what the vectors say, and beside it how much of a query a passage has word for word.

score = cosine + WORD_WEIGHT * spread * BM25 / the most that BM25 can be for the query

A sum of both scores keeps what ranks forget: by how much one passage is better than the next
(Bruch, Gai and Ingber 2023, An analysis of fusion functions for hybrid retrieval, arXiv 2210.11934).
BM25 of one word approaches a limit, however often a passage has it, so that their sum over the
query's words is the most that any passage can have. Few passages have much of a long question, and
then the vectors decide; a title's few words are often all there. The spread is how far the
embedder's cosines lie apart: some use all from -1 to 1, some only those above .7.
"""

from collections.abc import Mapping
from typing import TypeVar

import numpy as np
import numpy.typing as npt

# docs/results/hybrid.md: 3 to 4.5 are best, on mail, messages and papers alike.
WORD_WEIGHT = 3.5
SAMPLE = 500

Name = TypeVar("Name", str, int)


def fuse(
    cosines: Mapping[Name, float],
    shares: Mapping[Name, float],
    spread: float,
    weight: float = WORD_WEIGHT,
) -> list[tuple[Name, float]]:
    """Passages by their fused scores.

    Args:
        cosines: By passage; of all that are to be found.
        shares: BM25 over the most that it can be, 0 to 1, by passage; 0 for those that are missing.
        spread: `spread_of` the passages' vectors.

    Returns:
        (passage, score), best first; equal scores by the passage's name.
    """
    factor = weight * spread
    scores = {key: cosine + factor * shares.get(key, 0.0) for key, cosine in cosines.items()}
    return sorted(scores.items(), key=lambda pair: (-pair[1], pair[0]))


def sample(count: int) -> npt.NDArray[np.int64]:
    """Up to `SAMPLE` of so many places, evenly apart, the first and the last among them."""
    return np.linspace(0, max(0, count - 1), min(count, SAMPLE)).astype(np.int64)


def spread_of(vectors: npt.NDArray[np.float32]) -> float:
    """The standard deviation of the cosines of all pairs of a sample; 0 where there is no pair.

    Args:
        vectors: Some passages', of length 1, float32 (n, d).
    """
    first, second = np.triu_indices(len(vectors), 1)
    return float((vectors @ vectors.T)[first, second].std()) if len(first) else 0.0
