"""Who speaks in a chat's passage: a query with such a name is found by the name alone.

What people call each other stands in both the query and its answer and says nothing of what either is
about. An embedder that learns from such pairs learns to match names: on an IRC channel's
conversations Recall@10 fell (docs/log/2026-11-26-recipe.md).
"""

import re

BLANK_LINES = re.compile(r"\n\s*\n")
# "Ada 2004-12-25 09:14: ", as customir/corpus/readers/chat.py has it, or "Ada: ".
SPEAKER = re.compile(r"([^\s:][^:\n]{0,40}?)(?:\s(?:\d{4}-\d\d-\d\d )?\d\d:\d\d)?:\s+")

TIMED_SPEAKER = re.compile(r"[^\s:][^:\n]{0,40}?\s(?:\d{4}-\d\d-\d\d )?\d\d:\d\d:\s+")


def speakers(text: str) -> frozenset[str]:
    """The names before the turns of a chat; none where a text is no chat.

    A chat has two turns at least, and a speaker begins every second of its lines or paragraphs.
    """
    for pieces in (text.split("\n"), BLANK_LINES.split(text)):
        filled = [piece for piece in pieces if piece.strip()]
        turns = [found for piece in filled if (found := SPEAKER.match(piece))]
        if len(turns) > 1 and 2 * len(turns) >= len(filled):
            return frozenset(turn[1] for turn in turns)
    return frozenset()


def names_a_speaker(query: str, passage: str) -> bool:
    """Whether a name of those who speak in the passage stands in the query."""
    return any(_pattern(name).search(query) for name in speakers(passage))


def without_names(text: str, names: frozenset[str]) -> str:
    """`text` without these names, and without the mark after a name that someone is called by."""
    for name in sorted(names, key=len, reverse=True):
        text = _pattern(name).sub(" ", text)
    return " ".join(text.split())


def _pattern(name: str) -> re.Pattern[str]:
    return re.compile(rf"(?i)(?<!\w)@?{re.escape(name)}(?!\w)(?:\s*[:,](?=\s|$))?")
