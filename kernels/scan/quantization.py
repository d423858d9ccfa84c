"""Quantisation of vectors to 8 bits or to 2 + 2 bits per number, in the scan's format."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Int8 = npt.NDArray[np.int8]
Matrix = npt.NDArray[np.int8 | np.uint8]  # of 8 bits, or of 2-bit codes
Codes = npt.NDArray[np.uint8]  # four numbers per byte, in the layout of README.md

# A row is padded with zeros to a multiple of this many numbers.
INT8_MULTIPLE, CODE_MULTIPLE = 64, 128
# The best width of 16 equal steps for a normal distribution, in standard deviations (J. Max,
# Quantizing for minimum distortion, 1960, table I).
STEP_WIDTH = 0.3352


def quantize_int8(vectors: Floats, scale: float | Floats, width: int | None = None) -> Int8:
    """`vectors` times `scale`, rounded, clipped to -127 ... 127 and padded with zeros.

    Args:
        vectors: Shape (n, d).
        scale: One for all rows, or one per row, shape (n, 1).
        width: Length of a row of the result. If None, it is d, rounded up to a multiple of 64.
    """
    rows, dimensions = vectors.shape
    padded = np.zeros((rows, width or _round_up(dimensions, INT8_MULTIPLE)), dtype=np.int8)
    padded[:, :dimensions] = np.clip(np.rint(vectors * scale), -127, 127)
    return padded


def quantize_2bit(vectors: Floats, means: Floats, steps: Floats) -> tuple[Codes, Codes]:
    """Quantise `vectors` to 2-bit codes and residual bits, which are two more bits per number.

    4 * code + residual is the number of one of 16 steps around the dimension's mean, the step that
    contains the number. The inner products of a query times `steps` with these step numbers are its
    inner products with the vectors, up to rounding and a constant that is the same for all vectors.

    Args:
        vectors: Shape (n, d).
        means: The mean of each dimension, shape (d,).
        steps: The width of a step in each dimension, shape (d,). For normally distributed numbers,
            `STEP_WIDTH` times their standard deviation is best.

    Returns:
        Codes and residual bits, both of shape (n, `code_bytes(d)`).
    """
    rows, dimensions = vectors.shape
    numbers = np.zeros((rows, 4 * code_bytes(dimensions)), dtype=np.uint8)
    numbers[:, :dimensions] = np.clip(np.floor((vectors - means) / steps) + 8, 0, 15)
    return _pack(numbers >> np.uint8(2)), _pack(numbers & np.uint8(3))


def code_bytes(dimensions: int) -> int:
    """The number of bytes in a row of 2-bit codes."""
    return _round_up(dimensions, CODE_MULTIPLE) // 4


def _pack(numbers: Codes) -> Codes:
    groups = numbers.reshape(len(numbers), -1, 4, CODE_MULTIPLE // 4)
    shifts = np.array([[0], [2], [4], [6]], dtype=np.uint8)
    packed: Codes = np.bitwise_or.reduce(groups << shifts, axis=2)
    return packed.reshape(len(numbers), -1)


def _round_up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple
