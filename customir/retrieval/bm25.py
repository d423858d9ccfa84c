"""BM25 over passages, by bm25s (Lù 2024, arXiv 2407.03618)."""

import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import Stemmer


@contextmanager
def _without_jax() -> Iterator[None]:
    """Make importing JAX fail: bm25s would start it, and it reserves most of a GPU's memory."""
    there = sys.modules.get("jax")  # another library may have imported it
    sys.modules["jax"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if there:
            sys.modules["jax"] = there
        else:
            del sys.modules["jax"]


with _without_jax():
    import bm25s

# Lucene's variant with the parameters that BEIR's published figures use.
K1, B = 0.9, 0.4
# bm25s logs every index at DEBUG, regardless of the program's log level.
logging.getLogger("bm25s").setLevel(logging.WARNING)


class Bm25:
    """An index of `passages` with English stop words and stemming."""

    def __init__(self, passages: Sequence[str]) -> None:
        self._size = len(passages)
        self._stemmer = Stemmer.Stemmer("english")
        self._index = bm25s.BM25(method="lucene", k1=K1, b=B)
        tokens = self._tokens(passages)
        self._has_words = bool(tokens.vocab)
        if self._has_words:  # bm25s refuses an index without words
            self._index.index(tokens, show_progress=False)

    def top(self, queries: Sequence[str], k: int) -> tuple[np.ndarray, np.ndarray]:
        """The best passages of each query.

        Returns:
            Row numbers, int64 (queries, min(k, passages)), best first, and their scores,
            float32 of the same shape; a score of 0 means that no word matched.
        """
        k = min(k, self._size)
        if not self._has_words or not queries:
            rows = np.tile(np.arange(k, dtype=np.int64), (len(queries), 1))
            return rows, np.zeros(rows.shape, dtype=np.float32)
        rows, scores = self._index.retrieve(self._tokens(queries), k=k, show_progress=False)
        return rows.astype(np.int64), scores.astype(np.float32)

    def limits(self, queries: Sequence[str]) -> np.ndarray:
        """The upper bound of each query's scores: float32 (queries,).

        It is the sum of the words' weights, ln(1 + (N - n + 0.5) / (n + 0.5)), if n of N passages
        contain the word. The more often a short passage contains all words, the closer its score is
        to the bound.
        """
        if not self._has_words or not queries:
            return np.zeros(len(queries), dtype=np.float32)
        having = np.diff(self._index.scores["indptr"])
        limits = np.zeros(len(queries), dtype=np.float32)
        for number, words in enumerate(self._words(queries)):
            known = [self._index.vocab_dict.get(word) for word in words]
            found = np.array([0 if word is None else having[word] for word in known])
            limits[number] = np.log1p((self._size - found + 0.5) / (found + 0.5)).sum()
        return limits

    def _words(self, texts: Sequence[str]) -> list[list[str]]:
        words: list[list[str]] = bm25s.tokenize(
            list(texts), stopwords="en", stemmer=self._stemmer, show_progress=False,
            return_ids=False,
        )  # fmt: skip
        return words

    def _tokens(self, texts: Sequence[str]) -> Any:
        return bm25s.tokenize(
            list(texts), stopwords="en", stemmer=self._stemmer, show_progress=False
        )
