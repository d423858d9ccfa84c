"""Detects the language of a text."""

from collections import Counter
from collections.abc import Sequence
from functools import cache

from py3langid.langid import MODEL_FILE, LanguageIdentifier

from customir.text.tokenize import length_of, words_of

# A text with fewer words, code or a table is easily mistaken for a rare language.
FEWEST_WORDS = 5
LEAST_PROBABILITY = 0.7
NO_LANGUAGE = "zxx"  # what py3langid calls code
LOOKED_AT = 300  # characters; more take longer and hardly tell more
SAMPLE = 100  # texts that the main language is told from


def language_of(text: str) -> str:
    """The ISO 639-1 code of a text's language; empty if it is unknown, as for code and tables."""
    text = text[:LOOKED_AT]
    if length_of(words_of(text)) < FEWEST_WORDS:
        return ""
    language, probability = identifier().classify(text)
    told = probability >= LEAST_PROBABILITY and language != NO_LANGUAGE
    return str(language) if told else ""


def main_language(texts: Sequence[str]) -> str:
    """The language of most of a sample of `texts`; English if none of them has a known one."""
    sample = texts[:: -(-len(texts) // SAMPLE) or 1]
    counts = Counter(filter(None, map(language_of, sample)))
    return counts.most_common(1)[0][0] if counts else "en"


def is_traditional_chinese(text: str) -> bool:
    """Whether a Chinese text is in traditional rather than simplified characters.

    Characters of both scripts do not count; they are those that Big5 and GB 2312 have in common.
    """
    big5, gb2312 = (_encoded(text, charset) for charset in ("big5", "gb2312"))
    return len(big5 - gb2312) > len(gb2312 - big5)


def _encoded(text: str, charset: str) -> set[str]:
    """The characters of a text that a charset has."""
    return {character for character in set(text) if character.encode(charset, "ignore")}


@cache
def identifier() -> LanguageIdentifier:
    """py3langid's model, with probabilities that sum to 1 over its languages."""
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
