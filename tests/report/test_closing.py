"""The closing screen of `customir adapt`: what it says, and that it fits a terminal of 80 columns."""

from pathlib import Path

import pytest
from rich.cells import cell_len
from sample_run import run_of

from customir.report.closing import (
    COLUMN,
    WIDTH,
    comparison_tables,
    next_lines,
    opening_lines,
    search_lines,
)

WIDE = "請問誰負責修理二樓的咖啡機，電話號碼是多少，什麼時候可以過來？" * 3


def test_it_says_what_was_gained_and_what_it_learned_from() -> None:
    text = " ".join(opening_lines(run_of("coffee")))
    assert "now among the first ten hits for 55 of 100 queries" in text
    assert "learned from 300 subjects, 150 questions with their replies and 96 queries" in text
    assert "The test was on 450 queries that people wrote and 400 that the LLM wrote" in text


def test_it_says_why_the_base_ships() -> None:
    run = run_of("coffee")
    missing = ["On the queries that the LLM wrote, nDCG@10 did not rise."]
    run.evaluate.update(weight=0.0, missing=missing)
    lines = opening_lines(run)
    assert "The original model stays, because no better one was found." in lines
    assert missing[0] in lines
    run.evaluate.update(missing=[], reason="There were too few pairs to train on.")
    assert "There were too few pairs to train on." in opening_lines(run)


def test_the_tables_show_what_decides_first() -> None:
    (people, deciding), (_, written) = comparison_tables(run_of("coffee"))
    assert "which decide" in people
    assert [row[0] for row in deciding] == ["", "base", "adapted"]
    assert deciding[2] == ["adapted", "0.550", "0.440", "+0.050 (+0.020 to +0.080)"]
    assert [row[0] for row in written[1:]] == [
        "BM25", "base", "hybrid of BM25 and base", "mpnet", "adapted", "hybrid of BM25 and adapted",
        "adapted INT8",
    ]  # fmt: skip


def test_searches_are_side_by_side_the_worst_one_among_them() -> None:
    lines = search_lines(run_of("who fixes it").evaluate)
    at = lines.index("who fixes it  [better]")
    base, adapted = "  base: answer at rank 40", "  adapted: answer at rank 1"
    assert lines[at + 1] == f"{base:{COLUMN}}  {adapted}"
    assert lines[at + 2].startswith("  1. Re: new coffee machine")
    assert lines[at + 2].endswith("* 1. Re: new coffee machine")
    assert [line.rsplit("[")[1] for line in lines if line.endswith("]")] == [
        "better]", "better]", "worse]",
    ]  # fmt: skip


def test_without_a_candidate_the_base_stands_alone() -> None:
    run = run_of("who fixes it")
    run.evaluate["candidate"] = "base"
    lines = search_lines(run.evaluate)
    assert "  base: answer at rank 1" in lines
    assert not any("better" in line for line in lines)
    run.evaluate.pop("movement")
    assert search_lines(run.evaluate) == []


@pytest.mark.parametrize("text", ["coffee", "b" * 200, WIDE, "tab\tand \x1b[31mred\nline"])
def test_no_line_is_wider_than_80_columns(text: str) -> None:
    run = run_of(text)
    lines = [*opening_lines(run), *search_lines(run.evaluate), *next_lines(Path("mail"))]
    assert max(map(cell_len, lines)) <= WIDTH
    assert not any(set("\t\x1b\n") & set(line) for line in lines)
    for _, table in comparison_tables(run):
        columns = zip(*table, strict=True)
        assert sum(max(map(cell_len, column)) + 3 for column in columns) <= WIDTH
    lefts = [line[:COLUMN] for line in lines if "base: answer" in line]
    assert len(lefts) == 3


def test_next_are_commands_that_can_be_copied() -> None:
    lines = next_lines(Path("my mail"))
    assert any(line.endswith("customir serve 'my mail'") for line in lines)
    assert any("'my mail/report.html'" in line for line in lines)
    assert any("customir search 'my mail' " in line for line in lines)
