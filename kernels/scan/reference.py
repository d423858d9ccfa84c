"""The scan in numpy. Every kernel has to compute exactly the same."""

import numpy as np
import numpy.typing as npt

from .quantization import Codes, Int8, Matrix


def top_k(
    queries: Int8, matrix: Matrix, k: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]:
    """Like `binding.top_k`: row numbers and inner products, best first, ties by row number.

    Args:
        matrix: int8, or uint8 with four 2-bit codes per byte.
    """
    numbers = unpack(matrix.view(np.uint8)) if matrix.dtype == np.uint8 else matrix
    products = queries.astype(np.int32) @ numbers.astype(np.int32).T
    order = np.argsort(-products, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(products, order, axis=1)


def unpack(codes: Codes) -> Codes:
    """Unpack a matrix of 2-bit codes to numbers from 0 to 3."""
    groups = codes.reshape(len(codes), -1, 32)
    parts = [groups >> np.uint8(shift) & 3 for shift in (0, 2, 4, 6)]
    return np.concatenate(parts, axis=2).reshape(len(codes), -1)
