"""Free queries: how a text begins, for what follows it.

What opens a conversation, or the first sentence of a text, says what the rest is about: the inverse
cloze task (Lee, Chang and Toutanova 2019, arXiv 1906.00300), of the first sentence alone.
"""

import itertools
import re
from collections.abc import Sequence

from customir.corpus.quotes import is_attribution
from customir.queries.speakers import SPEAKER, speakers, without_names
from customir.tokenize import length_of, words_of
from customir.workspace.passages import Passage

STYLE = "ict"
# Fewer words open too much ("Hi all,"), and fewer that follow are no passage.
MINIMUM_WORDS, MINIMUM_REST = 5, 20
# Mail programs break lines before here; a longer line was not broken at all.
MAXIMUM_WIDTH = 100
FIRST_WORD = re.compile(r"[\w\"'(]\S*")  # not what marks a list or a quote
# Where a text comes from and of when it is, in feeds: "URL: http://... Date: 2002-10-02".
LINK_OR_DATE = re.compile(r"\b(?:https?://|www\.)\S+|\b\d{4}-\d\d-\d\d(?:T\S+)?")
SENTENCE_END = re.compile(r"(?<=[.!?\u2026\u3002\uff01\uff1f])[\"')\]]*\s+|\n")


def inverse_cloze_queries(passages: Sequence[Passage]) -> list[tuple[Passage, str]]:
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
    text, flowing = _without_source(text)
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
            found = SENTENCE_END.search(flowing, end)
            if found is None:
                return None
            end = found.end()
            if length_of(words_of(flowing[: found.start()])) >= MINIMUM_WORDS:
                break
        opening, rest = flowing[: found.start()], text[end:]
    opening, rest = without_names(opening, names), rest.strip()
    if length_of(words_of(opening)) < MINIMUM_WORDS or length_of(words_of(rest)) < MINIMUM_REST:
        return None
    return opening, rest


def without_wraps(text: str) -> str:
    """The text with a space for each line break that a mail program made: of the same length.

    That is one where the next line's first word would have made its line wider than any.
    """
    lines = text.split("\n")
    width = max((len(line) for line in lines if len(line) <= MAXIMUM_WIDTH), default=0)
    flowing = lines[:1]
    for before, line in itertools.pairwise(lines):
        word = FIRST_WORD.match(line)
        broken = (
            word
            and width < len(before) + 1 + len(word[0])
            and max(len(before), len(line)) <= MAXIMUM_WIDTH
            and not before.endswith(":")
        )
        flowing.append((" " if broken else "\n") + line)
    return "".join(flowing)


def _without_source(text: str) -> tuple[str, str]:
    """The text from where it begins to say something, and the same `without_wraps`."""
    flowing = without_wraps(text)
    start = 0
    while (end := flowing.find("\n", start)) >= 0 and _names_its_source(flowing[start:end]):
        start = end + 1
    return text[start:], flowing[start:]


def _names_its_source(line: str) -> bool:
    """Whether it is empty, links and dates with their labels, or who wrote what is quoted below."""
    line = line.strip()
    left = LINK_OR_DATE.sub(" ", line).split()
    if LINK_OR_DATE.search(line) and all(piece.endswith(":") for piece in left):
        return True
    return not line or is_attribution(line)
