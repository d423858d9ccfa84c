"""Where the gain comes from: query styles, and the answers of single queries."""

import numpy as np

from customir.evaluation.breakdown import MAX_EXAMPLES, SNIPPET, by_style, movement
from customir.settings import EvaluationSettings
from customir.workspace.passages import Passage
from customir.workspace.queries import Query

QUERIES = [
    Query(f"q{n}", f"p{n}", "need" if n % 2 else "keywords", f"query {n}", None, "test")
    for n in range(20)
]
PASSAGES = [
    Passage(f"p{n}", f"d{n}", 0, f"text {n} " * 60, f"p{n}", f"title {n}", f"t{n}")
    for n in range(30)
]


def test_answers_that_rose_and_fell_by_hand() -> None:
    qrels = {query.key: {query.passage: 1} for query in QUERIES}
    before = [np.array([n, 25, 26, 27]) for n in range(20)]
    after = [row.copy() for row in before]
    before[3], after[3] = np.array([25, 26, 3]), np.array([3, 25, 26])
    before[4], after[4] = np.array([25, 26, 27]), np.array([25, 4, 26])
    before[5], after[5] = np.array([5, 25, 26]), np.array([25, 26, 27])
    found = movement(QUERIES, PASSAGES, qrels, before, after)
    assert (found.rose, found.same, found.fell) == (2, 17, 1)
    assert [(e.query, e.rank_before, e.rank_after) for e in found.won] == [
        ("query 3", 3, 1), ("query 4", None, 2),
    ]  # fmt: skip
    assert [(e.query, e.rank_before, e.rank_after) for e in found.lost] == [("query 5", 1, None)]
    assert len(found.unmoved) == MAX_EXAMPLES
    first = found.won[0]
    assert [hit.is_answer for hit in first.hits_before] == [False, False, True]
    assert [hit.is_answer for hit in first.hits_after] == [True, False, False]
    assert first.hits_after[0].title == "title 3"
    assert first.hits_after[0].text.startswith("text 3 text 3")
    assert len(first.hits_after[0].text) == SNIPPET
    nowhere = [np.array([29])] * 20
    all_won = movement(QUERIES, PASSAGES, qrels, nowhere, after)
    assert len(all_won.won) == MAX_EXAMPLES
    assert all_won.lost == []


def test_the_gain_of_each_style_is_its_own() -> None:
    base = np.zeros(20)
    adapted = np.array([0.0, 1.0] * 10)
    keywords, need = by_style(
        QUERIES,
        base,
        adapted,
        [p.thread for p in PASSAGES[:20]],
        EvaluationSettings(resamples=1000),
        0,
    )
    assert (keywords["style"], keywords["queries"], keywords["difference"][0]) == (
        "keywords",
        10,
        0,
    )
    assert (need["style"], need["adapted"], need["difference"][:3]) == (
        "need",
        1.0,
        [1.0, 1.0, 1.0],
    )
