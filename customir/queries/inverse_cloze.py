"""Inverse cloze (ICT) pairs: the beginning of a text is the query for the rest.

The first turn of a conversation, or the first sentence of a text, says what the rest is about. This
is the inverse cloze task (Lee, Chang and Toutanova 2019, arXiv 1906.00300) for the first sentence
only, or for the first that says anything.
"""

import itertools
import re
from collections import Counter
from collections.abc import Iterator, Sequence

from customir.queries.common_words import says_something
from customir.queries.own_words import (
    IMAGE,
    LINK,
    is_prose,
    sentence_end,
    without_opening_lines,
    without_salutation,
    without_wraps,
)
from customir.queries.speakers import SPEAKER, TIMED_SPEAKER, speakers, without_names
from customir.queries.subjects import NUMBER, TEMPLATE_THREADS
from customir.text.tokenize import length_of, words_of
from customir.workspace.passages import Passage

STYLE = "ict"
# Shorter beginnings ("Hi all,") would match too many texts, and a shorter rest is not a passage.
MINIMUM_WORDS, MINIMUM_REST = 5, 20
# "Good point." "I'll test this as soon as I can.": what comes after these may be the topic.
BEGINNINGS = 3


def inverse_cloze_queries(
    passages: Sequence[Passage], common: frozenset[str] = frozenset()
) -> list[tuple[Passage, str]]:
    """The first passage of each document, with its beginning as the query.

    Only one passage per near-duplicate group is returned, and none whose beginning differs from
    those of two others in its numbers alone, because a program wrote it. In training, the passage is
    only what follows the query (`rest_after`); otherwise there would be nothing to learn.

    Args:
        common: The words that many passages of the corpus contain.
    """
    pairs: dict[str, tuple[Passage, str]] = {}
    for passage in passages:
        if passage.ordinal == 0:
            for query, _ in itertools.islice(_beginnings(passage.text), BEGINNINGS):
                if says_something(LINK.sub(" ", query), common):
                    pairs.setdefault(passage.duplicates, (passage, query))
                    break
    count = Counter(NUMBER.sub("#", query) for _, query in pairs.values())
    return [pair for pair in pairs.values() if count[NUMBER.sub("#", pair[1])] < TEMPLATE_THREADS]


def rest_after(query: str, text: str) -> str:
    """What follows the beginning of a text that is this query; the text if no beginning is."""
    found = itertools.islice(_beginnings(text), BEGINNINGS)
    return next((rest for beginning, rest in found if beginning == query), text)


def _beginnings(text: str) -> Iterator[tuple[str, str]]:
    """The first sentences or turns of a text, each with all that follows it."""
    while found := parts(text):
        yield found
        text = found[1]


def parts(text: str) -> tuple[str, str] | None:
    """The beginning of a text, without a speaker's name, and the rest.

    The beginning of a chat is its first turn, and that of any other text is its first sentence that
    is more than a greeting, without the salutation before it. Images and mentions of people are left
    out, and links do not count as words. The result is None if either part is too short, or if the
    beginning is not prose.
    """
    text = without_opening_lines(text)
    names = speakers(text)
    chat = SPEAKER.match(text)
    if names and chat:
        turns = re.split(r"\n\s*\n|\n(?=[^\s:][^:\n]{0,40}: )", text, maxsplit=1)
        if len(turns) < 2:
            return None
        beginning, rest = text[chat.end() : len(turns[0])], turns[1]
    else:
        if alone := TIMED_SPEAKER.match(text):  # a single turn of a chat
            text = without_opening_lines(text[alone.end() :])
        text = without_salutation(text)
        flowing = without_wraps(text)
        end = 0
        while True:
            found = sentence_end(flowing, end)
            if found is None:
                return None
            end = found.end()
            if length_of(words_of(flowing[: found.start()])) >= MINIMUM_WORDS:
                break
        beginning, rest = flowing[: found.start()], text[end:]
    beginning, rest = without_names(IMAGE.sub(" ", beginning), names), rest.strip()
    words = words_of(LINK.sub(" ", beginning))
    if length_of(words) < MINIMUM_WORDS or length_of(words_of(rest)) < MINIMUM_REST:
        return None
    return (beginning, rest) if is_prose(beginning) else None
