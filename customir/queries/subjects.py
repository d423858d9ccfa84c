"""Subject pairs: the subject that a person wrote is the query for the text below it."""

import re
from collections import Counter
from collections.abc import Sequence

from customir.queries.own_words import LINK_OR_DATE, names_source
from customir.text.mail_labels import says_answer, without_prefixes
from customir.text.tokenize import length_of, words_of
from customir.workspace.passages import Passage

MINIMUM_WORDS = 2
# The subject of a thread does not describe a shorter text ("Sure.").
MINIMUM_TEXT = 12
# The text must have this many words of its own besides the subject's, outside links and dates.
MINIMUM_ADDED = 5
STYLE = "subject"
# The former subject in "Pumps (was: Oil)", also in other languages, where the colon is required.
FORMER_SUBJECT = re.compile(
    r"\s*[\[(\uff08]\s*(?:(?:was|war|re|fwd?)\b\s*:?"
    r"|(?:\u00e9tait|antes|era|voorheen|by\u0142o|\u0431\u044b\u043b\u043e|\u65e7|\u539f|\uc774\uc804|\u0643\u0627\u0646)\s*[:\uff1a]).*$",
    re.IGNORECASE,
)
NUMBER = re.compile(r"\d+")
# "(no subject)", in any language.
PLACEHOLDER = re.compile(r"\([^()]*\)")
# If the subjects of this many threads differ only in their numbers, a program wrote them.
TEMPLATE_THREADS = 3


def subject_queries(passages: Sequence[Passage]) -> list[tuple[Passage, str]]:
    """One passage per thread, with its title as the query, without prefixes and mailing-list tags.

    Of near-duplicates in several threads, one is returned. The passage is the first one of its
    document and has at least MINIMUM_TEXT words. One whose title is no reply is preferred: its
    author wrote the subject, and replies leave it. In training, its title must be removed from it;
    otherwise there would be nothing to learn. Titles that only differ in their numbers between
    threads were written by a program and are left out, and so are titles that the text already
    contains, or to which it adds next to nothing.
    """
    pairs: dict[str, tuple[Passage, str]] = {}
    templates: dict[str, str] = {}
    for passage in sorted(passages, key=lambda p: (says_answer(p.title), p.key)):
        query = bare_title(passage.title)
        if passage.ordinal or length_of(_words(query)) < MINIMUM_WORDS:
            continue
        if PLACEHOLDER.fullmatch(query):
            continue
        templates[passage.thread] = NUMBER.sub("#", query)
        if passage.thread not in pairs and _is_about(passage.text, query):
            pairs[passage.thread] = (passage, query)
    threads = Counter(templates.values())
    groups = {passage.duplicates: (passage, query) for passage, query in pairs.values()}
    return [
        (passage, query)
        for passage, query in groups.values()
        if "#" not in templates[passage.thread]
        or threads[templates[passage.thread]] < TEMPLATE_THREADS
    ]


def _is_about(text: str, query: str) -> bool:
    """Whether a text is long enough for its subject and says more than it."""
    repeated = " ".join(query.split()) in " ".join(text.split())
    if repeated or length_of(words_of(text)) < MINIMUM_TEXT:
        return False
    lines = [LINK_OR_DATE.sub(" ", line) for line in text.split("\n") if not names_source(line)]
    own = set(_words("\n".join(lines))) - set(words_of(query))
    return length_of(sorted(own)) >= MINIMUM_ADDED


def bare_title(title: str) -> str:
    """A title without prefixes, mailing-list tags and the thread's former subject."""
    bare = without_prefixes(title).strip()
    return FORMER_SUBJECT.sub("", bare) or bare


def _words(query: str) -> list[str]:
    """The words that are not numbers."""
    return [word for word in words_of(query) if not word.isdigit()]
