"""In which language a text is written."""

from functools import cache

from py3langid.langid import MODEL_FILE, LanguageIdentifier

from customir.text.tokenize import length_of, words_of

# Fewer words, and less sure: not told. `tests/text/test_language.py` has what that leaves.
FEWEST_WORDS = 5
LEAST_PROBABILITY = 0.9
LOOKED_AT = 500  # characters: of 1,500 messages more told 4 others


def language_of(text: str) -> str:
    """The ISO 639-1 code of a text's language; empty where it can't be told, as in code and tables."""
    text = text[:LOOKED_AT]
    if length_of(words_of(text)) < FEWEST_WORDS:
        return ""
    language, probability = identifier().classify(text)
    return str(language) if probability >= LEAST_PROBABILITY else ""


@cache
def identifier() -> LanguageIdentifier:
    """py3langid's model, with probabilities that sum to 1 over its languages."""
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
