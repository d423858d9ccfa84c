"""Subject pairs: the subject that a person wrote, for the text that stands below it."""

import re
from collections import Counter
from collections.abc import Sequence

from customir.text.mail_labels import without_prefixes
from customir.text.tokenize import length_of, words_of
from customir.workspace.passages import Passage

MINIMUM_WORDS = 2
# A shorter text ("Sure.") is not found by its thread's subject.
MINIMUM_TEXT = 12
STYLE = "subject"
# "Pumps (was: Oil)": what the thread was about before.
FORMER_SUBJECT = re.compile(r"\s*[\[(]\s*(?:was|war|re|fwd?)\b\s*:?.*$", re.IGNORECASE)
NUMBER = re.compile(r"\d+")
# A subject that so many threads share but for its numbers was written by a program.
TEMPLATE_THREADS = 3


def subject_queries(passages: Sequence[Passage]) -> list[tuple[Passage, str]]:
    """One passage per thread with its title as the query, without prefixes and lists' tags.

    The passage is the first one of its document, and says something of its own. Its title is to be
    hidden from it in training, or there would be nothing to learn. Titles that differ between
    threads in their numbers alone are a program's, and one that stands in its text already asks
    for nothing.
    """
    pairs: dict[str, tuple[Passage, str]] = {}
    templates: dict[str, str] = {}
    for passage in sorted(passages, key=lambda p: p.key):
        query = bare_title(passage.title)
        if passage.ordinal or length_of(_words(query)) < MINIMUM_WORDS:
            continue
        templates[passage.thread] = NUMBER.sub("#", query)
        if (
            passage.thread not in pairs
            and length_of(words_of(passage.text)) >= MINIMUM_TEXT
            and " ".join(query.split()) not in " ".join(passage.text.split())
        ):
            pairs[passage.thread] = (passage, query)
    threads = Counter(templates.values())
    return [
        (passage, query)
        for passage, query in pairs.values()
        if "#" not in templates[passage.thread]
        or threads[templates[passage.thread]] < TEMPLATE_THREADS
    ]


def bare_title(title: str) -> str:
    """A title without prefixes, lists' tags and what the thread was called before."""
    bare = without_prefixes(title).strip()
    return FORMER_SUBJECT.sub("", bare) or bare


def _words(query: str) -> list[str]:
    """The words that are no numbers."""
    return [word for word in words_of(query) if not word.isdigit()]
