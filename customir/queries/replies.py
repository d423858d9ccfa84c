"""Reply pairs: a message is the query for the passage with which somebody else answered it."""

from collections import defaultdict
from collections.abc import Sequence

from customir.queries.common_words import says_something
from customir.queries.own_words import (
    is_prose,
    without_closing_name,
    without_opening_lines,
    without_salutation,
)
from customir.queries.subjects import bare_title
from customir.text.mail_labels import says_answer
from customir.text.tokenize import first_words, length_of, words_of
from customir.workspace.documents import Document
from customir.workspace.passages import Passage

STYLE = "reply"
# Nobody searches for shorter answers ("Thanks!", "see below"), and shorter messages ask nothing.
MINIMUM_WORDS, MINIMUM_ASKED = 12, 5
# The end of a message is mostly greetings, and the embedder truncates it anyway.
MAXIMUM_WORDS = 120
# Latin, full-width and Arabic; a Greek one is a semicolon, which says too little.
QUESTION_MARKS = frozenset("?\uff1f\u061f")


def reply_queries(
    documents: Sequence[Document],
    passages: Sequence[Passage],
    count: int,
    common: frozenset[str] = frozenset(),
) -> list[tuple[Passage, str]]:
    """At most `count` passages per thread, each the first answer by another person to a message.

    The query is the text of that message. Messages with a question mark are preferred, then earlier
    ones. A message without a date or a sender is neither a query nor an answer, because it is
    unknown who answered whom, and neither is one that says nothing beside its subject.

    Args:
        common: The words that many passages of the corpus contain.
    """
    first = {passage.document: passage for passage in passages if passage.ordinal == 0}
    threads: dict[str, list[Document]] = defaultdict(list)
    for document in documents:
        if document.date and document.sender:
            threads[document.thread].append(document)
    pairs: list[tuple[Passage, str]] = []
    for _, members in sorted(threads.items()):
        members.sort(key=lambda document: (document.date or "", document.key))
        found: dict[str, tuple[bool, Passage, str]] = {}
        for number, message in enumerate(members):
            text = _own_text(message)
            query = first_words(f"{bare_title(message.title)}\n{text}", MAXIMUM_WORDS)
            if length_of(words_of(query)) < MINIMUM_ASKED or not says_something(text, common):
                continue
            answer = _answer(message, members[number + 1 :], first, common)
            if answer and answer.key not in found:
                found[answer.key] = (not QUESTION_MARKS & set(message.text), answer, query)
        chosen = sorted(found.values(), key=lambda pair: pair[0])[:count]
        pairs += [(passage, query) for _, passage, query in chosen]
    return pairs


def _answer(
    message: Document,
    later: Sequence[Document],
    first: dict[str, Passage],
    common: frozenset[str],
) -> Passage | None:
    """The first passage of the first meaningful later message by another person.

    A message that is no reply by its title does not answer one that is, even if its date says so:
    clocks are wrong, and a message that began the thread asks.
    """
    own = first.get(message.key)
    for document in later:
        passage = first.get(document.key)
        if (
            passage is not None
            and document.sender != message.sender
            and (says_answer(document.title) or not says_answer(message.title))
            and (own is None or passage.duplicates != own.duplicates)
            and length_of(words_of(passage.text)) >= MINIMUM_WORDS
            and is_prose(without_opening_lines(passage.text))
            and says_something(passage.text, common)
        ):
            return passage
    return None


def _own_text(message: Document) -> str:
    """The message's text, without salutations and the author's closing name."""
    text = without_salutation(without_opening_lines(message.text))
    return without_closing_name(text, message.sender)
