"""Reply pairs: a message is the query for the passage with which somebody else answered it."""

from collections import defaultdict
from collections.abc import Sequence

from customir.queries.own_words import is_prose, without_closing_name, without_opening_lines
from customir.queries.subjects import bare_title
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
    documents: Sequence[Document], passages: Sequence[Passage], count: int
) -> list[tuple[Passage, str]]:
    """At most `count` passages per thread, each the first answer by another person to a message.

    The query is the text of that message. Messages with a question mark are preferred, then earlier
    ones. A message without a date or a sender is neither a query nor an answer, because it is
    unknown who answered whom.
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
            answer = _answer(message, members[number + 1 :], first)
            query = _asked(message)
            if answer and answer.key not in found and length_of(words_of(query)) >= MINIMUM_ASKED:
                found[answer.key] = (not QUESTION_MARKS & set(message.text), answer, query)
        chosen = sorted(found.values(), key=lambda pair: pair[0])[:count]
        pairs += [(passage, query) for _, passage, query in chosen]
    return pairs


def _answer(
    message: Document, later: Sequence[Document], first: dict[str, Passage]
) -> Passage | None:
    """The first passage of the first meaningful later message by another person."""
    own = first.get(message.key)
    for document in later:
        passage = first.get(document.key)
        if (
            passage is not None
            and document.sender != message.sender
            and (own is None or passage.duplicates != own.duplicates)
            and length_of(words_of(passage.text)) >= MINIMUM_WORDS
            and is_prose(without_opening_lines(passage.text))
        ):
            return passage
    return None


def _asked(message: Document) -> str:
    """The message's subject and text, without salutations and the author's closing name."""
    text = without_closing_name(without_opening_lines(message.text), message.sender)
    return first_words(f"{bare_title(message.title)}\n{text}", MAXIMUM_WORDS)
