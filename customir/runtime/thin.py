"""Passages with hardly any text of their own, which their thread's subject alone would rank first.

Each answer carries the subject of its thread. Of "Thanks, that was it." under "Razor authentication",
half of the words are the subject, so BM25 puts it above the messages that say something about it.
"""

from collections.abc import Sequence
from dataclasses import replace

from customir.runtime.index import IndexedPassage
from customir.text.mail_labels import bare_subject
from customir.text.tokenize import length_of, words_of

# docs/results/thin-hits.md; a passage of so many words is also long enough for a subject pair.
FEWEST_WORDS = 12


def mark_thin(passages: Sequence[IndexedPassage]) -> list[IndexedPassage]:
    """Mark the passages of fewer than 12 words, if their thread has a longer one with their subject.

    A short message that stands alone ("Invoice 4711", with the invoice attached) and a short file
    are not marked, so that nothing is found by its title less well than a longer passage is.

    Args:
        passages: All of each thread.

    Returns:
        The passages, in order, with `thin` set.
    """
    short = [length_of(words_of(passage.text)) < FEWEST_WORDS for passage in passages]
    longer = {
        _subject(passage) for passage, is_short in zip(passages, short, strict=True) if not is_short
    }
    return [
        replace(passage, thin=is_short and _subject(passage) in longer)
        for passage, is_short in zip(passages, short, strict=True)
    ]


def _subject(passage: IndexedPassage) -> tuple[str, str]:
    """A passage's thread and subject, without "Re:" and the like."""
    return passage.thread, bare_subject(passage.title)
