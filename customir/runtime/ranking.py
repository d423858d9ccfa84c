"""Ranks passages: by their vectors, by their words, or by both."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from customir.runtime.cache import VectorCache
from customir.runtime.fts_tokenizer import any_of, is_compound, words_in
from customir.runtime.fusion import WORD_WEIGHT, cosine_std, fuse, sample
from customir.runtime.index_reader import Ids, IndexReader, Ranking, Vector, word_weight

Mode = Literal["hybrid", "vector", "text"]

FTS5_K1 = 1.2  # of its bm25(), which has no way to set it


@dataclass(frozen=True)
class Ranker:
    """Ranks passages of one state of the index.

    Attributes:
        cached: The vectors for the scan kernel; None: sqlite-vec scans the index's own.
        among: Ids of what may be found; None: all.
    """

    reader: IndexReader
    cached: VectorCache | None
    among: Ids | None

    def by_words(self, words: Iterable[str], depth: int) -> Ranking:
        """The best `depth` passages for any of the words (`IndexReader.rank_by_words`)."""
        return self.reader.rank_by_words(list(words), depth, self.among)

    def by_vector(self, vector: Vector, depth: int) -> Ranking:
        """The best `depth` passages by their cosines to a unit vector.

        Raises:
            DamagedVectorError: the cache of the vectors is damaged.
        """
        if self.cached is None:
            return self.reader.rank_by_vector(vector, depth, self.among)
        counts = depths(depth, len(self.cached.ids))
        (ids,), (cosines,) = self.cached.nearest(vector[None], *counts, self.among)
        if len(ids) > depth:  # with all that equal the last one, since keys decide among these
            ids = ids[cosines >= cosines[depth - 1]]
        pairs = zip(self.reader.keys_of(ids.tolist()), cosines.tolist(), strict=False)
        return sorted(pairs, key=lambda pair: (-pair[1], pair[0]))[:depth]

    def by_both(
        self,
        vector: Vector,
        weights: Mapping[str, float],
        depth: int,
        word_weight: float = WORD_WEIGHT,
    ) -> Ranking:
        """The best `depth` passages by cosine and the best `depth` by words, by both (`fuse`).

        Args:
            weights: `word_weights` of the query.
            word_weight: As for `fuse`.

        Raises:
            DamagedVectorError: the cache of the vectors is damaged.
        """
        cosines = dict(self.by_vector(vector, depth))
        by_words = self.by_words(weights, depth)
        bound = sum(weights.values())
        cosines |= self._cosines(vector, [key for key, _ in by_words if key not in cosines])
        shares = {key: score / bound for key, score in by_words}
        return fuse(cosines, shares, self._cosine_std(), word_weight)

    def _cosines(self, vector: Vector, keys: list[str]) -> dict[str, float]:
        """The cosines of some passages."""
        ids = self.reader.ids_of(keys)
        if self.cached is None:
            found = self.reader.cosines(vector, ids)
        else:
            found = self.cached.products(vector, np.array(ids, dtype=np.int64)).tolist()
        return dict(zip(keys, found, strict=True))

    def _cosine_std(self) -> float:
        """The standard deviation of the cosines of the index's vectors, from a sample."""
        if self.cached is not None and self.reader.permitted is None:
            return self.cached.cosine_std
        ids = self.reader.all_ids()
        return cosine_std(self.reader.vectors(ids[sample(len(ids))].tolist()))


def word_weights(reader: IndexReader, query: str) -> dict[str, float]:
    """The upper bound of BM25 for each of the query's words: its weight times (k1 + 1).

    Words that half of the passages or more have are left out: FTS5 gives them no weight, and
    finding all of these passages takes the longest.
    """
    passages = reader.count()
    weights = {}
    for word in words_in(query):
        having = reader.count_matching(any_of([word]))
        if having < passages / 2 and (having or not is_compound(word)):
            weights[word] = word_weight(passages, having) * (FTS5_K1 + 1)
    return weights


def depths(wanted: int, vectors: int) -> tuple[int, int]:
    """For the best `wanted` of `vectors`: how many are ranked by their floats, chosen in 4 bits among
    how many that are chosen in 2. Many vectors are nearer to each other than few.

    `bench/search.py` prints how many of exact search's best ten are then found.
    """
    root = math.isqrt(vectors)
    return 2 * wanted + 20 + root // 20, 8 * wanted + root
