"""Which language each passage is in, and the prompts in which the LLM is asked for its queries."""

from collections import Counter, defaultdict
from collections.abc import Sequence

from customir.llm.prompt import cut_at_sentence
from customir.queries.styles import PROMPTS, PromptLanguage, prompts_from_corpus
from customir.queries.subjects import MINIMUM_WORDS, bare_title
from customir.text.language import is_traditional_chinese, language_of
from customir.text.tokenize import length_of, words_of
from customir.workspace.passages import Passage

# Code and tables are misidentified as rare languages, though hardly ever as one of PROMPTS. Another
# language counts only if this share of the passages seem to be in it.
COMMON_LANGUAGE = 0.05
# Passages of the corpus that serve as examples, and the characters of each that are shown.
CORPUS_EXAMPLES, SHOWN_CHARACTERS = 6, 300
CHINESE, TRADITIONAL_CHINESE = "zh", "zh-Hant"


def prompt_languages(passages: Sequence[Passage]) -> list[PromptLanguage]:
    """The prompts for each passage: in its own language, or, if that is uncertain, in the main one.

    A language without a file in `prompts/` gets the English instruction with examples from the
    corpus. The main language is the one that most passages are in, or English if none is known.
    """
    told = [_language(passage.text) for passage in passages]
    counts = Counter(language for language in told if language)
    known = {
        language
        for language, count in counts.items()
        if language in PROMPTS or count >= COMMON_LANGUAGE * len(passages)
    }
    main = max(known, key=lambda language: (counts[language], language), default="en")
    spoken = [language if language in known else main for language in told]
    members: dict[str, list[Passage]] = defaultdict(list)
    for passage, language in zip(passages, spoken, strict=True):
        members[language].append(passage)
    prompts = {
        language: PROMPTS.get(language) or prompts_from_corpus(language, _examples(own))
        for language, own in members.items()
    }
    return [prompts[language] for language in spoken]


def _language(text: str) -> str:
    language = language_of(text)
    if language == CHINESE and is_traditional_chinese(text):
        return TRADITIONAL_CHINESE
    return language


def _examples(passages: Sequence[Passage]) -> list[tuple[str, str]]:
    """The beginnings of some passages, with their subjects."""
    found: dict[str, str] = {}
    for passage in sorted(passages, key=lambda passage: passage.key):
        subject = bare_title(passage.title)
        if length_of(words_of(subject)) >= MINIMUM_WORDS and len(found) < CORPUS_EXAMPLES:
            text = " ".join(cut_at_sentence(passage.text[:SHOWN_CHARACTERS]).split())
            found.setdefault(subject, text)
    return [(text, subject) for subject, text in found.items()]
