"""Exact nearest neighbours against a full sort."""

import numpy as np
import pytest

from customir.retrieval import dense
from customir.retrieval.dense import BLOCK_QUERIES, quick_top_k, top_k


def brute_force(queries: np.ndarray, passages: np.ndarray, k: int) -> np.ndarray:
    return np.argsort(-(queries @ passages.T), axis=1, kind="stable")[:, :k]


@pytest.mark.parametrize("k", [1, 7, 50, 51])
def test_against_a_full_sort(k: int) -> None:
    random = np.random.default_rng(0)
    queries = random.standard_normal((BLOCK_QUERIES + 3, 8)).astype(np.float32)
    passages = random.standard_normal((50, 8)).astype(np.float32)
    rows, scores = top_k(queries, passages, k)
    assert rows.dtype == np.int64
    assert scores.dtype == np.float32
    assert rows.shape == scores.shape == (len(queries), min(k, 50))
    # A block's product may round its last bit otherwise than the whole one's: compare scores.
    expected = np.take_along_axis(queries @ passages.T, brute_force(queries, passages, k), axis=1)
    np.testing.assert_allclose(scores, expected, rtol=1e-5, atol=1e-6)
    assert all(len(set(row)) == len(row) for row in rows)


@pytest.mark.parametrize("k", [1, 3, 17, 40])
def test_equal_scores_stand_in_the_order_of_the_rows(k: int) -> None:
    # Small whole numbers: products are exact, and most of them are ties.
    random = np.random.default_rng(1)
    queries = random.integers(-1, 2, (30, 3)).astype(np.float32)
    passages = random.integers(-1, 2, (40, 3)).astype(np.float32)
    rows, scores = top_k(queries, passages, k)
    np.testing.assert_array_equal(rows, brute_force(queries, passages, k))
    np.testing.assert_array_equal(scores, np.take_along_axis(queries @ passages.T, rows, axis=1))


def test_all_equal() -> None:
    rows, _ = top_k(np.zeros((2, 4), np.float32), np.ones((9, 4), np.float32), 3)
    assert rows.tolist() == [[0, 1, 2]] * 2


@pytest.mark.parametrize(("queries", "passages", "k"), [(0, 5, 3), (3, 0, 3), (3, 5, 0), (0, 0, 1)])
def test_nothing_to_find_or_to_ask(queries: int, passages: int, k: int) -> None:
    rows, scores = top_k(np.ones((queries, 2), np.float32), np.ones((passages, 2), np.float32), k)
    assert rows.shape == scores.shape == (queries, min(k, passages))


def test_the_quick_one_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(1)
    centres = random.standard_normal((40, 96))
    passages = centres[random.integers(0, 40, 3000)] + 0.7 * random.standard_normal((3000, 96))
    passages = (passages / np.linalg.norm(passages, axis=1, keepdims=True)).astype(np.float32)
    queries = passages[: BLOCK_QUERIES + 44] + 0.02 * random.standard_normal((300, 96)).astype("f")
    expected = top_k(queries, passages, 30)[0]
    scanned: list[int] = []
    inner = dense.scan.Scanner.nearest

    def counted(
        scanner: dense.scan.Scanner, block: np.ndarray, *rest: int, **named: int
    ) -> tuple[np.ndarray, np.ndarray]:
        scanned.append(len(block))
        return inner(scanner, block, *rest, **named)

    monkeypatch.setattr(dense.scan.Scanner, "nearest", counted)
    found = quick_top_k(queries, passages, 30)
    assert (found == expected).all(axis=1).mean() >= 0.995
    assert scanned == ([BLOCK_QUERIES, 44] if dense.scan.best_kernel() else [])
    monkeypatch.setattr(dense.scan, "best_kernel", lambda: None)
    assert np.array_equal(quick_top_k(queries, passages, 30), expected)


def test_the_quick_one_of_nothing() -> None:
    some, none = np.ones((3, 8), np.float32), np.empty((0, 8), np.float32)
    assert quick_top_k(some, none, 5).shape == (3, 0)
    assert quick_top_k(none, some, 5).shape == (0, 3)
    assert quick_top_k(0 * some, some, 2).tolist() == [[0, 1]] * 3
