"""Passages: short enough, and nothing lost."""

import random
from itertools import pairwise
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from customir.corpus.chunking import Chunker
from customir.errors import UserError


@pytest.fixture(scope="module")
def tokenizer(minilm: Path) -> Tokenizer:
    tokenizer = Tokenizer.from_file(str(minilm / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def texts() -> list[str]:
    """Random texts of words, code, CJK, long words, accents, blank lines, one giant line."""
    chance = random.Random(7)
    pieces = [
        "word ", "Longer sentences end here. ", "\n\n", "\n", "    ", "日本語のテキスト。", "x" * 90,
        "naïve Ünïcödé ", "c(1.5,2.5,3.5),", "0x1f4a9;", "㍿", "e\u0301", "\t", "?! ", "😀", "don't ",
        "A" * 400, "https://example.org/a/b?c=d&e=f ",
    ]  # fmt: skip
    made = ["".join(chance.choices(pieces, k=chance.randint(1, 400))) for _ in range(60)]
    return [*made, "y" * 70_000, "㍿" * 3000, "a,b;" * 30_000, "One sentence. " * 9000, "", " \n "]


@pytest.mark.parametrize(("size", "overlap"), [(32, 0), (32, 16), (64, 20), (200, 20)])
def test_nothing_is_lost_and_no_passage_is_too_long(
    minilm: Path, tokenizer: Tokenizer, size: int, overlap: int
) -> None:
    chunker = Chunker(minilm / "tokenizer.json", size, overlap)
    sources = texts()
    for text, passages in zip(sources, chunker.cut(sources), strict=True):
        covered = 0
        for passage in passages:
            assert passage == passage.strip() != ""
            assert len(tokenizer.encode(passage, add_special_tokens=False).ids) <= size
            assert len(passage) <= size * 32 + 32
            missing = covered + len(text[covered:]) - len(text[covered:].lstrip())
            at = text.rfind(passage, 0, missing + len(passage))
            assert 0 <= at <= missing, "it is in the text and skips nothing but white space"
            # A text that repeats itself may be covered before its last passage.
            assert covered >= len(text.rstrip()) or at + len(passage) > covered, (
                "it says something new"
            )
            covered = max(covered, at + len(passage))
        assert not text[covered:].strip()


def test_cuts_at_paragraphs_then_sentences(minilm: Path) -> None:
    chunker = Chunker(minilm / "tokenizer.json", 32, 0)
    first = "one two three four five six seven eight nine ten " * 2
    text = f"{first.strip()}.\n\n{first.strip()}. More of it stands here.\n\n{first.strip()}."
    passages = chunker.cut([text])[0]
    assert passages[0] == f"{first.strip()}."
    assert passages[1] == f"{first.strip()}. More of it stands here."
    assert chunker.cut(["short"])[0] == ["short"]


def test_the_overlap_is_repeated_and_no_longer_than_asked(
    minilm: Path, tokenizer: Tokenizer
) -> None:
    words = [f"w{number}" for number in range(500)]
    passages = Chunker(minilm / "tokenizer.json", 64, 16).cut([" ".join(words)])[0]
    assert len(passages) > 3
    for before, after in pairwise(passages):
        first = after.split()[0]
        repeated = before[before.index(f"{first} ") :]
        assert after.startswith(repeated)
        assert 1 <= len(tokenizer.encode(repeated, add_special_tokens=False).ids) <= 16


def test_settings_and_files_that_make_no_sense_are_named(minilm: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="overlap_tokens is 30"):
        Chunker(minilm / "tokenizer.json", 40, 30)
    broken = tmp_path / "tokenizer.json"
    broken.write_text("{}")
    with pytest.raises(UserError, match=r"tokenizer\.json"):
        Chunker(broken, 200, 20)
