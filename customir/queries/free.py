"""Pairs that cost nothing: what a person wrote above, before or ahead of a passage, for that passage."""

from collections import Counter
from collections.abc import Mapping, Sequence

from customir.queries import openings, replies, subjects
from customir.workspace import content_key
from customir.workspace.documents import Document
from customir.workspace.passages import Passage
from customir.workspace.queries import FreeQuery, Query, Split

# Openings are like what an LLM asks for, so as judges they speak where there is nothing else.
FIRST, ELSE = (subjects.STYLE, replies.STYLE), (openings.STYLE,)
FEWEST: Mapping[Split, int] = {"dev": 25, "test": 50}
MOST: Mapping[Split, int] = {"dev": 1000, "test": 700}

Pairs = Mapping[str, Sequence[tuple[Passage, str]]]
"""Passages and queries, by style."""


def free_pairs(
    documents: Sequence[Document],
    passages: Sequence[Passage],
    by_people: Sequence[Passage],
    replies_a_thread: int,
) -> Pairs:
    """All of a corpus, by their styles: subject, reply and opening.

    Args:
        by_people: The passages that no program wrote.
    """
    return {
        subjects.STYLE: subjects.subject_queries(passages),
        replies.STYLE: replies.reply_queries(documents, by_people, replies_a_thread),
        openings.STYLE: openings.opening_queries(by_people),
    }


def without_query(passage: Passage, style: str) -> str:
    """The passage's text without what a free query of this style was taken from.

    It is never under its title: that is the query, or stands above the answer too. With it, there
    would be nothing to learn or to find.
    """
    if style == openings.STYLE and (found := openings.parts(passage.text)):
        return found[1]
    return passage.text


def drawn(pairs: Mapping[str, Sequence[Query]], most: int) -> list[Query]:
    """`most` of each style, but of openings only half as many, or as many as of all others.

    What a person wrote as a subject or a question teaches more than half of a passage does, and
    openings that outnumber these take away again (docs/recipe.md). Keys are hashes: the first ones
    are a random draw that new mail changes little.
    """
    first = {style: sorted(found, key=lambda query: query.key) for style, found in pairs.items()}
    asked = [query for style in FIRST for query in first.get(style, [])[:most]]
    openings_too = min(most, max(most // 2, len(asked)))
    return asked + [query for style in ELSE for query in first.get(style, [])[:openings_too]]


def held_out_free(
    pairs: Pairs, passages: Sequence[Passage], splits: Mapping[str, Split], fewest_threads: int
) -> list[FreeQuery]:
    """Subjects and replies of held-out threads, or openings where these are too few.

    At most `MOST` a split, evenly of each style; none at all where both are fewer than `FEWEST` or
    those of test of fewer threads than `fewest_threads`.
    """
    rows = {passage.key: row for row, passage in enumerate(passages)}
    for styles in (FIRST, ELSE):
        found: list[FreeQuery] = []
        for split, most in MOST.items():
            parts = [
                [
                    FreeQuery(
                        content_key("free", style, passage.key, text), style, text,
                        rows[passage.key], without_query(passage, style), split,
                    )
                    for passage, text in pairs[style]
                    if splits[passage.key] == split
                ]
                for style in styles
            ]  # fmt: skip
            found += _evenly(parts, most)
        threads = {passages[query.row].thread for query in found if query.split == "test"}
        count = Counter(query.split for query in found)
        if len(threads) >= fewest_threads and all(count[name] >= n for name, n in FEWEST.items()):
            return found
    return []


def _evenly(parts: Sequence[Sequence[FreeQuery]], most: int) -> list[FreeQuery]:
    """`most` in all: as many of each part, and more of the others where one has fewer.

    Keys are hashes: the first ones are a random draw that new mail changes little.
    """
    drawn = [sorted(part, key=lambda query: query.key) for part in parts]
    turns = range(max(map(len, drawn)))
    return [part[turn] for turn in turns for part in drawn if turn < len(part)][:most]
