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
    if not k:
        return rows, scores
    for start in range(0, len(queries), BLOCK_QUERIES):
        block = queries[start : start + BLOCK_QUERIES] @ passages.T
        least = np.partition(block, len(passages) - k, axis=1)[:, len(passages) - k]
        for number, values in enumerate(block):
            # In the order of the rows, so that a stable sort keeps it among equals.
            best = np.flatnonzero(values >= least[number])
            best = best[np.argsort(-values[best], kind="stable")[:k]]
            rows[start + number], scores[start + number] = best, values[best]
    return rows, scores
