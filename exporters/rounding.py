"""Which way each weight is rounded: the way that changes least what real inputs make of it."""

import numpy as np
import numpy.typing as npt

# Added to the diagonal of the moments, as a share of its mean: few inputs span few directions.
DAMPING = 0.01
BLOCK = 128

Matrix = npt.NDArray[np.floating]


def round_weights(
    weights: Matrix, scales: Matrix, moments: Matrix, limit: int
) -> npt.NDArray[np.int8]:
    """Round row after row; what a row loses, the rows after it make up for as well as they can.

    GPTQ (Frantar et al., arXiv 2210.17323, algorithm 1), with the rows of the largest inputs first.
    It lowers the sum over inputs x of |x W - x Q|^2, which plain rounding takes for the sum over
    weights.

    Args:
        weights: Shape (k, n), of the product x W; matrices with the same x may stand side by side.
        scales: Shape (n,), above 0: a column's weights are its whole numbers times its scale.
        moments: Shape (k, k), the sum of x^T x over inputs, or any multiple of it.
        limit: Whole numbers are from -limit to limit.

    Returns:
        Q, whole numbers of shape (k, n).
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
