"""Hybrid search: a weighted sum of cosine and BM25.

score = cosine + WORD_WEIGHT * std * BM25 / (upper bound of BM25 for the query)

A sum of scores keeps what ranks lose: by how much one passage is better than the next (Bruch, Gai
and Ingber 2023, An analysis of fusion functions for hybrid retrieval, arXiv 2210.11934). BM25 of one
word is bounded, however often a passage has it, and the sum of these bounds over the query's words
is the upper bound. Few passages come near it for a long question, and then the vectors decide; the
few words of a title are often all in one passage. `std` is the standard deviation of the embedder's
cosines: some embedders use the whole range from -1 to 1, others only values above 0.7.
"""

from collections.abc import Mapping
from typing import TypeVar

import numpy as np
import numpy.typing as npt

# docs/results/hybrid.md: 3 to 4.5 are best, on mail, messages and papers alike.
WORD_WEIGHT = 3.5
# For a query that the embedder cannot read (docs/results/languages.md): the words decide, and the
# vectors rank what has no or the same words.
UNREADABLE_WORD_WEIGHT = 28.0
SAMPLE = 500

Name = TypeVar("Name", str, int)


def fuse(
    cosines: Mapping[Name, float],
    shares: Mapping[Name, float],
    std: float,
    weight: float = WORD_WEIGHT,
) -> list[tuple[Name, float]]:
    """Rank passages by their fused scores.

    Args:
        cosines: By passage, for all passages that are to be ranked.
        shares: BM25 divided by its upper bound, 0 to 1, by passage; missing passages have 0.
        std: `cosine_std` of the passages' vectors.

    Returns:
        (passage, score), best first; equal scores by the passage's name.
    """
    factor = weight * std
    scores = {key: cosine + factor * shares.get(key, 0.0) for key, cosine in cosines.items()}
    return sorted(scores.items(), key=lambda pair: (-pair[1], pair[0]))


def sample(count: int) -> npt.NDArray[np.int64]:
    """Up to `SAMPLE` of `count` positions, evenly spaced, with the first and the last."""
    return np.linspace(0, count - 1, min(count, SAMPLE)).astype(np.int64)


def cosine_std(vectors: npt.NDArray[np.float32]) -> float:
    """The standard deviation of the cosines of all pairs of vectors; 0 if there is no pair.

    Args:
        vectors: Unit vectors of a sample of passages, float32 (n, d).
    """
    first, second = np.triu_indices(len(vectors), 1)
    return float((vectors @ vectors.T)[first, second].std()) if len(first) else 0.0
