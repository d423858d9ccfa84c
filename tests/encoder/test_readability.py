"""Which languages all-MiniLM-L6-v2's vocabulary reads."""

from pathlib import Path

import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

from customir.encoder.readability import is_readable, read_with
from customir.queries.styles import PROMPTS

UNREADABLE = {"ar", "ja", "ko", "ru", "zh", "zh-Hant"}


@pytest.fixture(scope="module")
def tokenizer(minilm: Path) -> Tokenizer:
    return Tokenizer.from_file(str(minilm / "tokenizer.json"))


@pytest.mark.parametrize("code", sorted(PROMPTS))
def test_other_scripts_are_not_read(code: str, tokenizer: Tokenizer) -> None:
    for example in PROMPTS[code].examples:
        for text in (example.passage, *example.queries.values()):
            assert is_readable(tokenizer, text) is (code not in UNREADABLE), text


@pytest.mark.parametrize(
    "text",
    [
        "RH 7.3 and 3Com 3C905C",
        "17.5 18.2",
        "☕ 🎉",
        "",
        "the letter И in an English text",
        "naïve Größe",
    ],
)
def test_latin_script_numbers_and_marks_are_read(text: str, tokenizer: Tokenizer) -> None:
    assert is_readable(tokenizer, text)


@pytest.mark.parametrize(
    "text", ["ファイアウォール", "Debian のインストールについて", "загрузка с CD"]
)
def test_kana_and_words_beside_latin_ones_are_not_read(text: str, tokenizer: Tokenizer) -> None:
    assert not is_readable(tokenizer, text)


def test_a_vocabulary_of_ideographs_reads_chinese() -> None:
    tokens = {"[UNK]": 0, **{character: n for n, character in enumerate("油泵漏了吗", 1)}}
    chinese = Tokenizer(WordPiece(tokens, unk_token="[UNK]"))
    chinese.normalizer = BertNormalizer()
    chinese.pre_tokenizer = BertPreTokenizer()
    assert is_readable(chinese, "油泵漏了吗")
    assert not is_readable(chinese, "油泵坏了吗")


def test_tokens_are_counted(tokenizer: Tokenizer) -> None:
    found = read_with(tokenizer, ["the pump", "泵在漏"])
    assert (found.tokens, found.characters) == (5, 10)
    assert found.unknown == sum(tokenizer.token_to_id(c) is None for c in "泵在漏") > 0
    assert found.unknown_share == found.unknown / 5
    assert found.characters_per_token == 2
    nothing = read_with(tokenizer, [])
    assert (nothing.unknown_share, nothing.characters_per_token) == (0, 0)


def test_what_is_truncated_does_not_count(minilm: Path) -> None:
    tokenizer = Tokenizer.from_file(str(minilm / "tokenizer.json"))
    tokenizer.enable_truncation(8)
    tokenizer.no_padding()
    assert not is_readable(tokenizer, "Насос в зале протекает " * 40)
