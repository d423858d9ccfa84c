"""Teachers for distillation whose scores of a whole batch cost next to nothing.

A teacher's unit is its own (a cosine, BM25's sums), so scores are divided by their standard deviation within
queries' rows.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
import torch

from customir.retrieval.bm25 import Bm25
from customir.retrieval.scores import score_std
from customir.training.batches import Batch

# Members of a query's list. What the teacher finds far off has next to no part in the divergence.
WIDTH = 32
# Scored at once: of 65,536 pairs a whole matrix would take 17 GB.
PAIRS_AT_ONCE = 1024


class Teacher(Protocol):
    """Scores any query against any passage of the training texts.

    Attributes:
        fingerprint: Of all that decides its scores, beside the texts.
    """

    fingerprint: str

    def scores(self, queries: Sequence[str], passages: Sequence[str]) -> np.ndarray:
        """float32 (queries, passages), divided by their standard deviation within rows."""


class DenseTeacher:
    """The cosines of an embedder: of the base, or of a larger one.

    Args:
        fingerprint: The embedder's.
        queries: Unit vectors by text, of one width.
        passages: The same of the passages.
    """

    def __init__(
        self, fingerprint: str, queries: dict[str, np.ndarray], passages: dict[str, np.ndarray]
    ) -> None:
        self.fingerprint = fingerprint
        self._queries, self._passages = queries, passages

    def scores(self, queries: Sequence[str], passages: Sequence[str]) -> np.ndarray:
        asked = np.stack([self._queries[text] for text in queries])
        there = np.stack([self._passages[text] for text in passages])
        scores: np.ndarray = asked @ there.T
        return scores / score_std(scores)


class FusionTeacher:
    """An embedder and BM25 as one: the sum of their scores (CombSUM; Fox and Shaw 1994)."""

    def __init__(self, dense: DenseTeacher, passages: Sequence[str]) -> None:
        self.fingerprint = f"{dense.fingerprint} and BM25"
        self._dense = dense
        self._rows = {text: row for row, text in enumerate(passages)}
        self._bm25 = Bm25(list(self._rows))

    def scores(self, queries: Sequence[str], passages: Sequence[str]) -> np.ndarray:
        by_words = self._bm25.scores(queries, [self._rows[text] for text in passages])
        return self._dense.scores(queries, passages) + by_words / score_std(by_words)


def distillation_targets(batch: Batch, teacher: Teacher) -> Batch:
    """The batch with the teacher's scores of each pair's positive and of its best other passages.

    Passages that InfoNCE is not shown (of one thread, say) are in the lists: the teacher knows.
    """
    passages = [passage.text for passage in batch.passages]
    candidates, scores = [], []
    for pairs, positives in zip(
        batch.asked.split(PAIRS_AT_ONCE), batch.positives.split(PAIRS_AT_ONCE), strict=True
    ):
        queries = [batch.queries[place] for place in pairs.tolist()]
        found = torch.from_numpy(teacher.scores(queries, passages)).to(positives.device)
        order = found.scatter(1, positives[:, None], float("inf"))
        best = order.topk(min(WIDTH, order.shape[1]), dim=1).indices
        candidates.append(best)
        scores.append(found.gather(1, best))
    return replace(batch, candidates=torch.cat(candidates), scores=torch.cat(scores))
