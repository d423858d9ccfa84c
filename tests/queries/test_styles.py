"""The prompts in each language: what they say, and that English ones never change."""

import hashlib

import pytest

from customir.queries.filters import reject_by_form, wrong_language
from customir.queries.styles import (
    ENGLISH,
    EXAMPLES_PER_PROMPT,
    PROMPTS,
    STYLES,
    prompts_from_corpus,
)
from customir.text.language import is_traditional_chinese

LANGUAGES = sorted(PROMPTS)
# Of the English prompts with which all published figures were measured.
ENGLISH_DIGEST = "dd56814f1db7c6df41a55648b81a39c67326c0a3266d86064d2acbf19ab320b1"


def test_english_prompts_are_those_that_were_measured() -> None:
    digest = hashlib.sha256()
    for style in STYLES:
        for rotation in range(6):
            prompt = ENGLISH.prompt("Pump\nIt leaks.", style, rotation)
            digest.update("\0".join((prompt.shared, prompt.branch, prompt.leaf)).encode())
            digest.update(b"\0\0")
    assert digest.hexdigest() == ENGLISH_DIGEST


def test_which_languages_have_examples() -> None:
    expected = [
        "ar",
        "de",
        "en",
        "es",
        "fr",
        "it",
        "ja",
        "ko",
        "nl",
        "pl",
        "pt",
        "ru",
        "zh",
        "zh-Hant",
    ]
    assert expected == LANGUAGES


@pytest.mark.parametrize("code", LANGUAGES)
def test_a_prompt_reads_like_its_examples(code: str) -> None:
    language = PROMPTS[code]
    assert set(language.cues) == set(STYLES)
    assert len(set(language.cues.values())) == len(STYLES)
    assert all(cue.endswith((":", "：")) for cue in (language.passage, *language.cues.values()))
    for rotation, shown in enumerate(language.rotations):
        assert len(set(map(id, shown))) == EXAMPLES_PER_PROMPT
        prompt = language.prompt("P", "need", rotation)
        assert prompt.branch + prompt.leaf == f"{language.passage} P\n{language.cues['need']}"
        for example in shown:
            lines = [f"{language.passage} {example.passage}"]
            lines += [f"{language.cues[style]} {example.queries[style]}" for style in STYLES]
            assert "\n".join(lines) + "\n\n" in prompt.shared
    assert {id(e) for shown in language.rotations for e in shown} == set(map(id, language.examples))


@pytest.mark.parametrize("code", LANGUAGES)
def test_the_examples_would_pass_the_filters(code: str) -> None:
    language = PROMPTS[code]
    pairs = [(query, e.passage) for e in language.examples for query in e.queries.values()]
    assert len({query for query, _ in pairs}) == len(pairs)
    for query, passage in pairs:
        assert reject_by_form(query, passage, [], language.marks) is None, query
    wrong = wrong_language(*map(list, zip(*pairs, strict=True)))
    assert [query for (query, _), is_wrong in zip(pairs, wrong, strict=True) if is_wrong] == []


@pytest.mark.parametrize("code", LANGUAGES)
def test_answers_that_copy_the_prompt_are_dropped(code: str) -> None:
    language = PROMPTS[code]
    passage = language.examples[0].passage
    for cue in language.cues.values():
        answer = f"{language.examples[1].queries['need']} {cue} x"
        assert reject_by_form(answer, passage, [], language.marks) == "leaks the prompt"
    for rotation in range(len(language.rotations)):
        for query in language.shown_queries(rotation):
            # Up to three words may be like the example's.
            found = reject_by_form(query, passage, language.shown_queries(rotation), language.marks)
            assert found in (None, "leaks the prompt")
            assert found or len(query) <= 30


def test_chinese_examples_are_in_their_script() -> None:
    for code, expected in (("zh", False), ("zh-Hant", True)):
        for example in PROMPTS[code].examples:
            assert is_traditional_chinese(example.passage) is expected
            queries = "".join(example.queries.values())
            assert is_traditional_chinese(queries) is expected


def test_a_language_without_a_file_is_shown_the_corpus() -> None:
    language = prompts_from_corpus("sv", [("Pumpen läcker.", "Läckande pump")])
    assert language.origin == "subjects of the corpus"
    prompt = language.prompt("Taket", "question", 0)
    assert prompt.shared.endswith(
        "Write in the language of the passage.\n\n"
        "Passage: Pumpen läcker.\nSearch: Läckande pump\n\n"
    )
    assert prompt.branch + prompt.leaf == "Passage: Taket\nSearch:"
    bare = prompts_from_corpus("sv", [])
    assert bare.origin == "none"
    assert bare.prompt("Taket", "question", 0).shared.endswith("of the passage.\n\n")
