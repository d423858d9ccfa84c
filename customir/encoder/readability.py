"""Whether a tokenizer reads a text in words, or falls back to unknown tokens and single characters.

A model has learned nothing about a text that reaches it as unknown tokens or letter by letter. This
says so before any embedding, without a list of languages. Latin script always counts as readable,
because every vocabulary has pieces of it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from tokenizers import Tokenizer  # type: ignore[import-untyped]

UNKNOWN_TOKENS = ("[UNK]", "<unk>")
# A tenth of unknown tokens is more than names and symbols make. all-MiniLM-L6-v2 has about one
# character per token in scripts that it cannot read (docs/results/languages.md). So have vocabularies
# that were made for Chinese, where an ideograph is a word or a part of one.
MOST_UNKNOWN = 0.1
FEWEST_CHARACTERS, FEWEST_IDEOGRAPHS = 1.3, 0.8
IDEOGRAPH = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f]")
# Latin letters come before the first and between the other two.
LATIN_END, MORE_LATIN, MORE_LATIN_END = "\u0250", "\u1e00", "\u1f00"


@dataclass(frozen=True)
class Reading:
    """How a tokenizer splits texts.

    Attributes:
        tokens: The number of tokens, without special ones.
        unknown: How many of these are the unknown token.
        characters: The number of characters, without white space.
    """

    tokens: int
    unknown: int
    characters: int

    @property
    def unknown_share(self) -> float:
        """The share of unknown tokens, 0 to 1."""
        return self.unknown / max(1, self.tokens)

    @property
    def characters_per_token(self) -> float:
        """Mean characters per token; 0 without tokens."""
        return self.characters / max(1, self.tokens)


def read_with(tokenizer: Tokenizer, texts: Sequence[str]) -> Reading:
    """Count the tokens of `texts`. Padding, and what the tokenizer truncates, do not count."""
    unknown_ids = {tokenizer.token_to_id(name) for name in UNKNOWN_TOKENS} - {None}
    tokens = unknown = characters = 0
    for text, encoding in zip(
        texts, tokenizer.encode_batch(list(texts), add_special_tokens=False), strict=True
    ):
        tokens += sum(encoding.attention_mask)
        unknown += sum(token in unknown_ids for token in encoding.ids)
        end = max((stop for _, stop in encoding.offsets), default=0)
        characters += len("".join(text[:end].split()))
    return Reading(tokens, unknown, characters)


def is_readable(tokenizer: Tokenizer, text: str) -> bool:
    """Whether most letters of a text are Latin, or the tokenizer reads its others in longer pieces."""
    letters = [character for character in text if character.isalpha()]
    others = [letter for letter in letters if not _is_latin(letter)]
    if 2 * len(others) <= len(letters):
        return True
    # Words in Latin script beside the others would hide how these are read.
    rest = "".join(" " if _is_latin(character) else character for character in text)
    found = read_with(tokenizer, [rest])
    ideographs = sum(map(bool, map(IDEOGRAPH.match, others))) / len(others)
    fewest = ideographs * FEWEST_IDEOGRAPHS + (1 - ideographs) * FEWEST_CHARACTERS
    return found.unknown_share < MOST_UNKNOWN and found.characters_per_token >= fewest


def _is_latin(letter: str) -> bool:
    return letter < LATIN_END or MORE_LATIN <= letter < MORE_LATIN_END
