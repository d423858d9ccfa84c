"""Filters that drop LLM queries which are not worth training on.

The report counts the dropped queries by the name of the filter.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from customir.queries.languages import COMMON_LANGUAGE
from customir.queries.speakers import names_a_speaker
from customir.queries.styles import ENGLISH, PROMPTS
from customir.text.language import identifier, language_of
from customir.text.tokenize import length_of, words_of
from customir.workspace.passages import Passage

# None of 793 English queries of at least four words was below this probability, and none of six
# queries in other languages was above it.
LEAST_PROBABILITY = 0.005
WORDS_TO_TELL = 4
MINIMUM_WORDS, MAXIMUM_WORDS = 2, 24
LONGEST_COPY = 5
LONGEST_LEAK = 3
NO_HIT = -1
MANY = 20
MARKS_OF_THE_PROMPT = re.compile(
    r"(?i)\b(passage|searcher|keywords|question|looking for|summary|which|query|search|answer)\s*:"
    r"|^as an ai\b"
)


def reject_by_form(
    query: str, passage: str, examples: Sequence[str], marks: re.Pattern[str] = ENGLISH.marks
) -> str | None:
    """The first fault in a query's text, or None.

    - "leaks the prompt": it contains a cue, or more than 3 consecutive words of one of `examples`,
      the queries that the prompt showed.
    - "too short", "too long": it does not have 2 to 24 words.
    - "repeats itself": at most half of its words are distinct.
    - "copies a span": it contains more than 5 consecutive words of the passage.
    - "names a speaker": the passage is a chat, and the query contains the name of a speaker.

    Args:
        marks: The labels of the prompt's language, besides those in English.
    """
    words = words_of(query)
    if (
        MARKS_OF_THE_PROMPT.search(query)
        or marks.search(query)
        or any(longest_copy(words, words_of(example)) > LONGEST_LEAK for example in examples)
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
    """The length, by `length_of`, of the longest run of `words` that `source` contains."""
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
    """Which queries repeat an earlier one, ignoring case and punctuation."""
    seen: set[tuple[str, ...]] = set()
    verdicts = []
    for query in queries:
        form = tuple(words_of(query))
        verdicts.append(form in seen)
        seen.add(form)
    return verdicts


def wrong_language(queries: Sequence[str], passages: Sequence[str]) -> list[bool]:
    """Which queries are probably not in the language of their passage.

    A language that is neither common in the corpus nor one of `PROMPTS` is not believed.

    Args:
        passages: The passage of each query, (queries,).
    """
    known = identifier()
    spoken = {passage: known.classify(passage)[0] for passage in set(passages)}
    shares = Counter(spoken.values())
    verdicts = []
    for query, passage in zip(queries, passages, strict=True):
        own = spoken[passage]
        told = length_of(words_of(query)) >= WORDS_TO_TELL and (
            shares[own] >= COMMON_LANGUAGE * len(spoken) or language_of(passage) in PROMPTS
        )
        verdicts.append(told and dict(known.rank(query))[own] < LEAST_PROBABILITY)
    return verdicts


def round_trip(own_groups: Sequence[str], groups: Sequence[str], *runs: np.ndarray) -> list[bool]:
    """Which queries retrieve their passage in at least one run (Dai et al. 2022, Promptagator).

    Args:
        own_groups: Near-duplicate group of each query's passage, (queries,).
        groups: Near-duplicate group of each passage of the corpus.
        runs: Row numbers of each query's hits, int64 (queries, depth), padded with NO_HIT.
    """
    return [
        any(groups[row] == own for run in runs for row in run[number] if row != NO_HIT)
        for number, own in enumerate(own_groups)
    ]


@dataclass(frozen=True)
class Run:
    """A ranking of the corpus for each query.

    Attributes:
        rows, scores: Hits, best first, int64 and float32 (queries, depth), padded with NO_HIT.
        near: A hit counts as near if its score is at least this share of the own passage's score.
    """

    rows: np.ndarray
    scores: np.ndarray
    near: float


def generic(
    own_groups: Sequence[str], passages: Sequence[Passage], runs: Sequence[Run]
) -> list[bool]:
    """Which queries fit many threads: in every run, at least MANY other threads have a near hit.

    If a run's hits do not contain the own passage, all of them count as near.

    Args:
        own_groups: Near-duplicate group of each query's passage, (queries,).
        passages: The corpus; the rows of the runs are indices into it.
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
