"""Detects the language of a text."""

from functools import cache

from py3langid.langid import MODEL_FILE, LanguageIdentifier

from customir.text.tokenize import length_of, words_of

# A text with fewer words, code or a table is easily mistaken for a rare language.
FEWEST_WORDS = 5
LEAST_PROBABILITY = 0.7
NO_LANGUAGE = "zxx"  # what py3langid calls code
LOOKED_AT = 300  # characters; more take longer and hardly tell more


def language_of(text: str) -> str:
    """The ISO 639-1 code of a text's language; empty if it is unknown, as for code and tables."""
    text = text[:LOOKED_AT]
    if length_of(words_of(text)) < FEWEST_WORDS:
        return ""
    language, probability = identifier().classify(text)
    told = probability >= LEAST_PROBABILITY and language != NO_LANGUAGE
    return str(language) if told else ""


@cache
def identifier() -> LanguageIdentifier:
    """py3langid's model, with probabilities that sum to 1 over its languages."""
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
