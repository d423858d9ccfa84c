"""Subject pairs: the subject that a person wrote is the query for the text below it."""

import re
from collections import Counter
from collections.abc import Sequence

from customir.text.mail_labels import without_prefixes
from customir.text.tokenize import length_of, words_of
from customir.workspace.passages import Passage

MINIMUM_WORDS = 2
# The subject of a thread does not describe a shorter text ("Sure.").
MINIMUM_TEXT = 12
STYLE = "subject"
# The former subject in "Pumps (was: Oil)", also in other languages, where the colon is required.
FORMER_SUBJECT = re.compile(
    r"\s*[\[(\uff08]\s*(?:(?:was|war|re|fwd?)\b\s*:?"
    r"|(?:\u00e9tait|antes|era|voorheen|by\u0142o|\u0431\u044b\u043b\u043e|\u65e7|\u539f|\uc774\uc804|\u0643\u0627\u0646)\s*[:\uff1a]).*$",
    re.IGNORECASE,
)
NUMBER = re.compile(r"\d+")
# If the subjects of this many threads differ only in their numbers, a program wrote them.
TEMPLATE_THREADS = 3


def subject_queries(passages: Sequence[Passage]) -> list[tuple[Passage, str]]:
    """One passage per thread, with its title as the query, without prefixes and mailing-list tags.

    The passage is the first one of its document and has at least MINIMUM_TEXT words. In training,
    its title must be removed from it; otherwise there would be nothing to learn. Titles that only
    differ in their numbers between threads were written by a program and are left out, and so are
    titles that the text already contains.
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
    """A title without prefixes, mailing-list tags and the thread's former subject."""
    bare = without_prefixes(title).strip()
    return FORMER_SUBJECT.sub("", bare) or bare


def _words(query: str) -> list[str]:
    """The words that are not numbers."""
    return [word for word in words_of(query) if not word.isdigit()]
