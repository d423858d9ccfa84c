"""Hybrid search: what the vectors say, and beside it how much of a query a passage has word for word.

score = cosine + WORD_WEIGHT * BM25 / the most that BM25 can be for the query

A sum of both scores keeps what ranks forget: by how much one passage is better than the next
(Bruch, Gai and Ingber 2023, An analysis of fusion functions for hybrid retrieval, arXiv 2210.11934).
BM25 of one word approaches a limit, however often a passage has it, so that their sum over the
query's words is the most that any passage can have. Few passages have much of a long question, and
then the vectors decide; a title's few words are often all there.
"""

from collections.abc import Mapping
from typing import TypeVar

# docs/recipe.md, "Words beside vectors": .3 and .4 are best, on mail, messages and papers alike.
WORD_WEIGHT = 0.3

Name = TypeVar("Name", str, int)


def fuse(
    cosines: Mapping[Name, float], shares: Mapping[Name, float], weight: float = WORD_WEIGHT
) -> list[tuple[Name, float]]:
    """Passages by their fused scores.

    Args:
        cosines: By passage; of all that are to be found.
        shares: BM25 over the most that it can be, 0 to 1, by passage; 0 for those that are missing.

    Returns:
        (passage, score), best first; equal scores by the passage's name.
    """
    scores = {key: cosine + weight * shares.get(key, 0.0) for key, cosine in cosines.items()}
    return sorted(scores.items(), key=lambda pair: (-pair[1], pair[0]))
