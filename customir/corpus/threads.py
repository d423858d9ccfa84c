"""Groups documents into conversation threads."""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from customir.corpus.disjoint_set import DisjointSet
from customir.text.mail_labels import bare_subject, prefixes

ADDRESS = re.compile(r"[^\s<>()\[\],;:\"']+@[^\s<>()\[\],;:\"']+")
# Limits for an announcement to thousands, and for a subject of thousands of messages ("Re: hello").
MOST_PARTICIPANTS, EARLIER_LOOKED_AT = 100, 200
# Nodes of the union-find: documents, Message-IDs and named threads never mix.
DOCUMENT = "document "


@dataclass(frozen=True)
class Post:
    """The parts of a document that threading uses.

    Attributes:
        message_id: The Message-ID with its angle brackets; empty if the document is not mail or has
            no Message-ID.
        thread: The thread's name in the document's source; empty if the source names none.
        participants: The addresses of the sender and recipients; empty if not all are known.
    """

    key: str
    source: str
    message_id: str
    title: str
    date: str | None
    references: tuple[str, ...]
    is_mail: bool
    thread: str
    participants: frozenset[str] = frozenset()


def find_threads(posts: Sequence[Post]) -> dict[str, str]:
    """The thread of every document key, named by the smallest document key in it.

    Messages are joined by References and In-Reply-To, even through messages that are not in the
    corpus (Zawinski's algorithm, https://www.jwz.org/doc/threading.html). A reply without either
    ("Re:" and no reference) joins the latest earlier message with the same subject and, if the
    participants are known, at least one common participant. The result does not depend on the order
    of `posts`.
    """
    sets: DisjointSet[str] = DisjointSet()
    subjects: dict[str, list[Post]] = defaultdict(list)
    for post in posts:
        node = _document(post.key)
        for reference in (post.message_id, *post.references):
            if reference:
                sets.merge(node, "message " + reference)
        if post.thread:
            sets.merge(node, f"thread {post.source}\n{post.thread}")
        if post.is_mail and (subject := bare_subject(post.title)):
            subjects[subject].append(post)
    for same in subjects.values():
        same.sort(key=lambda post: (post.date or "", post.key))
        for at, later in enumerate(same):
            if later.references or not prefixes(later.title):
                continue
            before = reversed(same[max(at - EARLIER_LOOKED_AT, 0) : at])
            answered = next((earlier for earlier in before if _may_answer(later, earlier)), None)
            if answered:
                sets.merge(_document(answered.key), _document(later.key))
    named = sets.smallest(_document(post.key) for post in posts)
    return {post.key: named[_document(post.key)].removeprefix(DOCUMENT) for post in posts}


def participants(sender: str, recipients: str) -> frozenset[str]:
    """The addresses in a message's From, To and Cc; none if it names no recipients."""
    if "@" not in recipients:
        return frozenset()
    found = ADDRESS.findall(f"{sender} {recipients}".lower())
    return frozenset(found[:MOST_PARTICIPANTS])


def _may_answer(answer: Post, earlier: Post) -> bool:
    """Whether two messages share a participant, or the participants of one are unknown."""
    if not answer.participants or not earlier.participants:
        return True
    return not answer.participants.isdisjoint(earlier.participants)


def _document(key: str) -> str:
    return DOCUMENT + key
