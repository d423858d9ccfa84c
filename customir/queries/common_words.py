"""Whether a text says anything: whether it has words that few passages of its corpus have.

"I'll test this as soon as I can." begins thousands of messages about anything. Counting words needs
no list of them in each language, and it knows the words that are common in this corpus alone.
"""

from collections import Counter
from collections.abc import Sequence

from customir.text.tokenize import words_of
from customir.workspace.passages import Passage

# A word is common if more than this share of the passages has it, and more than this number.
COMMON_SHARE, COMMON_PASSAGES = 0.05, 3
# Passages that are counted, evenly from the whole corpus.
COUNTED = 20_000
MINIMUM_RARE = 3


def common_words(passages: Sequence[Passage]) -> frozenset[str]:
    """The words that many passages of the corpus contain."""
    counted = passages[:: len(passages) // COUNTED + 1]
    number = Counter(word for passage in counted for word in set(words_of(passage.text)))
    most = max(COMMON_PASSAGES, COMMON_SHARE * len(counted))
    return frozenset(word for word, count in number.items() if count > most)


def says_something(text: str, common: frozenset[str]) -> bool:
    """Whether the text has at least MINIMUM_RARE different words that are not common."""
    rare = {word for word in words_of(text) if not word.isdigit()} - common
    return len(rare) >= MINIMUM_RARE
