"""Ranking for free queries: the answer in its passage's place, the rest of its thread left out."""

import numpy as np

from customir.evaluation.self_supervised import rank_pairs
from customir.workspace.passages import Passage
from customir.workspace.queries import SelfSupervisedQuery


def test_against_a_loop_over_all() -> None:
    random = np.random.default_rng(0)
    passages = [
        Passage(f"p{n}", f"d{n}", 0, "x", f"p{n % 290}", "", f"t{n // 3}") for n in range(300)
    ]
    corpus = random.normal(size=(300, 8)).astype(np.float32)
    rows = random.permutation(300)
    queries = [SelfSupervisedQuery(f"q{row}", "reply", "", int(row), "", "test") for row in rows]
    asked, answers = (random.normal(size=(300, 8)).astype(np.float32) for _ in range(2))
    found = rank_pairs(queries, asked, answers, corpus, passages)
    assert len(found) == 300
    for query, own, vector, answer in zip(queries, found, asked, answers, strict=True):
        passage = passages[query.row]
        scores = {
            n: float(vector @ (answer if n == query.row else corpus[n]))
            for n, other in enumerate(passages)
            if n == query.row
            or (other.thread != passage.thread and other.duplicates != passage.duplicates)
        }
        assert list(own) == sorted(scores, key=lambda n: -scores[n])[:100]


def test_no_query_and_few_passages() -> None:
    passages = [Passage("p", "d", 0, "x", "p", "", "t")]
    corpus = np.ones((1, 4), np.float32)
    assert list(rank_pairs([], corpus[:0], corpus[:0], corpus, passages)) == []
    query = SelfSupervisedQuery("q", "reply", "", 0, "", "dev")
    assert [list(rows) for rows in rank_pairs([query], corpus, corpus, corpus, passages)] == [[0]]
