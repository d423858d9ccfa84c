"""The pool: the base's metrics on it are those of the whole corpus, and no answer is missing."""

import numpy as np

from customir.evaluation.held_out import HeldOutData, qrels_of
from customir.evaluation.metrics import by_query
from customir.evaluation.pool import PoolSize, pool_rows
from customir.evaluation.self_supervised import rank_pairs
from customir.evaluation.systems import rank_by_vectors
from customir.workspace.passages import Passage
from customir.workspace.queries import Query, SelfSupervisedQuery

PASSAGES = 600
QUERIES = 20


def unit_vectors(count: int, seed: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).standard_normal((count, 16), dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def passage(row: int) -> Passage:
    """Every passage has a near-duplicate beside it; five share a thread."""
    return Passage(
        f"p{row:03}", f"d{row}", 0, f"Text {row}.", f"p{row // 2 * 2:03}", "", f"t{row // 5}"
    )


CORPUS = [passage(row) for row in range(PASSAGES)]
DATA = HeldOutData(
    CORPUS,
    [
        Query(f"q{n}", f"p{n * 25:03}", "need", f"query {n}", None, "dev" if n % 2 else "test")
        for n in range(QUERIES)
    ],
    [
        SelfSupervisedQuery(f"s{n}", "subject", f"subject {n}", n * 29, f"answer {n}", "test")
        for n in range(QUERIES)
    ],
)
VECTORS = unit_vectors(PASSAGES, 0)
ASKED = 0.4 * VECTORS[[n * 25 for n in range(QUERIES)]] + unit_vectors(QUERIES, 1)
PAIRS = 0.4 * VECTORS[[n * 29 for n in range(QUERIES)]] + unit_vectors(QUERIES, 2)
ANSWERS = VECTORS[[n * 29 for n in range(QUERIES)]]


def metrics(data: HeldOutData, vectors: np.ndarray) -> list[dict[str, np.ndarray]]:
    keys = [each.key for each in data.passages]
    qrels = qrels_of(data.queries, data.passages)
    own = {pair.key: {keys[pair.row]: 1} for pair in data.pairs}
    return [
        by_query(qrels, [q.key for q in data.queries], keys, rank_by_vectors(ASKED, vectors)),
        by_query(
            own, [pair.key for pair in data.pairs], keys,
            rank_pairs(data.pairs, PAIRS, ANSWERS, vectors, data.passages),
        ),
    ]  # fmt: skip


def test_the_base_has_the_metrics_of_the_whole_corpus() -> None:
    rankings = [
        rank_by_vectors(ASKED, VECTORS),
        rank_pairs(DATA.pairs, PAIRS, ANSWERS, VECTORS, DATA.passages),
    ]
    pool = DATA.among(pool_rows(DATA, rankings, PoolSize(depth=10, others=20)))
    assert len(pool.passages) < PASSAGES * 0.7
    places = [CORPUS.index(each) for each in pool.passages]
    for whole, part in zip(metrics(DATA, VECTORS), metrics(pool, VECTORS[places]), strict=True):
        assert 0 < np.mean(whole["nDCG@10"]) < 1
        for name, values in whole.items():
            np.testing.assert_array_equal(part[name], values)


def test_answers_their_near_duplicates_and_a_few_others() -> None:
    pool = DATA.among(pool_rows(DATA, [], PoolSize(depth=10, others=7)))
    answers = {n * 25 // 2 * 2 + twin for n in range(QUERIES) for twin in (0, 1)}
    answers |= {n * 29 for n in range(QUERIES)}
    first = [row for row in range(PASSAGES) if row not in answers][:7]
    assert pool.passages == [CORPUS[row] for row in sorted([*answers, *first])]
    assert [pool.passages[pair.row] for pair in pool.pairs] == [
        CORPUS[pair.row] for pair in DATA.pairs
    ]
    assert pool.queries == DATA.queries


def test_a_small_corpus_stays_whole() -> None:
    rows = pool_rows(DATA, [], PoolSize(depth=10, others=PASSAGES))
    assert DATA.among(rows) == DATA


def test_a_split_has_its_own_queries_alone() -> None:
    dev = DATA.of("dev")
    assert [query.key for query in dev.queries] == [f"q{n}" for n in range(1, QUERIES, 2)]
    assert dev.pairs == []
    assert dev.passages == CORPUS
