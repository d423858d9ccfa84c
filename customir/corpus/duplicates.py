"""Near-duplicate passages: forwarded copies, notices, templates.

MinHash signatures (Broder 1997) in locality-sensitive hash bands find the candidates; the exact
Jaccard similarity of the two sets of shingles decides.
"""

import re
import zlib
from collections import Counter
from collections.abc import Iterable

import numpy as np
from datasketch import MinHash, MinHashLSH
from numpy.typing import NDArray

from customir.corpus.unions import Unions
from customir.progress import Reporter

SHINGLE_WORDS = 3
PERMUTATIONS = 128
SEED = 1
# The bands are made for recall, at a lower similarity than asked for: what they let through too
# much is refused by the exact similarity. At 0.8, 98% of the pairs just above it are found.
INDEX_SHARE = 0.9
FALSE_POSITIVE_WEIGHT, FALSE_NEGATIVE_WEIGHT = 0.1, 0.9
# A passage that is near the members of a large group is near its first ones; to look each up
# would take quadratic time where a machine sent the same notice 50,000 times.
MEMBERS_INDEXED = 32
WORD = re.compile(r"\w+")

Shingles = NDArray[np.uint32]


def group_duplicates(
    passages: Iterable[tuple[str, str]], total: int, similarity: float, reporter: Reporter
) -> dict[str, str]:
    """The near-duplicate group of every passage: the smallest passage key in it.

    Two passages whose sets of word 3-shingles have a Jaccard similarity of at least `similarity`
    are in one group, and groups that share a passage are one.

    Args:
        passages: (key, text), in the order of the keys, each once: the result depends on it.
        total: How many there are, for the progress bar.
        similarity: 0 < similarity <= 1.
    """
    unions: Unions[str] = Unions()
    keys: list[str] = []
    first_of: dict[bytes, str] = {}
    shingles: dict[str, Shingles] = {}
    indexed: Counter[str] = Counter()
    index = _index(similarity) if similarity < 1 else None
    empty = MinHash(num_perm=PERMUTATIONS, seed=SEED, hashfunc=int)
    with reporter.task("finding near-duplicates", total=total, unit="passages") as task:
        for key, text in passages:
            task.advance()
            keys.append(key)
            own = shingle(text)
            same = first_of.setdefault(own.tobytes(), key)
            if same != key:
                unions.join(same, key)
                continue
            if index is None:
                continue
            signature = empty.copy()
            signature.update_batch(own.tolist())
            for candidate in sorted(index.query(signature)):
                together = unions.find(candidate) == unions.find(key)
                if not together and jaccard(own, shingles[candidate]) >= similarity:
                    unions.join(candidate, key)
            group = unions.find(key)
            if indexed[group] < MEMBERS_INDEXED:
                indexed[group] += 1
                shingles[key] = own
                index.insert(key, signature)
    return unions.smallest(keys)


def shingle(text: str) -> Shingles:
    """The distinct word 3-shingles of a text as sorted 32-bit hashes: uint32 [n], n >= 1."""
    words = WORD.findall(text.casefold()) or [text.strip()]
    shingles = {
        zlib.crc32(" ".join(words[at : at + SHINGLE_WORDS]).encode())
        for at in range(max(len(words) - SHINGLE_WORDS + 1, 1))
    }
    return np.array(sorted(shingles), dtype=np.uint32)


def jaccard(one: Shingles, other: Shingles) -> float:
    """The Jaccard similarity of two sets of shingles, 0 to 1."""
    shared = len(np.intersect1d(one, other, assume_unique=True))
    return shared / (len(one) + len(other) - shared)


def _index(similarity: float) -> MinHashLSH:
    return MinHashLSH(
        threshold=similarity * INDEX_SHARE,
        num_perm=PERMUTATIONS,
        weights=(FALSE_POSITIVE_WEIGHT, FALSE_NEGATIVE_WEIGHT),
    )
