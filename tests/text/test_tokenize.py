"""Words and their number, with spaces and without."""

import pytest

from customir.text.tokenize import first_words, length_of, words_of


@pytest.mark.parametrize(
    ("text", "words", "length"),
    [
        ("The big pump, in Hall 2!", ["the", "big", "pump", "in", "hall", "2"], 6),
        ("Größe der Tür", ["größe", "der", "tür"], 3),
        ("油泵漏油", ["油", "泵", "漏", "油"], 2),
        ("ポンプのA4サイズ", [*"ポンプの", "a4", *"サイズ"], 4.5),
        ("커피 머신", ["커피", "머신"], 2),
        ("?! ...", [], 0),
        ("", [], 0),
    ],
)
def test_words_of_any_script(text: str, words: list[str], length: float) -> None:
    assert words_of(text) == words
    assert length_of(words_of(text)) == length


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("one  two\nthree four", "one two three"),
        ("one two", "one two"),
        ("泵在二号厅漏油了", "泵在二号厅漏"),
        ("Ada 泵在二号厅漏油了 Bob", "Ada 泵在二号"),
        ("", ""),
    ],
)
def test_first_words_count_characters_of_scripts_without_spaces(text: str, expected: str) -> None:
    assert first_words(text, 3) == expected
