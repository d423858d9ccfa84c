"""The speakers of a chat: the name of a speaker in a query suffices to find the passage.

People's names occur in both the query and its answer and do not tell what either is about. An
embedder that is trained on such pairs learns to match names: on the conversations of an IRC
channel, Recall@10 fell (docs/log/2026-11-26-recipe.md).
"""

import re

from customir.text.tokenize import LONE

BLANK_LINES = re.compile(r"\n\s*\n")
# "Ada 2004-12-25 09:14: ", as customir/corpus/readers/chat.py writes it, or "Ada: ".
SPEAKER = re.compile(r"([^\s:][^:\n]{0,40}?)(?:\s(?:\d{4}-\d\d-\d\d )?\d\d:\d\d)?:\s+")

TIMED_SPEAKER = re.compile(r"[^\s:][^:\n]{0,40}?\s(?:\d{4}-\d\d-\d\d )?\d\d:\d\d:\s+")

MENTION = re.compile(r"(?<!\S)@[^\W\d][\w-]*[:,]?(?=[\s.!?]|$)")


def speakers(text: str) -> frozenset[str]:
    """The names of the speakers of a chat; empty if the text is not a chat.

    A chat has at least two turns, and a speaker begins at least half of its lines or paragraphs.
    """
    for pieces in (text.split("\n"), BLANK_LINES.split(text)):
        filled = [piece for piece in pieces if piece.strip()]
        turns = [found for piece in filled if (found := SPEAKER.match(piece))]
        if len(turns) > 1 and 2 * len(turns) >= len(filled):
            return frozenset(turn[1] for turn in turns)
    return frozenset()


def names_a_speaker(query: str, passage: str) -> bool:
    """Whether the query contains the name of a speaker of the passage."""
    return any(_pattern(name).search(query) for name in speakers(passage))


def without_names(text: str, names: frozenset[str]) -> str:
    """`text` without these names and mentions ("@Ada"), and without the mark of an address ("Ada:")."""
    text = MENTION.sub(" ", text)
    for name in sorted(names, key=len, reverse=True):
        text = _pattern(name).sub(" ", text)
    return " ".join(text.split())


def _pattern(name: str) -> re.Pattern[str]:
    # In a script without spaces, other words may stand right beside a name.
    start = "" if LONE.match(name[0]) else r"(?<!\w)"
    stop = "" if LONE.match(name[-1]) else r"(?!\w)"
    return re.compile(rf"(?i){start}@?{re.escape(name)}{stop}(?:\s*[:,](?=\s|$))?")
