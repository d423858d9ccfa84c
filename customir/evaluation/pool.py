"""The pool of passages for comparing candidates, so that not all have to embed the whole corpus."""

from collections.abc import Iterable
from dataclasses import dataclass

from customir.evaluation.held_out import HeldOutData
from customir.evaluation.metrics import Rankings


@dataclass(frozen=True)
class PoolSize:
    """The size of a pool.

    Attributes:
        depth: How many of the best passages of each ranking are in the pool. From 10 on, the
            metrics of a system that ranked them are the same as on the whole corpus.
        others: How many other passages, drawn at random, are in the pool.
    """

    depth: int
    others: int


# bench/pool.py compares the gate's decisions on the pool with those on the whole corpus.
POOL = PoolSize(depth=20, others=1000)


def pool_rows(data: HeldOutData, rankings: Iterable[Rankings], size: PoolSize = POOL) -> list[int]:
    """The rows of the pool's passages, ascending: all answers, the best of each ranking, others.

    Args:
        rankings: Rankings of all passages for queries of `data`.
    """
    chosen = data.answer_rows()
    for ranking in rankings:
        for rows in ranking:
            chosen.update(rows[: size.depth].tolist())
    # Passages are ordered by their keys, which are hashes, so the first ones are a random sample.
    others = [row for row in range(len(data.passages)) if row not in chosen]
    return sorted(chosen.union(others[: size.others]))
