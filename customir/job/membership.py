"""The pairs of the membership test, with their cosines by the base and by the adapted model."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from customir.job import Job
from customir.workspace.queries import read_queries

if TYPE_CHECKING:
    from customir.embeddings import Embed
    from customir.encoder.torch_encoder import Encoder
    from customir.evaluation.held_out import HeldOutData
    from customir.evaluation.membership import Membership, PairScores

# Pairs of each kind: few enough that embedding those without stored vectors takes seconds.
MOST_PAIRS = 400


@dataclass(frozen=True)
class _Pair:
    """A query with its passage, as training sees it."""

    key: str
    style: str
    query: str
    passage: str
    thread: str


def membership_of(
    job: Job, data: "HeldOutData", model: Path, embed: "Embed"
) -> "Membership | None":
    """Test how well an adapted model tells the pairs that it was trained on from held-out ones.

    Args:
        data: The held-out test queries.
        model: The adapted model's folder.
    """
    from customir.embeddings import load_encoder
    from customir.evaluation.membership import PairScores, measure_membership

    trained, held_out = _trained_pairs(job), _held_out_pairs(data)
    styles = {pair.style for pair in trained} & {pair.style for pair in held_out}
    kinds = [
        sorted((pair for pair in pairs if pair.style in styles), key=lambda pair: pair.key)[
            :MOST_PAIRS
        ]
        for pairs in (trained, held_out)
    ]
    base, adapted = (load_encoder(folder, job.settings) for folder in (job.embedder, model))
    for_passages = base if job.settings.training.freeze_passage_encoder else adapted

    def scores(pairs: Sequence[_Pair]) -> "PairScores":
        return PairScores(
            [pair.style for pair in pairs],
            [pair.thread for pair in pairs],
            _cosines(pairs, base, base, embed),
            _cosines(pairs, adapted, for_passages, embed),
        )

    return measure_membership(
        scores(kinds[0]), scores(kinds[1]), job.settings.evaluation.confidence, job.settings.seed
    )


def _trained_pairs(job: Job) -> list[_Pair]:
    from customir.queries.self_supervised import without_query_text

    by_key = {passage.key: passage for passage in job.passages}
    pairs = []
    for query in read_queries(job.workspace, splits=("train",)):
        passage = by_key[query.passage]
        text = (
            without_query_text(passage, query.style, query.text)
            if query.is_self_supervised
            else passage.content
        )
        pairs.append(_Pair(query.key, query.style, query.text, text, passage.thread))
    return pairs


def _held_out_pairs(data: "HeldOutData") -> list[_Pair]:
    by_key = {passage.key: passage for passage in data.passages}
    written = [
        _Pair(q.key, q.style, q.text, by_key[q.passage].content, by_key[q.passage].thread)
        for q in data.queries
    ]
    people = [
        _Pair(pair.key, pair.style, pair.text, pair.answer, data.passages[pair.row].thread)
        for pair in data.pairs
    ]
    return written + people


def _cosines(
    pairs: Sequence[_Pair], queries: "Encoder", passages: "Encoder", embed: "Embed"
) -> np.ndarray:
    title = "embedding pairs for the membership test"
    asked = embed(queries, [pair.query for pair in pairs], "query", title)
    found = embed(passages, [pair.passage for pair in pairs], "passage", title)
    cosines: np.ndarray = (asked * found).sum(1)
    return cosines
