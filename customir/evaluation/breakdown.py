"""The difference between base and adapted model by query style and by single query."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from customir.evaluation.metrics import Qrels, Rankings
from customir.evaluation.significance import Difference, paired_difference
from customir.settings import EvaluationSettings
from customir.workspace.passages import Passage
from customir.workspace.queries import Query

MAX_EXAMPLES = 6
SHOWN_HITS = 3
SNIPPET = 140


@dataclass(frozen=True)
class ExampleHit:
    """One hit of a query.

    Attributes:
        title, text: Of the passage, at most SNIPPET characters each.
        is_answer: Whether the passage answers the query.
    """

    title: str
    text: str
    is_answer: bool


@dataclass(frozen=True)
class Example:
    """A held-out query with the hits of two systems.

    Attributes:
        rank_before, rank_after: The best rank of an answer, from 1; None if it is beyond DEPTH.
        hits_before, hits_after: The SHOWN_HITS best passages.
    """

    query: str
    style: str
    rank_before: int | None
    rank_after: int | None
    hits_before: Sequence[ExampleHit]
    hits_after: Sequence[ExampleHit]

    @property
    def gain(self) -> float:
        """The change of the answer's 1 / rank; above 0 if the answer rose."""
        return _reciprocal(self.rank_after) - _reciprocal(self.rank_before)


@dataclass(frozen=True)
class Movement:
    """How the answers of the held-out queries moved from one system to another.

    Attributes:
        rose, same, fell: Counts of queries.
        won, lost: Up to MAX_EXAMPLES queries whose answer rose or fell most.
        unmoved: Up to MAX_EXAMPLES queries whose answer both systems rank equally, the best rank
            first.
    """

    rose: int
    same: int
    fell: int
    won: Sequence[Example]
    lost: Sequence[Example]
    unmoved: Sequence[Example]


def by_style(
    queries: Sequence[Query],
    base: np.ndarray,
    adapted: np.ndarray,
    threads: Sequence[str],
    settings: EvaluationSettings,
    seed: int,
) -> list[dict[str, Any]]:
    """One row per style: the number of queries, both means, and the difference with its interval.

    Args:
        base, adapted: One metric of each query, float64 (queries,).
    """
    rows = []
    for style in sorted({query.style for query in queries}):
        own = [number for number, query in enumerate(queries) if query.style == style]
        found: Difference = paired_difference(
            adapted[own], base[own], [threads[number] for number in own],
            settings.confidence, settings.resamples, seed,
        )  # fmt: skip
        rows.append(
            {
                "style": style,
                "queries": len(own),
                "base": float(np.mean(base[own])),
                "adapted": float(np.mean(adapted[own])),
                "difference": [found.mean, found.low, found.high, found.p],
            }
        )
    return rows


def movement(
    queries: Sequence[Query],
    passages: Sequence[Passage],
    qrels: Qrels,
    before: Rankings,
    after: Rankings,
) -> Movement:
    """Compare two systems query by query.

    Args:
        before, after: Their rankings of `passages`, one per query.
    """
    examples = [
        _example(query, passages, qrels[query.key], *rankings)
        for query, *rankings in zip(queries, before, after, strict=True)
    ]
    won = [example for example in examples if example.gain > 0]
    lost = [example for example in examples if example.gain < 0]
    same = [example for example in examples if example.gain == 0]
    return Movement(
        rose=len(won),
        same=len(same),
        fell=len(lost),
        won=sorted(won, key=lambda example: -example.gain)[:MAX_EXAMPLES],
        lost=sorted(lost, key=lambda example: example.gain)[:MAX_EXAMPLES],
        unmoved=sorted(same, key=lambda example: -_reciprocal(example.rank_after))[:MAX_EXAMPLES],
    )


def _example(
    query: Query,
    passages: Sequence[Passage],
    answers: Mapping[str, int],
    before: np.ndarray,
    after: np.ndarray,
) -> Example:
    def rank(ranking: np.ndarray) -> int | None:
        found = (place for place, row in enumerate(ranking, 1) if passages[row].key in answers)
        return next(found, None)

    def hits(ranking: np.ndarray) -> list[ExampleHit]:
        return [
            ExampleHit(_snippet(passage.title), _snippet(passage.text), passage.key in answers)
            for passage in (passages[row] for row in ranking[:SHOWN_HITS])
        ]

    return Example(query.text, query.style, rank(before), rank(after), hits(before), hits(after))


def _reciprocal(rank: int | None) -> float:
    return 1 / rank if rank else 0.0


def _snippet(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= SNIPPET else f"{text[: SNIPPET - 1]}…"
