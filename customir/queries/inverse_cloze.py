"""Inverse cloze (ICT) pairs: how a text begins, for what follows it.

What opens a conversation, or the first sentence of a text, says what the rest is about: the inverse
cloze task (Lee, Chang and Toutanova 2019, arXiv 1906.00300), of the first sentence alone.
"""

import re
from collections.abc import Sequence

from customir.queries.own_words import (
    is_prose,
    sentence_end,
    without_opening_lines,
    without_wraps,
)
from customir.queries.speakers import SPEAKER, TIMED_SPEAKER, speakers, without_names
from customir.text.tokenize import length_of, words_of
from customir.workspace.passages import Passage

STYLE = "ict"
# Shorter beginnings ("Hi all,") ask for too much, and a shorter rest is no passage.
MINIMUM_WORDS, MINIMUM_REST = 5, 20


def inverse_cloze_queries(passages: Sequence[Passage]) -> list[tuple[Passage, str]]:
    """The first passage of each document with its beginning as the query, one per group of
    near-duplicates.

    In training the passage is what follows (`parts`), or there would be nothing to learn.
    """
    pairs: dict[str, tuple[Passage, str]] = {}
    for passage in passages:
        if passage.ordinal == 0 and (found := parts(passage.text)):
            pairs.setdefault(passage.duplicates, (passage, found[0]))
    return list(pairs.values())


def parts(text: str) -> tuple[str, str] | None:
    """The beginning of a text without any speaker's name, and the rest; None where one is too short
    or the beginning is no language of a person.

    The beginning is the first turn of a chat, and else the first sentence that is no mere greeting.
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
        if alone := TIMED_SPEAKER.match(text):  # all that one person said
            text = without_opening_lines(text[alone.end() :])
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
    beginning, rest = without_names(beginning, names), rest.strip()
    if length_of(words_of(beginning)) < MINIMUM_WORDS or length_of(words_of(rest)) < MINIMUM_REST:
        return None
    return (beginning, rest) if is_prose(beginning) else None
