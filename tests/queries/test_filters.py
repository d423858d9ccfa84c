"""Each filter with what it must and what it must not reject."""

import random

import numpy as np
import pytest

from customir.queries.filters import (
    LONGEST_COPY,
    MANY,
    NO_HIT,
    Run,
    generic,
    longest_copy,
    reject_by_form,
    repeated,
    round_trip,
    wrong_language,
)
from customir.queries.styles import PROMPTS
from customir.text.tokenize import words_of
from customir.workspace.passages import Passage

PASSAGE = "Hi Ann, the big pump in hall two has been leaking oil since Monday. Call the plumber!"
EXAMPLES = ["Why was the supplier inspection put off?"]


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("Question: who calls the plumber", "leaks the prompt"),
        ("oil leak Looking for: pump", "leaks the prompt"),
        ("As an AI, I cannot search mail", "leaks the prompt"),
        ("why was the supplier angry about oil", "leaks the prompt"),
        ("", "too short"),
        ("?!", "too short"),
        ("pump", "too short"),
        (" ".join(f"w{n}" for n in range(25)), "too long"),
        ("pump pump", "repeats itself"),
        ("oil leak oil leak oil leak", "repeats itself"),
        ("the oil the oil the oil leak the oil pump", "repeats itself"),
        ("the BIG pump, in hall two!", "copies a span"),
        ("who knows the big pump in hall two", "copies a span"),
        ("Searcher: somebody new to pumps", "leaks the prompt"),
        ("Who, when, which: the plumber", "leaks the prompt"),
        ("泵", "too short"),
        ("泵" + "".join(map(chr, range(0x4E00, 0x4E00 + 50))), "too long"),
    ],
)
def test_what_must_go(query: str, reason: str) -> None:
    assert reject_by_form(query, PASSAGE, EXAMPLES) == reason


@pytest.mark.parametrize(
    "query",
    [
        "oil leak",
        "Who is to repair the leaking machine?",
        "the question of the leaking pump",
        "a company that has an AI strategy for pumps",
        "why was the plumber late",
        "big pump in hall two",
        "pump in the hall by the other pump",
        "fuite d'huile à la pompe",
        "二号厅的油泵漏油找谁",
        "第二ホールのポンプの油漏れ",
        "ปั๊มน้ำมันรั่วเรียกช่างประปา",
        " ".join(f"w{n}" for n in range(24)),
    ],
)
def test_what_must_stay(query: str) -> None:
    assert reject_by_form(query, PASSAGE, EXAMPLES) is None


def test_the_prompt_s_own_examples_are_leaks() -> None:
    for rotation in range(len(PROMPTS["en"].rotations)):
        shown = PROMPTS["en"].shown_queries(rotation)
        assert len(shown) == len(set(shown)) == 15
        for query in shown:
            assert reject_by_form(query, PASSAGE, shown) == "leaks the prompt"


def naive_longest_copy(words: list[str], source: list[str]) -> int:
    runs = (
        end - start
        for start in range(len(words))
        for end in range(start + 1, len(words) + 1)
        if any(words[start:end] == source[at : at + end - start] for at in range(len(source)))
    )
    return max(runs, default=0)


def test_longest_copy_is_the_naive_one() -> None:
    draw = random.Random(0)
    for _ in range(400):
        words = draw.choices("abc", k=draw.randrange(9))
        source = draw.choices("abc", k=draw.randrange(12))
        assert longest_copy(words, source) == naive_longest_copy(words, source), (words, source)


def test_a_copy_may_be_as_long_as_the_limit() -> None:
    words = words_of(PASSAGE)
    for length in range(2, 8):
        query = " ".join(words[3 : 3 + length])
        expected = "copies a span" if length > LONGEST_COPY else None
        assert reject_by_form(query, PASSAGE, []) == expected


def test_repeated_ignores_case_and_punctuation_and_keeps_the_first() -> None:
    queries = ["Oil leak?", "oil, leak", "leak oil", "OIL LEAK", "oil leak here"]
    assert repeated(queries) == [False, True, False, True, False]
    assert repeated([]) == []


def test_round_trip_takes_any_run_and_any_near_duplicate() -> None:
    groups = ["a", "b", "a", "c"]
    dense = np.array([[1, 3], [1, 3], [0, 1], [3, 0]])
    text = np.array([[3, 1], [2, 1], [0, 1], [0, 1]])
    own = ["a", "a", "c", "b"]
    assert round_trip(own, groups, dense, text) == [False, True, False, True]
    assert round_trip(own, groups, dense) == [False, False, False, False]
    assert round_trip([], groups, dense[:0]) == []
    # A query without hits leads nowhere, least of all to the last passage.
    assert round_trip(["c", "c"], groups, np.array([[NO_HIT], [3]])) == [False, True]


GERMAN = "Die Pumpe in Halle zwei verliert Öl, und niemand weiß, wen man deswegen anrufen soll."
ENGLISH = "The pump in hall two leaks oil and nobody knows whom to call about it before Monday."


def test_a_query_in_another_language_than_its_passage_goes() -> None:
    queries = [
        "Wann kommt der Mechaniker wegen der Pumpe?",
        "who repairs the leaking pump in hall two",
        "Wann kommt der Mechaniker wegen der Pumpe?",
        "who repairs the leaking pump in hall two",
        "这个泵坏了 什么 时候 修 好",
        "pump Halle",
    ]
    own = [GERMAN, ENGLISH, ENGLISH, GERMAN, ENGLISH, ENGLISH]
    assert wrong_language(queries, own) == [False, False, True, True, True, False]
    assert wrong_language([], []) == []
    with pytest.raises(ValueError, match="zip"):
        wrong_language(queries, own[1:])


def test_a_language_is_told_from_four_words_on() -> None:
    queries = ["Pumpe verliert ständig Öl", "Pumpe verliert Öl"]
    assert wrong_language(queries, [ENGLISH] * 2) == [True, False]


def test_a_rare_language_is_not_believed() -> None:
    code = "for (int i = 0; i < n; ++i) { x[i] = y[i] * z; } return x; // ok"
    passages = [f"{ENGLISH} {number}" for number in range(40)] + [code]
    queries = ["who repairs the leaking pump in hall two"] * 40 + [
        "loop that multiplies two arrays"
    ]
    assert not any(wrong_language(queries, passages))
    # One of twenty is common enough.
    passages = [f"{ENGLISH} {number}" for number in range(19)] + [GERMAN]
    assert wrong_language(queries[:20], passages) == [False] * 19 + [True]


def test_a_span_copied_in_a_script_without_spaces_is_found() -> None:
    passage = "昨天二号厅的大油泵又开始漏油了，请尽快通知水管工来修理。"
    assert reject_by_form("昨天二号厅的大油泵又开始漏油", passage, []) == "copies a span"
    assert reject_by_form("谁来修二号厅的大油泵", passage, []) is None


def test_languages_without_spaces_are_told() -> None:
    passages = ["昨天二号厅的大油泵又开始漏油了，请尽快通知水管工来修理。"] * 4
    queries = [
        "谁来修理二号厅的油泵",
        "who repairs the oil pump in hall two",
        "第二ホールのポンプを誰が直すのですか",
        "修理油泵",
    ]
    assert wrong_language(queries, passages) == [False, True, True, False]


def test_generic_is_what_many_threads_are_as_near_to_in_every_run() -> None:
    corpus = [Passage(f"p{n}", "d", 0, "x", f"p{n}", "", f"t{n}") for n in range(MANY + 5)]
    rows = np.arange(MANY + 5)[None]
    flat = Run(rows, np.full(rows.shape, 0.5, np.float32), 0.97)
    steep = Run(rows, np.linspace(0.9, 0.1, MANY + 5, dtype=np.float32)[None], 0.97)
    assert generic(["p0"], corpus, [flat, flat]) == [True]
    assert generic(["p0"], corpus, [flat, steep]) == [False]
    assert generic([f"p{MANY + 4}"], corpus, [steep, flat]) == [True]
    # Not found at all: whatever was found is nearer.
    assert generic(["elsewhere"], corpus, [steep, steep]) == [True]
    nothing = Run(np.full(rows.shape, NO_HIT), np.zeros(rows.shape, np.float32), 0.97)
    assert generic(["p0"], corpus, [flat, nothing]) == [False]
    # The own thread does not count.
    for others, verdict in ((MANY - 1, False), (MANY, True)):
        fewer = Run(rows[:, : others + 1], flat.scores[:, : others + 1], 0.97)
        assert generic(["p0"], corpus, [fewer]) == [verdict]
    with pytest.raises(ValueError, match="zip"):
        generic(["p0"], corpus, [Run(rows, flat.scores[:, 1:], 0.97)])
    # Many passages of few threads are no many threads.
    few = [Passage(f"p{n}", "d", 0, "x", f"p{n}", "", f"t{n % 2}") for n in range(MANY + 5)]
    assert generic(["p0"], few, [flat, flat]) == [False]
