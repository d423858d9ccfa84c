"""GPTQ: rounding weights so that the results for real inputs change least."""

import numpy as np
import numpy.typing as npt

# Share of the diagonal's mean that is added to it, because few inputs span few directions.
DAMPING = 0.01
BLOCK = 128

Matrix = npt.NDArray[np.floating]


def gptq_round(
    weights: Matrix, scales: Matrix, moments: Matrix, limit: int
) -> npt.NDArray[np.int8]:
    """Round row by row, and let the following rows compensate for each row's rounding error.

    GPTQ (Frantar et al., arXiv 2210.17323, algorithm 1), with the rows of the largest inputs first.
    It minimises the sum of |x W - x Q|^2 over inputs x, whereas rounding to nearest minimises the
    squared error of the weights.

    Args:
        weights: W of the product x W, shape (k, n). Matrices with the same x may be concatenated.
        scales: Shape (n,), positive. A weight is an integer times the scale of its column.
        moments: Shape (k, k), the sum of x^T x over inputs, or any multiple of it.
        limit: The integers are between -limit and limit.

    Returns:
        Q, integers of shape (k, n).
    """
    rows = len(weights)
    order = np.argsort(-np.diag(moments), kind="stable")
    damped = moments[order][:, order].astype(np.float64)
    damped[np.diag_indices(rows)] += DAMPING * np.trace(damped) / rows or 1.0  # all inputs are 0
    upper = np.linalg.cholesky(np.linalg.inv(damped)).T
    left = weights[order].astype(np.float64)
    rounded = np.empty(weights.shape, np.int8)
    for start in range(0, rows, BLOCK):
        stop = min(start + BLOCK, rows)
        lost = np.empty((stop - start, left.shape[1]))
        for row in range(start, stop):
            whole = np.clip(np.rint(left[row] / scales), -limit, limit)
            rounded[order[row]] = whole
            lost[row - start] = (left[row] - whole * scales) / upper[row, row]
            left[row + 1 : stop] -= np.outer(upper[row, row + 1 : stop], lost[row - start])
        left[stop:] -= upper[start:stop, stop:].T @ lost
    return rounded
