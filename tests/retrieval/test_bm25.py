"""BM25: obvious matches, and queries and corpora with nothing in them."""

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from customir.retrieval.bm25 import K1, B, Bm25

PASSAGES = [
    "The pump in hall two is leaking oil.",
    "Lunch is served in the garden at noon.",
    "We sold the office in Oslo; the pumps stay there.",
    "Invoice 4471 was paid twice by transfer.",
]


def test_obvious_matches_come_first_and_what_matches_nothing_scores_0(
    capfd: pytest.CaptureFixture[str],
) -> None:
    bm25 = Bm25(PASSAGES)
    rows, scores = bm25.top(["oil leak", "Garden LUNCHES", "oslo", "4471"], 4)
    assert rows[:, 0].tolist() == [0, 1, 2, 3]
    assert rows.dtype == np.int64
    assert scores.dtype == np.float32
    assert (scores[:, 0] > 0).all()
    assert (scores[:, 1:] == 0).all()
    assert sorted(rows[0].tolist()) == [0, 1, 2, 3]
    both, _ = bm25.top(["pumping"], 2)
    assert sorted(both[0].tolist()) == [0, 2], "stems, not words"
    bm25.limits(["oil"])
    assert capfd.readouterr() == ("", ""), "bm25s shows no progress of its own"


def test_scores_are_lucene_s() -> None:
    passages = ["pump", "pump pump gate", "gate", "roof roof roof roof"]
    rows, scores = Bm25(passages).top(["pump"], 2)
    average = (1 + 3 + 1 + 4) / 4

    def score(frequency: int, length: int) -> float:
        inverse = math.log(1 + (4 - 2 + 0.5) / (2 + 0.5))
        return inverse * frequency / (frequency + K1 * (1 - B + B * length / average))

    expected = {0: score(1, 1), 1: score(2, 3)}
    found = dict(zip(rows[0].tolist(), scores[0].tolist(), strict=True))
    assert found == pytest.approx(expected, rel=1e-5)


def test_limits_are_approached_and_never_reached() -> None:
    passages = ["pump " * 500, "gate", "roof and some more words of a longer passage", "pump gate"]
    bm25 = Bm25([*passages, *["house"] * 6])
    queries = ["pump", "the pumps of gates", "zebra", "", "pump zebra"]
    limits = bm25.limits(queries)
    pump, zebra = math.log(1 + (10 - 2 + 0.5) / 2.5), math.log(1 + 10.5 / 0.5)
    assert limits.dtype == np.float32
    assert limits == pytest.approx([pump, 2 * pump, zebra, 0, pump + zebra], rel=1e-5)
    _, scores = bm25.top(queries, 1)
    assert (scores[:2, 0] < limits[:2]).all()
    assert scores[0, 0] > 0.85 * limits[0]
    without_words = Bm25([""]).limits(["pump", "gate"])
    assert (without_words.tolist(), without_words.dtype) == ([0.0, 0.0], np.float32)
    assert bm25.limits([]).shape == (0,)


@pytest.mark.parametrize("query", ["", "the of and", "zebra", "?!", "日本"])
def test_a_query_that_matches_nothing_scores_0(query: str) -> None:
    rows, scores = Bm25(PASSAGES).top([query, "oil"], 3)
    assert rows.shape == (2, 3)
    assert (scores[0] == 0).all()
    assert rows[1, 0] == 0


@pytest.mark.parametrize("queries", [[""], ["the"], ["zebra"]])
def test_when_it_is_the_only_query(queries: list[str]) -> None:
    _, scores = Bm25(PASSAGES).top(queries, 9)
    assert scores.shape == (1, 4)
    assert (scores == 0).all()


@pytest.mark.parametrize("passages", [["", ""], ["the of", "and"]])
def test_a_corpus_without_words(passages: list[str]) -> None:
    rows, scores = Bm25(passages).top(["pump", ""], 2)
    assert rows.tolist() == [[0, 1]] * 2
    assert scores.tolist() == [[0.0, 0.0]] * 2
    assert (rows.dtype, scores.dtype) == (np.int64, np.float32)


def test_nothing_to_find_or_to_ask() -> None:
    rows, scores = Bm25([]).top(["pump"], 5)
    assert rows.shape == scores.shape == (1, 0)
    rows, scores = Bm25(PASSAGES).top([], 5)
    assert rows.shape == scores.shape == (0, 4)


def test_words_of_other_languages_are_stemmed_and_their_stop_words_left_out() -> None:
    german = [
        "Die Pumpen in der Halle verlieren Öl, und niemand weiß, wen man anrufen soll.",
        "Das Essen wird heute im Garten serviert, und der Nachtisch kommt später.",
        "Der Schlüssel für den Keller liegt beim Pförtner, der heute bis sechs bleibt.",
    ]
    rows, scores = Bm25(german).top(["Pumpe", "Schlüssels", "der und das"], 3)
    assert rows[:2, 0].tolist() == [0, 2]
    assert (scores[2] == 0).all()
    russian = [
        "Масляный насос во втором зале протекает, и никто не знает, кому звонить.",
        "Обед сегодня подают в саду, а сладкое принесут позже всем сотрудникам.",
    ]
    assert Bm25(russian).top(["насосы протекают"], 1)[0].tolist() == [[0]]


@pytest.mark.parametrize(
    ("passages", "query"),
    [
        (["昨天二号厅的大油泵又开始漏油了。", "今天中午在花园里吃饭，请大家准时。"], "油泵漏油"),
        (
            ["第二ホールのポンプから油が漏れています。", "今日の昼食は庭で出ます。"],
            "ポンプの油漏れ",
        ),
        (["이 번 홀 펌프에서 기름이 샙니다.", "오늘 점심은 정원에서 드립니다."], "펌프가 기름을"),
    ],
)
def test_scripts_without_spaces_are_found_by_pairs(passages: list[str], query: str) -> None:
    bm25 = Bm25(passages)
    rows, scores = bm25.top([query], 2)
    assert rows[0, 0] == 0
    assert scores[0, 0] > scores[0, 1] == 0
    assert bm25.limits([query])[0] > scores[0, 0]


@pytest.mark.slow
@pytest.mark.parametrize("first", ["", "import jax.lax; "], ids=["not yet there", "there before"])
def test_jax_is_not_started_and_is_there_for_others(tmp_path: Path, first: str) -> None:
    """It would take three quarters of a GPU's memory as soon as bm25s asked it for anything."""
    (tmp_path / "jax").mkdir()
    (tmp_path / "jax" / "__init__.py").write_text("print('jax is imported')")
    (tmp_path / "jax" / "lax.py").write_text("def top_k(*asked): print('jax starts')")
    script = first + "import customir.retrieval.bm25; import jax.lax; print('jax is there')"
    run = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r}); {script}"],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    assert run.stdout.splitlines() == ["jax is imported", "jax is there"]
