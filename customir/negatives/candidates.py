"""Candidates for hard negatives: hits of BM25 and the base embedder, likely positives masked."""

from collections.abc import Sequence

import numpy as np

from customir.retrieval.bm25 import Bm25
from customir.retrieval.dense import quick_top_k
from customir.workspace.passages import Passage
from customir.workspace.queries import Query

# The depth, beyond the number of candidates, to which each ranking is searched for unmasked ones.
DEPTH = 50


def mine_candidates(
    queries: Sequence[Query],
    passages: Sequence[Passage],
    query_vectors: np.ndarray,
    passage_vectors: np.ndarray,
    bm25: Bm25,
    count: int,
    relative_margin: float,
    sources: Sequence[str] = ("dense", "bm25"),
) -> list[list[Passage]]:
    """For each query, the hardest `count` passages that may be irrelevant, hardest first.

    The rankings of `sources` are interleaved. The following passages are masked:

    - the query's own passage, its near-duplicate group and its thread,
    - every passage for which the same query text was written, and its near-duplicate group,
    - passages whose dense score is above (1 - `relative_margin`) times the positive's
      (NV-Retriever, arXiv 2407.15831, "TopK-PercPos").

    At most one candidate per near-duplicate group is chosen.

    Args:
        query_vectors: float32 (queries, d), unit norm.
        passage_vectors: float32 (passages, d), unit norm.
        bm25: The BM25 index of the passages.
    """
    if not queries or not count:
        return [[] for _ in queries]
    row_of = {passage.key: row for row, passage in enumerate(passages)}
    depth = DEPTH + count
    dense_rows = quick_top_k(query_vectors, passage_vectors, depth)
    text_rows, text_scores = bm25.top([query.text for query in queries], depth)
    asked: dict[str, set[str]] = {}
    for query in queries:
        asked.setdefault(query.text.lower(), set()).add(passages[row_of[query.passage]].duplicates)
    found = []
    for number, query in enumerate(queries):
        positive = passages[row_of[query.passage]]
        vector = query_vectors[number]
        limit = (1 - relative_margin) * float(vector @ passage_vectors[row_of[query.passage]])
        masked = set(asked[query.text.lower()])
        chosen: list[Passage] = []
        matched = text_rows[number][text_scores[number] > 0]
        rankings = {"dense": dense_rows[number], "bm25": matched}
        for row in _in_turns([rankings[name] for name in sources]):
            passage = passages[row]
            if (
                passage.duplicates in masked
                or passage.thread == positive.thread
                or float(vector @ passage_vectors[row]) > limit
            ):
                continue
            masked.add(passage.duplicates)
            chosen.append(passage)
            if len(chosen) == count:
                break
        found.append(chosen)
    return found


def _in_turns(rankings: Sequence[np.ndarray]) -> list[int]:
    """The rankings interleaved, each row once."""
    rows: dict[int, None] = {}
    for place in range(max(map(len, rankings))):
        for ranking in rankings:
            if place < len(ranking):
                rows.setdefault(int(ranking[place]))
    return list(rows)
