"""Text that nobody searches for: automatic replies, bounces and lines that many documents share."""

import re
from collections import Counter
from collections.abc import Sequence

from customir.text.mail_labels import AUTOMATIC as AUTOMATIC_BY_LANGUAGE
from customir.workspace.passages import Passage

AUTOMATIC = re.compile(
    r"(?i)\b(out of (the )?office|automatic reply|auto[- ]?reply|autoreply|auto[- ]response|"
    r"abwesenheitsnotiz|vacation (reply|message)|delivery (status notification|has failed)|"
    r"undeliverable|undelivered mail|mailer-daemon|returned mail|mail delivery failed|"
    r"this (is|(e-?mail|mail|message|warning|notice|notification) (is|was|has been))"
    r" (an? )?(\w+ )?automat(ed|ic|ically))\b"
)
# If the title does not show that a mail is automatic, its first characters usually do.
BEGINNING = 200
# A line is boilerplate if at least this many documents and this share of them contain it.
REPEATED_DOCUMENTS, REPEATED_SHARE = 10, 0.02
FORM_SHARE = 0.5


def automatic(passage: Passage) -> bool:
    """Whether the passage looks like an automatic reply or a bounce."""
    return any(
        pattern.search(text)
        for pattern in (AUTOMATIC, AUTOMATIC_BY_LANGUAGE)
        for text in (passage.title, passage.text[:BEGINNING])
    )


def boilerplate(passages: Sequence[Passage]) -> set[str]:
    """The keys of the passages that are mostly boilerplate, such as footers, disclaimers and forms.

    More than half of such a passage's characters are in lines that many documents repeat.
    """
    homes: Counter[str] = Counter()
    seen: set[tuple[str, str]] = set()
    for passage in passages:
        for line in _lines(passage):
            if (passage.document, line) not in seen:
                seen.add((passage.document, line))
                homes[line] += 1
    documents = len({passage.document for passage in passages})
    least = max(REPEATED_DOCUMENTS, REPEATED_SHARE * documents)
    found = set()
    for passage in passages:
        lines = _lines(passage)
        repeated = sum(len(line) for line in lines if homes[line] >= least)
        if repeated > FORM_SHARE * sum(map(len, lines)):
            found.add(passage.key)
    return found


def _lines(passage: Passage) -> list[str]:
    return [line for line in map(str.strip, passage.text.lower().split("\n")) if line]
