"""Free queries: the subject that a person wrote, for the text that stands below it."""

from collections.abc import Sequence

from customir.corpus.mail_labels import without_prefixes
from customir.tokenize import length_of, words_of
from customir.workspace.passages import Passage

MINIMUM_WORDS = 2
STYLE = "subject"


def subject_queries(passages: Sequence[Passage]) -> list[tuple[Passage, str]]:
    """One passage a thread with its title as the query, marks of answers and lists taken off.

    The passage is the first one of its document. Its title is to be hidden from it in training,
    or there would be nothing to learn.
    """
    pairs: dict[str, tuple[Passage, str]] = {}
    for passage in sorted(passages, key=lambda p: p.key):
        query = without_prefixes(passage.title)
        if (
            passage.ordinal == 0
            and passage.thread not in pairs
            and length_of(words_of(query)) >= MINIMUM_WORDS
        ):
            pairs[passage.thread] = (passage, query)
    return list(pairs.values())
