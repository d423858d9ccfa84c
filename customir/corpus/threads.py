"""Which documents belong to one conversation."""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from customir.corpus.unions import Unions

# "Re:", "AW:", "Fwd:", "Re[2]:" and a list's "[tag]", in any number and order.
PREFIX = re.compile(
    r"(?:(?:re|aw|antw|sv|vs|res|rif|fwd?|wg|tr|rv)\s*(?:\[\d+\]|\(\d+\))?\s*:|\[[^\]]{1,40}\])\s*",
    re.IGNORECASE,
)
# Nodes of the union-find: documents, Message-IDs and named threads never mix.
DOCUMENT = "document "


@dataclass(frozen=True)
class Post:
    """What threading looks at of a document.

    Attributes:
        message_id: With its angle brackets; empty where the document is no mail or has none.
        thread: The thread's name in the document's source, where it gives one.
    """

    key: str
    source: str
    message_id: str
    title: str
    date: str | None
    references: tuple[str, ...]
    is_mail: bool
    thread: str


def find_threads(posts: Sequence[Post]) -> dict[str, str]:
    """The thread of every document key: the smallest document key in it.

    Messages are joined by References and In-Reply-To, also through messages that are not in the
    corpus. An answer without either ("Re:" and no reference) joins the latest earlier message of
    the same subject. The order of `posts` makes no difference.
    """
    unions: Unions[str] = Unions()
    subjects: dict[str, list[Post]] = defaultdict(list)
    for post in posts:
        node = _document(post.key)
        for reference in (post.message_id, *post.references):
            if reference:
                unions.join(node, "message " + reference)
        if post.thread:
            unions.join(node, f"thread {post.source}\n{post.thread}")
        if post.is_mail and (subject := bare_subject(post.title)):
            subjects[subject].append(post)
    for same in subjects.values():
        same.sort(key=lambda post: (post.date or "", post.key))
        for earlier, later in pairwise(same):
            if not later.references and _is_answer(later.title):
                unions.join(_document(earlier.key), _document(later.key))
    named = unions.smallest(_document(post.key) for post in posts)
    return {post.key: named[_document(post.key)].removeprefix(DOCUMENT) for post in posts}


def bare_subject(title: str) -> str:
    """A subject without "Re:", "Fwd:" and list tags, in lower case; empty where nothing is left."""
    return " ".join(_strip(title).casefold().split())


def _strip(title: str) -> str:
    at = 0
    title = title.strip()
    while found := PREFIX.match(title, at):
        at = found.end()
    return title[at:]


def _is_answer(title: str) -> bool:
    """Whether anything but a list's tag was put before the subject."""
    at = 0
    while found := PREFIX.match(title, at):
        if not found[0].startswith("["):
            return True
        at = found.end()
    return False


def _document(key: str) -> str:
    return DOCUMENT + key
