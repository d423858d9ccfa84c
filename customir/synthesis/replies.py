"""Free queries: what somebody asked, for the passage that somebody else answered with."""

from collections import defaultdict
from collections.abc import Sequence

from customir.corpus.document import Document, Passage
from customir.synthesis.subjects import ANSWER_MARKS
from customir.words import length_of, words_of

STYLE = "reply"
# Shorter answers ("Thanks!", "see below") are found by nobody.
MINIMUM_WORDS = 12
# The question's end is mostly greetings; the embedder cuts there anyway.
MAXIMUM_WORDS = 120


def reply_queries(
    documents: Sequence[Document], passages: Sequence[Passage]
) -> list[tuple[Passage, str]]:
    """One passage a thread: the first answer by another person to its first question mail.

    The query is the question mail's text. A mail without a question mark is none, nor is one
    without a date: it can't be told what came after it.
    """
    first = {passage.document: passage for passage in passages if passage.ordinal == 0}
    threads: dict[str, list[Document]] = defaultdict(list)
    for document in documents:
        if document.date:
            threads[document.thread].append(document)
    pairs = []
    for _, members in sorted(threads.items()):
        members.sort(key=lambda document: (document.date or "", document.key))
        question = next((document for document in members if "?" in document.text), None)
        if question is None:
            continue
        for answer in members[members.index(question) + 1 :]:
            passage = first.get(answer.key)
            if (
                passage is not None
                and answer.sender
                and answer.sender != question.sender
                and passage.duplicates != first[question.key].duplicates
                and length_of(words_of(passage.text)) >= MINIMUM_WORDS
            ):
                pairs.append((passage, _asked(question)))
                break
    return pairs


def _asked(question: Document) -> str:
    subject = ANSWER_MARKS.sub("", question.title).strip()
    return " ".join(f"{subject}\n{question.text}".split()[:MAXIMUM_WORDS])
