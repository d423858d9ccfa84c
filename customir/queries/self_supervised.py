"""Self-supervised pairs: text above, before or at the start of a passage serves as its query.

There are three kinds: subject and text, message and reply, first sentence and rest (inverse cloze
task).
"""

from collections import Counter
from collections.abc import Mapping, Sequence

from customir.queries import inverse_cloze, replies, subjects
from customir.queries.common_words import common_words
from customir.workspace import content_key
from customir.workspace.documents import Document
from customir.workspace.passages import Passage
from customir.workspace.queries import Query, SelfSupervisedQuery, Split

# Inverse cloze queries resemble LLM queries, so they are used for evaluation only as a fallback.
PREFERRED, FALLBACK = (subjects.STYLE, replies.STYLE), (inverse_cloze.STYLE,)
FEWEST: Mapping[Split, int] = {"dev": 25, "test": 50}
MOST: Mapping[Split, int] = {"dev": 1000, "test": 700}

Pairs = Mapping[str, Sequence[tuple[Passage, str]]]
"""Passages and queries, by style."""


def self_supervised_pairs(
    documents: Sequence[Document], passages: Sequence[Passage], replies_per_thread: int
) -> Pairs:
    """All pairs of a corpus, by style: subject, reply and ict.

    Args:
        passages: Those that were not written by a program.
        replies_per_thread: Maximum number of reply pairs per thread.
    """
    common = common_words(passages)
    return {
        subjects.STYLE: subjects.subject_queries(passages),
        replies.STYLE: replies.reply_queries(documents, passages, replies_per_thread, common),
        inverse_cloze.STYLE: inverse_cloze.inverse_cloze_queries(passages, common),
    }


def without_query_text(passage: Passage, style: str, query: str) -> str:
    """The passage's text without the part that this query of this style was taken from.

    The title is left out too, because it is the query or is also the title of the message that is
    the query. If it were kept, there would be nothing to learn.
    """
    if style == inverse_cloze.STYLE:
        return inverse_cloze.rest_after(query, passage.text)
    return passage.text


def subsample(pairs: Mapping[str, Sequence[Query]], most: int) -> list[Query]:
    """Draw at most `most` pairs of each style, and usually fewer inverse cloze pairs.

    The limit for inverse cloze pairs is half of `most` or the number of all other pairs, whichever
    is larger, but never more than `most`. Subjects and questions teach more, and inverse cloze
    pairs that outnumber them lower the result. Keys are hashes, so the first ones are a random
    sample that new mail changes little.
    """
    first = {style: sorted(found, key=lambda query: query.key) for style, found in pairs.items()}
    preferred = [query for style in PREFERRED for query in first.get(style, [])[:most]]
    inverse_cloze_count = min(most, max(most // 2, len(preferred)))
    return preferred + [
        query for style in FALLBACK for query in first.get(style, [])[:inverse_cloze_count]
    ]


def held_out_pairs(
    pairs: Pairs, passages: Sequence[Passage], splits: Mapping[str, Split], fewest_threads: int
) -> list[SelfSupervisedQuery]:
    """Subjects and replies of held-out threads, or inverse cloze queries if those are too few.

    Each split has at most `MOST` pairs, evenly from each style. The pairs are too few if a split
    has fewer than `FEWEST` of them or test has fewer than `fewest_threads` threads. If the inverse
    cloze queries are too few as well, the result is empty.
    """
    rows = {passage.key: row for row, passage in enumerate(passages)}
    for styles in (PREFERRED, FALLBACK):
        found: list[SelfSupervisedQuery] = []
        for split, most in MOST.items():
            parts = [
                [
                    SelfSupervisedQuery(
                        content_key("free", style, passage.key, text), style, text,
                        rows[passage.key], without_query_text(passage, style, text), split,
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


def _evenly(parts: Sequence[Sequence[SelfSupervisedQuery]], most: int) -> list[SelfSupervisedQuery]:
    """Take `most` queries in total, as evenly from the parts as their sizes allow.

    Keys are hashes, so the first ones are a random sample that new mail changes little.
    """
    subsample = [sorted(part, key=lambda query: query.key) for part in parts]
    turns = range(max(map(len, subsample)))
    return [part[turn] for turn in turns for part in subsample if turn < len(part)][:most]
