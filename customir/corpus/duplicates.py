"""Near-duplicate passages: forwarded copies, notices, templates, and passages quoted in full.

They are found by an exact set similarity join of word 3-shingles with prefix filtering (Chaudhuri,
Ganti and Kaushik 2006; Bayardo, Ma and Srikant 2007). A set that is nearly contained in another
must share one of its rarest shingles with it, so only passages that share such a shingle are
compared. MinHash with LSH, which this replaced, misses pairs just above the threshold, cannot
detect that a short passage is part of a long one, and takes longer (bench/duplicates.py).
"""

import hashlib
import math
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from customir.corpus.disjoint_set import DisjointSet
from customir.progress import Reporter

SHINGLE_WORDS = 3
# Eight shingles are ten words. Shorter passages are "contained" in others by chance.
LEAST_CONTAINED = 8
# At most this many of the passages that share a shingle are compared with the others. If a machine
# sent the same notice 50,000 times, comparing all pairs would take quadratic time. A passage that
# is similar to the notice is similar to its first copies.
MEMBERS_COMPARED = 32
PASSAGES_AT_ONCE = 2000
# Shingles are ordered by the number of passages that contain them. Shingles that share a counter
# seem more frequent than they are, which costs time and does not change the result.
COUNTERS = 1 << 22
WORDS_KEPT = 1 << 20
WORD = re.compile(r"\w+")
# Odd 64-bit constants for multiplicative hashing, one per word of a shingle.
MULTIPLIERS = tuple(
    np.uint64(each) for each in (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9)
)

Shingles = NDArray[np.uint32]


@dataclass(frozen=True)
class Groups:
    """The groups of near-duplicate passages.

    Attributes:
        of: The group of every passage key, named by the smallest key in it.
        contained: The number of passages that are nearly contained in a longer one.
    """

    of: dict[str, str]
    contained: int


def group_duplicates(
    passages: Iterable[tuple[str, str]],
    total: int,
    similarity: float,
    containment: float,
    reporter: Reporter,
) -> Groups:
    """Group near-duplicate passages.

    Two passages are in the same group if their sets of word 3-shingles have a Jaccard similarity of
    at least `similarity`. Groups that share a passage are merged. Then, if at least `containment`
    of a passage is contained in a longer passage of another group, its group joins that group. If
    there are several such groups, it joins the one with the longest passage. It joins only one
    group, so that a notice or greeting that many passages quote does not merge all of them.

    Args:
        passages: (key, text), sorted by key, without repeated keys.
        total: The number of passages, for the progress bar.
        similarity: 0 < similarity <= 1.
        containment: 0.5 < containment <= 1.
    """
    sets: DisjointSet[str] = DisjointSet()
    keys: list[str] = []
    distinct: list[str] = []
    shingles: list[Shingles] = []
    first_of: dict[bytes, str] = {}
    words = _WordHashes()
    with reporter.task("comparing passages", total=total, unit="passages") as task:
        for key, text in passages:
            keys.append(key)
            own = words.shingle(text)
            first = first_of.setdefault(
                hashlib.blake2b(own.tobytes(), digest_size=16).digest(), key
            )
            if first == key:
                distinct.append(key)
                shingles.append(own)
            else:
                sets.merge(first, key)
        task.advance(total - len(distinct))
        wholes: dict[str, list[tuple[int, str]]] = {}
        least = min(containment, 2 * similarity / (1 + similarity))
        for done, pairs in candidate_pairs(shingles, least):
            for one, other in pairs:
                a, b = distinct[one], distinct[other]
                if sets.find(a) == sets.find(b):
                    continue
                sizes = len(shingles[one]), len(shingles[other])
                shared = len(np.intersect1d(shingles[one], shingles[other], assume_unique=True))
                if shared >= similarity * (sum(sizes) - shared):
                    sets.merge(a, b)
                elif shared >= containment * min(sizes) and min(sizes) >= LEAST_CONTAINED:
                    part, whole = (a, b) if sizes[0] < sizes[1] else (b, a)
                    wholes.setdefault(part, []).append((-max(sizes), whole))
            task.advance(done)
    _join_parts(sets, wholes)
    return Groups(sets.smallest(keys), len(wholes))


def shingle(text: str) -> Shingles:
    """The distinct word 3-shingles of a text as sorted 32-bit hashes, uint32 [n] with n >= 1."""
    return _WordHashes().shingle(text)


def jaccard(one: Shingles, other: Shingles) -> float:
    """The Jaccard similarity of two sets of shingles, 0 to 1."""
    shared = len(np.intersect1d(one, other, assume_unique=True))
    return shared / (len(one) + len(other) - shared)


class _WordHashes(dict[str, int]):
    """A cache of the CRC-32 of words."""

    def __missing__(self, word: str) -> int:
        self[word] = value = zlib.crc32(word.encode("utf-8", "surrogatepass"))
        return value

    def shingle(self, text: str) -> Shingles:
        if len(self) > WORDS_KEPT:
            self.clear()
        found = WORD.findall(text.casefold()) or [text.strip()]
        hashes = np.array([self[word] for word in found], dtype=np.uint64)
        length = max(len(hashes) - SHINGLE_WORDS + 1, 1)
        mixed = np.zeros(length, dtype=np.uint64)
        for at, multiplier in enumerate(MULTIPLIERS[: len(hashes)]):
            mixed += (hashes[at : at + length] + np.uint64(1)) * multiplier
        return np.unique((mixed >> np.uint64(32)).astype(np.uint32))


def candidate_pairs(
    shingles: Sequence[Shingles], least: float
) -> Iterator[tuple[int, list[tuple[int, int]]]]:
    """Pairs of positions such that one passage may contain at least the share `least` of the other.

    Yields, for each chunk, the number of passages in it and their pairs.
    """
    if not shingles:
        return
    counts = np.zeros(COUNTERS, dtype=np.uint32)
    for own in shingles:
        counts[own % COUNTERS] += 1
    rarest = [_rarest(own, counts, least) for own in shingles]
    order = np.argsort(np.concatenate(rarest), kind="stable")
    prefix = np.concatenate(rarest)[order]
    owner = np.repeat(np.arange(len(rarest)), [len(own) for own in rarest])[order]
    for start in range(0, len(shingles), PASSAGES_AT_ONCE):
        chunk = shingles[start : start + PASSAGES_AT_ONCE]
        asked = np.concatenate(chunk)
        asking = np.repeat(np.arange(start, start + len(chunk)), [len(own) for own in chunk])
        begin = np.searchsorted(prefix, asked, "left")
        found = np.minimum(np.searchsorted(prefix, asked, "right") - begin, MEMBERS_COMPARED)
        ends = np.cumsum(found)
        places = np.arange(ends[-1]) - np.repeat(ends - found, found) + np.repeat(begin, found)
        one, other = np.repeat(asking, found), owner[places]
        low, high = np.minimum(one, other), np.maximum(one, other)
        pairs = np.unique((low * len(shingles) + high)[low < high])
        yield (
            len(chunk),
            list(
                zip(
                    (pairs // len(shingles)).tolist(), (pairs % len(shingles)).tolist(), strict=True
                )
            ),
        )


def _rarest(own: Shingles, counts: NDArray[np.uint32], least: float) -> Shingles:
    """Enough of the rarest shingles that a set with the share `least` of `own` has one of them."""
    needed = len(own) - math.ceil(least * len(own) - 1e-9) + 1
    rank = counts[own % COUNTERS].astype(np.uint64) << np.uint64(32) | own
    return own[np.argpartition(rank, needed - 1)[:needed]]


def _join_parts(sets: DisjointSet[str], wholes: dict[str, list[tuple[int, str]]]) -> None:
    """Merge each group with the group of the longest passage that contains one of its passages."""
    longest: dict[str, tuple[int, str]] = {}
    for part, found in wholes.items():
        group = sets.find(part)
        outside = [each for each in found if sets.find(each[1]) != group]
        if outside:
            longest[group] = min(min(outside), longest.get(group, (0, "")))
    for group, (_, whole) in sorted(longest.items(), key=lambda each: each[1]):
        sets.merge(whole, group)
