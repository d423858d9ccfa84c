"""Metrics by hand, and against trec_eval's own library on random runs."""

import math

import numpy as np
import pytest
import pytrec_eval

from customir.evaluation.metrics import CURVE_DEPTHS, by_query, recall_curve

KEYS = [f"p{n}" for n in range(30)]


def one(grades: dict[str, int], hits: list[int]) -> tuple[float, float]:
    values = by_query({"q": grades}, ["q"], KEYS, np.array([hits], dtype=np.int64))
    return float(values["Recall@10"][0]), float(values["nDCG@10"][0])


def gain(*places: int) -> float:
    return sum(1 / math.log2(place + 2) for place in places)


@pytest.mark.parametrize(
    ("grades", "hits", "recall", "ndcg"),
    [
        ({"p3": 1}, list(range(10)), 1, gain(3)),
        ({"p0": 1}, list(range(10)), 1, 1),
        ({"p15": 1}, list(range(20)), 0, 0),
        ({"p10": 1}, list(range(11)), 0, 0),
        ({"p0": 1, "p2": 1, "p20": 1, "p21": 1}, list(range(10)), 1 / 2, gain(0, 2) / gain(0, 1, 2, 3)),
        ({"p5": 1}, [7, 5], 1, gain(1)),
        ({"p5": 1}, [7], 0, 0),
        ({f"p{n}": 1 for n in range(20)}, list(range(10)), 1 / 2, 1),
    ],
)  # fmt: skip
def test_by_hand(grades: dict[str, int], hits: list[int], recall: float, ndcg: float) -> None:
    assert one(grades, hits) == pytest.approx((recall, ndcg))


def test_against_trec_eval_and_in_the_order_asked() -> None:
    random = np.random.default_rng(0)
    names = [f"q{n}" for n in random.permutation(25)]
    rows = np.stack([random.permutation(30)[:12] for _ in names])
    qrels = {
        name: {KEYS[row]: 1 for row in random.choice(30, random.integers(1, 6), replace=False)}
        for name in names
    }
    run = {
        name: {KEYS[row]: 1.0 / (rank + 1) for rank, row in enumerate(hits)}
        for name, hits in zip(names, rows, strict=True)
    }
    expected = pytrec_eval.RelevanceEvaluator(qrels, {"recall_10", "ndcg_cut_10"}).evaluate(run)
    found = by_query(qrels, names, KEYS, rows)
    assert found["Recall@10"].tolist() == pytest.approx([expected[n]["recall_10"] for n in names])
    assert found["nDCG@10"].tolist() == pytest.approx([expected[n]["ndcg_cut_10"] for n in names])
    ten = {name: dict(list(hits.items())[:10]) for name, hits in run.items()}
    expected = pytrec_eval.RelevanceEvaluator(qrels, {"recip_rank"}).evaluate(ten)
    assert found["MRR@10"].tolist() == pytest.approx([expected[n]["recip_rank"] for n in names])
    assert found["MRR@10"].min() < found["MRR@10"].max()


def test_the_curve_of_recall_by_hand() -> None:
    keys = [f"p{n}" for n in range(200)]
    hits = np.arange(150)
    found = recall_curve(
        {"a": {"p0": 1, "p120": 1}, "b": {"p4": 2, "p60": 1}}, ["a", "b"], keys, [hits, hits]
    )
    assert tuple(found) == CURVE_DEPTHS
    assert found == {1: 0.25, 2: 0.25, 3: 0.25, 5: 0.5, 10: 0.5, 20: 0.5, 50: 0.5, 100: 0.75}
    assert recall_curve({}, [], keys, []) == {}


def test_no_queries_and_no_hits() -> None:
    nothing = by_query({}, [], KEYS, np.empty((0, 10), np.int64))
    assert {name: len(values) for name, values in nothing.items()} == {
        "Recall@10": 0, "nDCG@10": 0, "MRR@10": 0,
    }  # fmt: skip
    no_hits = by_query({"q": {"p1": 1}}, ["q"], KEYS, np.empty((1, 0), np.int64))
    assert [values.tolist() for values in no_hits.values()] == [[0.0]] * 3


def test_a_ranking_too_few_is_an_error() -> None:
    with pytest.raises(ValueError, match="zip"):
        by_query({"a": {"p1": 1}, "b": {"p2": 1}}, ["a", "b"], KEYS, [np.arange(3)])
