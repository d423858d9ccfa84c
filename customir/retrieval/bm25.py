"""BM25 over passages, by bm25s (Lù 2024, arXiv 2407.03618)."""

import logging
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import Stemmer

from customir.runtime.fts_tokenizer import PAIRED
from customir.text.language import main_language


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


# Snowball's stemmers by ISO 639-1 code. Texts in other languages are not stemmed.
STEMMERS = {
    "ar": "arabic", "ca": "catalan", "cs": "czech", "da": "danish", "de": "german", "el": "greek",
    "en": "english", "es": "spanish", "et": "estonian", "eu": "basque", "fa": "persian",
    "fi": "finnish", "fr": "french", "ga": "irish", "hi": "hindi", "hu": "hungarian",
    "hy": "armenian", "id": "indonesian", "it": "italian", "lt": "lithuanian", "nb": "norwegian",
    "ne": "nepali", "nl": "dutch", "nn": "norwegian", "no": "norwegian", "pl": "polish",
    "pt": "portuguese", "ro": "romanian", "ru": "russian", "sr": "serbian", "sv": "swedish",
    "ta": "tamil", "tr": "turkish",
}  # fmt: skip
# The languages whose stop words bm25s has. No words of others are left out.
STOP_WORDS = ("da", "de", "en", "es", "fr", "it", "ko", "nl", "no", "pt", "ru", "sv", "tr", "zh")
RUN = re.compile(f"[{PAIRED}]+")


class Bm25:
    """An index of `passages` with the stop words and the stemming of their main language.

    A script without spaces, and Korean, is split into pairs of characters, as in `customir search`.
    """

    def __init__(self, passages: Sequence[str]) -> None:
        self._size = len(passages)
        language = main_language(passages)
        name = STEMMERS.get(language)
        self._stemmer = Stemmer.Stemmer(name) if name in Stemmer.algorithms() else None
        self._stop_words: str | list[str] = language if language in STOP_WORDS else []
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
            _paired(texts), stopwords=self._stop_words, stemmer=self._stemmer, show_progress=False,
            return_ids=False,
        )  # fmt: skip
        return words

    def _tokens(self, texts: Sequence[str]) -> Any:
        return bm25s.tokenize(
            _paired(texts), stopwords=self._stop_words, stemmer=self._stemmer, show_progress=False
        )


def _paired(texts: Sequence[str]) -> list[str]:
    """The texts with a space between the pairs of characters of scripts that have none."""
    return [RUN.sub(_pairs, text) for text in texts]


def _pairs(run: re.Match[str]) -> str:
    text = run[0]
    pairs = (text[at : at + 2] for at in range(max(1, len(text) - 1)))
    return f" {' '.join(pairs)} "
