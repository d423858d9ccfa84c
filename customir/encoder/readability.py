"""Whether a tokenizer reads a text in words, or falls back to unknown tokens and single characters.

A model has learned nothing about a text that reaches it as unknown tokens or letter by letter. This
says so before any embedding, without a list of languages. Latin script always counts as readable,
because every vocabulary has pieces of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from tokenizers import Tokenizer  # type: ignore[import-untyped]

from customir.text.tokenize import LONE

UNKNOWN_TOKENS = ("[UNK]", "<unk>")
# docs/results/languages.md: all-MiniLM-L6-v2 has 0.4 to 1.1 characters per token in scripts that it
# cannot read, and more than 1.7 in languages of Latin script. A multilingual vocabulary has more
# than one character per token in scripts without spaces, and more than 1.5 in others.
MOST_UNKNOWN = 0.1
FEWEST_CHARACTERS, FEWEST_CHARACTERS_UNSPACED = 1.3, 0.8
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
    """Whether a tokenizer reads most of a text in more than single characters."""
    letters = [character for character in text if character.isalpha()]
    foreign = sum(not _is_latin(letter) for letter in letters)
    if 2 * foreign <= len(letters):
        return True
    found = read_with(tokenizer, [text])
    unspaced = 2 * len(LONE.findall(text)) > len(letters)
    fewest = FEWEST_CHARACTERS_UNSPACED if unspaced else FEWEST_CHARACTERS
    return found.unknown_share < MOST_UNKNOWN and found.characters_per_token >= fewest


def _is_latin(letter: str) -> bool:
    return letter < LATIN_END or MORE_LATIN <= letter < MORE_LATIN_END
