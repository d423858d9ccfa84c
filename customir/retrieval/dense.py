"""Exact nearest neighbours by inner product."""

import numpy as np

BLOCK_QUERIES = 256


def top_k(queries: np.ndarray, passages: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The `k` passages with the largest inner product to each query.

    Args:
        queries: float32 (q, d).
        passages: float32 (p, d).

    Returns:
        Row numbers, int64 (q, min(k, p)), best first, equal scores by row number; and their
        scores, float32 of the same shape.
    """
    k = min(k, len(passages))
    rows = np.empty((len(queries), k), dtype=np.int64)
    scores = np.empty((len(queries), k), dtype=np.float32)
    for start in range(0, len(queries), BLOCK_QUERIES):
        block = queries[start : start + BLOCK_QUERIES] @ passages.T
        best = np.argpartition(-block, k - 1, axis=1)[:, :k]
        values = np.take_along_axis(block, best, axis=1)
        order = np.lexsort((best, -values), axis=1)
        rows[start : start + len(block)] = np.take_along_axis(best, order, axis=1)
        scores[start : start + len(block)] = np.take_along_axis(values, order, axis=1)
    return rows, scores
