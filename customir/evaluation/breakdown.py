"""Where the difference between base and adapted comes from: query styles, single queries."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from customir.evaluation.metrics import Qrels, Rankings
from customir.evaluation.significance import Difference, paired_difference
from customir.settings import EvaluationSettings
from customir.workspace.passages import Passage
from customir.workspace.queries import Query

EXAMPLES = 6
SHOWN_HITS = 3
SNIPPET = 160


@dataclass(frozen=True)
class Example:
    """A query whose answer moved.

    Attributes:
        before, after: The answer's rank by base and by adapted, from 1; None beyond DEPTH.
        hits_before, hits_after: The top passages' first words, and whether each is an answer.
    """

    query: str
    style: str
    answer: str
    before: int | None
    after: int | None
    hits_before: Sequence[tuple[str, bool]]
    hits_after: Sequence[tuple[str, bool]]


def by_style(
    queries: Sequence[Query],
    base: np.ndarray,
    adapted: np.ndarray,
    threads: Sequence[str],
    settings: EvaluationSettings,
    seed: int,
) -> list[dict[str, Any]]:
    """A row a style: how many queries, both means, and the difference with its interval.

    Args:
        base, adapted: A metric, float64 (queries,).
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


def won_and_lost(
    queries: Sequence[Query],
    passages: Sequence[Passage],
    qrels: Qrels,
    rankings: Mapping[str, Rankings],
    base: str,
    adapted: str,
) -> tuple[list[Example], list[Example]]:
    """The queries whose answer rose most, and those whose answer fell most, by 1 / rank."""
    keys = [passage.key for passage in passages]
    content = {passage.key: _snippet(passage.content) for passage in passages}
    moved = []
    for number, query in enumerate(queries):
        answers = [
            [keys[row] in qrels[query.key] for row in rankings[name][number]]
            for name in (base, adapted)
        ]
        before, after = (own.index(True) + 1 if True in own else None for own in answers)
        hits = [
            [
                (content[keys[row]], right)
                for row, right in zip(rankings[name][number][:SHOWN_HITS], own, strict=False)
            ]
            for name, own in zip((base, adapted), answers, strict=True)
        ]
        gain = (1 / after if after else 0.0) - (1 / before if before else 0.0)
        example = Example(
            query.text, query.style, content[query.passage], before, after, hits[0], hits[1]
        )
        moved.append((gain, query.key, example))
    moved.sort(key=lambda entry: (-entry[0], entry[1]))
    won = [example for gain, _, example in moved[:EXAMPLES] if gain > 0]
    lost = [example for gain, _, example in moved[::-1][:EXAMPLES] if gain < 0]
    return won, lost


def _snippet(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= SNIPPET else f"{text[: SNIPPET - 1]}…"
