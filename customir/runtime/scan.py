"""The best rows of an int8 or 4-bit matrix: the C++ kernel of kernels/scan.cpp, where it was compiled.

It is compiled when the package is installed, if there is a C++ compiler; without one, searching
falls back to sqlite-vec.
"""

import ctypes
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from customir.compiled import load_compiled

ROW_BYTES = 64  # a row is padded with zeros to a multiple of these
# The best of 16 equal steps for a normal distribution, in standard deviations (J. Max, Quantizing
# for minimum distortion, 1960, table I).
STEP = 0.3352
DAMAGED = -4

Int8 = npt.NDArray[np.int8]
Halves = npt.NDArray[np.uint8]  # two numbers a byte, laid out as kernels/scan.cpp says
Matrix = npt.NDArray[np.int8 | np.uint8]
Floats = npt.NDArray[np.float32]
Checksums = npt.NDArray[np.uint64]
Flags = npt.NDArray[np.bool_]


class DamagedVectorError(Exception):
    """Floats that are not what their checksum says."""


def best_kernel() -> str | None:
    """Name of the fastest kernel for this processor; None where none was compiled."""
    library = _library()
    return library.customir_scan_kernel(None).decode() if library else None


def has_kernel(name: str) -> bool:
    """Whether this processor can run a kernel: avx512vnni, avx2, neon or portable."""
    library = _library()
    return bool(library and library.customir_scan_kernel(name.encode()))


def top_k(
    queries: Int8,
    matrix: Matrix,
    k: int,
    threads: int = 1,
    kernel: str | None = None,
    allowed: Flags | None = None,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]:
    """The `k` rows of `matrix` with the largest inner products with each query, exactly.

    Args:
        queries: Shape (q, w), w a multiple of 64 (in 4 bits, 128) up to 65,536.
        matrix: int8 of shape (n, w) or, in 4 bits, uint8 of shape (n, w / 2), as `halved` makes
            it; n up to 2^32; may be memory-mapped.
        kernel: None: the fastest.
        allowed: Shape (n,): the rows that may be found; None: all.

    Returns:
        Row numbers and inner products, both of shape (q, k) or, where fewer rows may be found,
        (q, that many), best first, equal ones by row number.

    Raises:
        ValueError: a shape or `k` is not what it should be.
        RuntimeError: no kernel was compiled, this processor can't run it, or memory ran out.
    """
    library = _loaded()
    if not library.customir_scan_kernel(kernel.encode() if kernel else None):
        raise RuntimeError(f"no scan kernel {kernel} here")
    if queries.dtype != np.int8:
        raise ValueError(f"wanted int8, got {queries.dtype}")
    width = matrix.shape[1]
    fits = queries.shape[1:] == (_numbers_a_row(matrix),)
    if not fits or width % ROW_BYTES or not width or k < 1 or threads < 1:
        raise ValueError(f"cannot scan {matrix.shape} for {queries.shape}, k {k}")
    queries, matrix = np.ascontiguousarray(queries), np.ascontiguousarray(matrix)
    possible = len(matrix)
    if allowed is not None:
        allowed, possible = _flags(allowed, len(matrix))
    shape = (len(queries), min(k, possible))
    rows, scores = np.empty(shape, np.int64), np.empty(shape, np.int32)
    status = library.customir_top_k(
        kernel.encode() if kernel else None,
        matrix.ctypes.data,
        len(matrix),
        width,
        _bits(matrix),
        allowed.ctypes.data if allowed is not None else None,
        queries.ctypes.data,
        len(queries),
        shape[1],
        threads,
        rows.ctypes.data,
        scores.ctypes.data,
    )
    if status:
        raise RuntimeError(f"the scan kernel failed with status {status}")
    return rows, scores


def nearest(
    queries: Floats,
    matrix: Matrix,
    floats: Floats,
    k: int,
    threads: int = 1,
    allowed: Flags | None = None,
    steps: Floats | None = None,
    checksums: Checksums | None = None,
) -> tuple[npt.NDArray[np.int64], Floats]:
    """The `k` rows of `matrix` that are best as quantised, in the order of their float vectors.

    Args:
        queries: Shape (q, d).
        matrix: The vectors, `quantized` with one scale for all, or `halved`.
        floats: The vectors, of shape (n, d); may be memory-mapped.
        allowed: As in `top_k`.
        steps: What `halved` was given.
        checksums: `checksums(floats)`, if they are to be compared.

    Returns:
        Row numbers and inner products of floats, of the shape that `top_k` gives, best first.

    Raises:
        DamagedVectorError: the floats of a row that was chosen are not what they were.
        RuntimeError, ValueError: as `top_k`.
    """
    library = _loaded()
    queries, floats = _floats(queries), _floats(floats)
    matrix, possible = np.ascontiguousarray(matrix), len(matrix)
    dimensions = queries.shape[1]
    if floats.shape != (len(matrix), dimensions) or _numbers_a_row(matrix) < dimensions or k < 1:
        raise ValueError(f"cannot scan {matrix.shape}, {floats.shape} for {queries.shape}, k {k}")
    if allowed is not None:
        allowed, possible = _flags(allowed, len(matrix))
    shape = (len(queries), min(k, possible))
    rows, products = np.empty(shape, np.int64), np.empty(shape, np.float32)
    status = library.customir_nearest(
        matrix.ctypes.data,
        *matrix.shape,
        _bits(matrix),
        None if allowed is None else allowed.ctypes.data,
        None if steps is None else steps.ctypes.data,
        floats.ctypes.data,
        None if checksums is None else checksums.ctypes.data,
        dimensions,
        queries.ctypes.data,
        *shape,
        threads,
        rows.ctypes.data,
        products.ctypes.data,
    )
    if status == DAMAGED:
        raise DamagedVectorError
    if status:
        raise RuntimeError(f"the scan kernel failed with status {status}")
    return rows, products


def checksums(vectors: Floats) -> Checksums:
    """A checksum of each vector, of shape (n,), which no change of one number leaves as it was.

    Raises:
        RuntimeError: no kernel was compiled.
    """
    vectors = _floats(vectors)
    sums = np.empty(len(vectors), dtype=np.uint64)
    _loaded().customir_checksums(vectors.ctypes.data, *vectors.shape, sums.ctypes.data)
    return sums


def quantized(vectors: Floats, scale: float | Floats, width: int | None = None) -> Int8:
    """`vectors` times `scale` (one, or one a row: (n, 1)), rounded, cut to -127 ... 127 and padded.

    Args:
        width: Of a row afterwards; None: the next multiple of `ROW_BYTES`.
    """
    rows, dimensions = vectors.shape
    padded = np.zeros((rows, width or _rounded_up(dimensions, ROW_BYTES)), dtype=np.int8)
    padded[:, :dimensions] = np.clip(np.rint(vectors * scale), -127, 127)
    return padded


def halved(vectors: Floats, means: Floats, steps: Floats) -> Halves:
    """`vectors` in 4 bits a number: the one of 16 steps around its dimension's mean that it lies in.

    A query times `steps` has the inner products with them that the query has with the vectors, but
    for rounding and an amount that is the same for all vectors.

    Args:
        means: Of each dimension, (d,).
        steps: Width of a step in each dimension, (d,): for normally distributed numbers, `STEP`
            times their standard deviation.
    """
    rows, dimensions = vectors.shape
    places = np.zeros((rows, 2 * halved_width(dimensions)), dtype=np.uint8)
    places[:, :dimensions] = np.clip(np.floor((vectors - means) / steps) + 8, 0, 15)
    groups = places.reshape(rows, -1, 2, ROW_BYTES)
    packed = groups[:, :, 0] | groups[:, :, 1] << np.uint8(4)
    return packed.reshape(rows, -1).astype(np.uint8, copy=False)


def halved_width(dimensions: int) -> int:
    """Bytes of a row in 4 bits."""
    return _rounded_up(dimensions, 2 * ROW_BYTES) // 2


def _numbers_a_row(matrix: Matrix) -> int:
    width: int = matrix.shape[1]
    return width * 8 // _bits(matrix)


def _bits(matrix: Matrix) -> int:
    if matrix.dtype not in (np.int8, np.uint8):
        raise ValueError(f"wanted int8 or, in 4 bits, uint8, got {matrix.dtype}")
    return 4 if matrix.dtype == np.uint8 else 8


def _flags(allowed: Flags, rows: int) -> tuple[Flags, int]:
    """`allowed` as the kernel reads it, and how many are."""
    if allowed.shape != (rows,) or allowed.dtype != np.bool_:
        raise ValueError(f"wanted {rows} booleans, got {allowed.shape} {allowed.dtype}")
    return np.ascontiguousarray(allowed), int(np.count_nonzero(allowed))


def _floats(vectors: Floats) -> Floats:
    return np.ascontiguousarray(vectors, dtype=np.float32)


def _rounded_up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple


def _loaded() -> ctypes.CDLL:
    library = _library()
    if library is None:
        raise RuntimeError("no scan kernel at all here")
    return library


@cache
def _library() -> ctypes.CDLL | None:
    functions = ("customir_scan_kernel", "customir_top_k", "customir_nearest", "customir_checksums")
    library = load_compiled(Path(__file__).parent, "_scan", *functions)
    if library is None:
        return None
    scan, nearest = library.customir_top_k, library.customir_nearest
    pointer, size = ctypes.c_void_p, ctypes.c_int64
    library.customir_scan_kernel.argtypes = [ctypes.c_char_p]
    library.customir_scan_kernel.restype = ctypes.c_char_p
    scan.argtypes = [
        *(ctypes.c_char_p, pointer, size, size, ctypes.c_int32, pointer, pointer, size, size),
        *(ctypes.c_int32, pointer, pointer),
    ]
    scan.restype = ctypes.c_int
    nearest.argtypes = [
        *(pointer, size, size, ctypes.c_int32, pointer, pointer, pointer, pointer, size),
        *(pointer, size, size, ctypes.c_int32, pointer, pointer),
    ]
    nearest.restype = ctypes.c_int
    library.customir_checksums.argtypes = [pointer, size, size, pointer]
    library.customir_checksums.restype = None
    return library
