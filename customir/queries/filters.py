"""Which written queries are worth training on. Each filter has a name that the report counts."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from customir.queries.speakers import names_a_speaker
from customir.text.language import identifier
from customir.text.tokenize import length_of, words_of
from customir.workspace.passages import Passage

# Of 793 English queries of four words and more none was below; none of six in other languages above.
LEAST_PROBABILITY = 0.005
WORDS_TO_TELL = 4
# Code and tables pass for rare languages; those that few passages seem to have are not believed.
COMMON_LANGUAGE = 0.05
MINIMUM_WORDS, MAXIMUM_WORDS = 2, 24
LONGEST_COPY = 5
LONGEST_LEAK = 3
NO_HIT = -1
MANY = 20
MARKS_OF_THE_PROMPT = re.compile(
    r"(?i)\b(passage|searcher|keywords|question|looking for|summary|which|query|search|answer)\s*:"
    r"|^as an ai\b"
)


def reject_by_form(query: str, passage: str, examples: Sequence[str]) -> str | None:
    """The first fault that shows in a query's text, or None.

    "leaks the prompt": has a cue in it, or more than 3 words in a row from one of `examples`, the
    queries that the prompt showed. "too short", "too long": outside 2 to 24 words. "repeats
    itself": at most half of its words are different. "copies a span": more than 5 words in a row
    from the passage. "names a speaker": of the chat that the passage is.
    """
    words = words_of(query)
    if MARKS_OF_THE_PROMPT.search(query) or any(
        longest_copy(words, words_of(example)) > LONGEST_LEAK for example in examples
    ):
        return "leaks the prompt"
    if length_of(words) < MINIMUM_WORDS:
        return "too short"
    if length_of(words) > MAXIMUM_WORDS:
        return "too long"
    if len(set(words)) <= len(words) / 2:
        return "repeats itself"
    if longest_copy(words, words_of(passage)) > LONGEST_COPY:
        return "copies a span"
    if names_a_speaker(query, passage):
        return "names a speaker"
    return None


def longest_copy(words: Sequence[str], source: Sequence[str]) -> float:
    """The length of the longest run of `words` that stands in `source` in the same order.

    Counted as `length_of` counts.
    """
    longest = 0.0
    lengths = [0.0] * (len(source) + 1)
    for word in words:
        own = length_of([word])
        lengths = [0.0] + [
            lengths[place] + own if word == other else 0.0 for place, other in enumerate(source)
        ]
        longest = max(longest, max(lengths))
    return longest


def repeated(queries: Sequence[str]) -> list[bool]:
    """Which queries say what an earlier one said, case and punctuation aside."""
    seen: set[tuple[str, ...]] = set()
    verdicts = []
    for query in queries:
        form = tuple(words_of(query))
        verdicts.append(form in seen)
        seen.add(form)
    return verdicts


def wrong_language(queries: Sequence[str], passages: Sequence[str]) -> list[bool]:
    """Which queries are hardly in the language of their passage.

    Args:
        passages: Each query's own, (queries,).
    """
    known = identifier()
    spoken = {passage: known.classify(passage)[0] for passage in set(passages)}
    shares = Counter(spoken.values())
    verdicts = []
    for query, passage in zip(queries, passages, strict=True):
        own = spoken[passage]
        told = (
            shares[own] >= COMMON_LANGUAGE * len(spoken)
            and length_of(words_of(query)) >= WORDS_TO_TELL
        )
        verdicts.append(told and dict(known.rank(query))[own] < LEAST_PROBABILITY)
    return verdicts


def round_trip(own_groups: Sequence[str], groups: Sequence[str], *runs: np.ndarray) -> list[bool]:
    """Which queries lead back to their passage, in any of the runs (Dai et al. 2022, Promptagator).

    Args:
        own_groups: Near-duplicate group of each query's passage, (queries,).
        groups: Near-duplicate group of each passage of the corpus.
        runs: Row numbers of each query's hits, int64 (queries, depth); NO_HIT fills them up.
    """
    return [
        any(groups[row] == own for run in runs for row in run[number] if row != NO_HIT)
        for number, own in enumerate(own_groups)
    ]


@dataclass(frozen=True)
class Run:
    """A ranking of the corpus for each query.

    Attributes:
        rows, scores: Hits, best first, int64 and float32 (queries, depth); NO_HIT fills them up.
        near: Share of the own passage's score from which on a hit counts as near as it.
    """

    rows: np.ndarray
    scores: np.ndarray
    near: float


def generic(
    own_groups: Sequence[str], passages: Sequence[Passage], runs: Sequence[Run]
) -> list[bool]:
    """Which queries fit many threads: in every run, MANY other threads are as near as the own.

    Where the own passage is not among a run's hits, all of these are nearer.

    Args:
        own_groups: Near-duplicate group of each query's passage, (queries,).
        passages: The corpus, which the runs' rows number.
    """
    verdicts = []
    for number, own in enumerate(own_groups):
        counts = []
        for run in runs:
            hits = [
                (passages[row], score)
                for row, score in zip(run.rows[number], run.scores[number], strict=True)
                if row != NO_HIT
            ]
            least = min((score for hit, score in hits if hit.duplicates == own), default=-np.inf)
            home = {hit.thread for hit, _ in hits if hit.duplicates == own}
            counts.append(
                len({hit.thread for hit, score in hits if score >= run.near * least} - home)
            )
        verdicts.append(min(counts) >= MANY)
    return verdicts
