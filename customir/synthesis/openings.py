"""Free queries: how a text begins, for what follows it.

What opens a conversation, or the first sentence of a text, says what the rest is about: the inverse
cloze task (Lee, Chang and Toutanova 2019, arXiv 1906.00300), of the first sentence alone.
"""

import re
from collections.abc import Sequence

from customir.corpus.document import Passage
from customir.synthesis.speakers import SPEAKER, speakers, without_names
from customir.words import length_of, words_of

STYLE = "opening"
# Fewer words open too much ("Hi all,"), and fewer that follow are no passage.
MINIMUM_WORDS, MINIMUM_REST = 5, 20
SENTENCE_END = re.compile(r"(?<=[.!?\u2026\u3002\uff01\uff1f])[\"')\]]*\s+|\n")


def opening_queries(passages: Sequence[Passage]) -> list[tuple[Passage, str]]:
    """The first passage of each document, with its opening as the query.

    In training the passage is what follows (`parts`), or there would be nothing to learn.
    """
    pairs = []
    for passage in passages:
        if passage.ordinal == 0 and (found := parts(passage.text)):
            pairs.append((passage, found[0]))
    return pairs


def parts(text: str) -> tuple[str, str] | None:
    """The opening of a text without any speaker's name, and the rest; None where one is too short.

    The opening is the first turn of a chat, and else the first sentence that is no mere greeting.
    """
    names = speakers(text)
    chat = SPEAKER.match(text)
    if names and chat:
        turns = re.split(r"\n\s*\n|\n(?=[^\s:][^:\n]{0,40}: )", text, maxsplit=1)
        if len(turns) < 2:
            return None
        opening, rest = text[chat.end() : len(turns[0])], turns[1]
    else:
        end = 0
        while True:
            found = SENTENCE_END.search(text, end)
            if found is None:
                return None
            end = found.end()
            if length_of(words_of(text[: found.start()])) >= MINIMUM_WORDS:
                break
        opening, rest = text[: found.start()], text[end:]
    opening, rest = without_names(opening, names), rest.strip()
    if length_of(words_of(opening)) < MINIMUM_WORDS or length_of(words_of(rest)) < MINIMUM_REST:
        return None
    return opening, rest
