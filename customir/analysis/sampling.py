"""Which passages get queries: one a near-duplicate group, spread over threads."""

from collections import defaultdict
from collections.abc import Sequence

from customir.corpus.document import Passage
from customir.workspace import content_key

MINIMUM_WORDS = 12


def sample_passages(passages: Sequence[Passage], count: int, seed: int) -> list[Passage]:
    """At most `count` passages, every thread's first choice before any thread's second.

    Passages of fewer than MINIMUM_WORDS words say too little to be searched for, and of a
    near-duplicate group only one is taken. Order and choice are pseudo-random by content: the
    same passages and seed give the same sample, and a larger count a superset.
    """
    seen: set[str] = set()
    by_thread: dict[str, list[Passage]] = defaultdict(list)
    for passage in sorted(passages, key=lambda p: content_key("sample", seed, p.key)):
        if passage.duplicates in seen or len(passage.text.split()) < MINIMUM_WORDS:
            continue
        seen.add(passage.duplicates)
        by_thread[passage.thread].append(passage)
    ranked = [
        (rank, content_key("sample", seed, passage.key), passage)
        for members in by_thread.values()
        for rank, passage in enumerate(members)
    ]
    ranked.sort(key=lambda entry: entry[:2])
    return [passage for _, _, passage in ranked[:count]]
