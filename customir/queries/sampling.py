"""The sample of passages for which the LLM writes queries.

It has one passage per near-duplicate group and is spread over threads, topics and time.
"""

from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence

from customir.queries.boilerplate import automatic, boilerplate
from customir.text.tokenize import length_of, words_of
from customir.workspace import content_key
from customir.workspace.passages import Passage

MINIMUM_WORDS = 12


def sample_passages(
    passages: Sequence[Passage],
    count: int,
    seed: int,
    strata: Mapping[str, Hashable] | None = None,
) -> list[Passage]:
    """Sample at most `count` passages, the first of every thread before the second of any thread.

    Automatic replies, boilerplate and passages of fewer than MINIMUM_WORDS words, which say too
    little to be searched for, are excluded. Only one passage per near-duplicate group is sampled.

    For every `count`, each stratum has about the same share of the sample as of all passages
    (stratified sampling with proportionate allocation). Within a stratum, order and choice are
    pseudo-random and depend only on content. The same passages, strata and seed give the same
    sample, and a larger count gives a superset.

    Args:
        strata: The stratum of each passage, by key, for example its topic and time. None: there is
            only one stratum.
    """
    seen: set[str] = set()
    forms = boilerplate(passages)
    by_thread: dict[str, list[Passage]] = defaultdict(list)
    for passage in sorted(passages, key=lambda p: content_key("sample", seed, p.key)):
        if (
            passage.duplicates in seen
            or length_of(words_of(passage.text)) < MINIMUM_WORDS
            or passage.key in forms
            or automatic(passage)
        ):
            continue
        seen.add(passage.duplicates)
        by_thread[passage.thread].append(passage)
    ranked = [
        (rank, content_key("sample", seed, passage.key), passage)
        for members in by_thread.values()
        for rank, passage in enumerate(members)
    ]
    ranked.sort(key=lambda entry: entry[:2])

    def stratum(rank: int, passage: Passage) -> Hashable:
        return rank, strata[passage.key] if strata else None

    sizes = Counter(stratum(rank, passage) for rank, _, passage in ranked)
    places: Counter[Hashable] = Counter()
    ordered = []
    for rank, key, passage in ranked:
        own = stratum(rank, passage)
        ordered.append((rank, (places[own] + 0.5) / sizes[own], key, passage))
        places[own] += 1
    ordered.sort(key=lambda entry: entry[:3])
    return [passage for *_, passage in ordered[:count]]
