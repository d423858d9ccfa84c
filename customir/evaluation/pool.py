"""The pool: the passages that comparing candidates needs, so that not each embeds the whole corpus."""

from collections.abc import Iterable
from dataclasses import dataclass

from customir.evaluation.held_out import HeldOutData
from customir.evaluation.metrics import Rankings


@dataclass(frozen=True)
class PoolSize:
    """How much of the corpus is in a pool.

    Attributes:
        depth: How many of the best passages of each ranking. With 10 and more, the metrics of what
            ranked them are those of the whole corpus.
        others: How many other passages, drawn at random.
    """

    depth: int
    others: int


# bench/pool.py compares what the gate decides among these passages and among the whole corpus.
POOL = PoolSize(depth=20, others=1000)


def pool_rows(data: HeldOutData, rankings: Iterable[Rankings], size: PoolSize = POOL) -> list[int]:
    """Rows of the passages in the pool, ascending: each query's answers, the best ones, and others.

    Args:
        rankings: Of all passages, for queries of `data`.
    """
    chosen = data.answer_rows()
    for ranking in rankings:
        for rows in ranking:
            chosen.update(rows[: size.depth].tolist())
    # Passages are in the order of their keys, which are hashes: the first ones are a random draw.
    others = [row for row in range(len(data.passages)) if row not in chosen]
    return sorted(chosen.union(others[: size.others]))
