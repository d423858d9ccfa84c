"""Reciprocal rank fusion."""

from collections.abc import Sequence

RANK_CONSTANT = 60


def reciprocal_rank_fusion(
    rankings: Sequence[Sequence[str]], constant: int = RANK_CONSTANT
) -> list[tuple[str, float]]:
    """Fuse rankings into one: score(d) = sum over rankings of 1 / (constant + rank of d).

    Cormack, Clarke and Buettcher, "Reciprocal rank fusion outperforms Condorcet and individual
    rank learning methods", SIGIR 2009. Ranks count from 1.

    Args:
        rankings: Each without repetitions, best first.

    Returns:
        (item, score), best first; equal scores in the items' own order.
    """
    scores: dict[str, float] = {}
    for ranking in rankings:
        for rank, item in enumerate(ranking, start=1):
            scores[item] = scores.get(item, 0.0) + 1.0 / (constant + rank)
    return sorted(scores.items(), key=lambda pair: (-pair[1], pair[0]))
