"""The best rows of an int8 or 2-bit matrix: the C++ kernel of kernels/scan.cpp, where it was compiled.

It is compiled when the package is installed, if there is a C++ compiler; without one, searching
falls back to sqlite-vec.
"""

import ctypes
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from customir.compiled import load_compiled

# A row is padded with zeros to a multiple of so many numbers: in 8 bits, and in 2.
GROUP_OF_8_BITS, GROUP_OF_2_BITS = 64, 128
# The best of 16 equal steps for a normal distribution, in standard deviations (J. Max, Quantizing
# for minimum distortion, 1960, table I).
STEP = 0.3352
DAMAGED = -4

Int8 = npt.NDArray[np.int8]
Quarters = npt.NDArray[np.uint8]  # four numbers a byte, laid out as kernels/scan.cpp says
Matrix = npt.NDArray[np.int8 | np.uint8]
Floats = npt.NDArray[np.float32]
Checksums = npt.NDArray[np.uint64]
Flags = npt.NDArray[np.bool_]


_memory_of: Callable[[Any], Any] = (ctypes.c_char * 0).from_buffer  # for a function of C


class _Vectors(ctypes.Structure):
    """As kernels/scan.cpp has it."""

    _fields_ = (
        ("matrix", ctypes.c_void_p),
        ("fine", ctypes.c_void_p),
        ("rows", ctypes.c_int64),
        ("width", ctypes.c_int64),
        ("bits", ctypes.c_int64),
        ("steps", ctypes.c_void_p),
        ("floats", ctypes.c_void_p),
        ("checksums", ctypes.c_void_p),
        ("dimensions", ctypes.c_int64),
        ("names", ctypes.c_void_p),
    )


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
        queries: Shape (q, w), w a multiple of 64 (in 2 bits, 128) up to 65,536.
        matrix: int8 of shape (n, w) or, in 2 bits, uint8 of shape (n, w / 4), as `quartered` makes
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
    numbers = _numbers_a_row(matrix)
    whole = numbers and numbers % (GROUP_OF_8_BITS if _bits(matrix) == 8 else GROUP_OF_2_BITS) == 0
    if queries.shape[1:] != (numbers,) or not whole or k < 1 or threads < 1:
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
        *matrix.shape,
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


class Scanner:
    """Vectors that are searched often: quantised ones choose, floats decide.

    Args:
        matrix: The vectors, `quantized` with one scale for all, or the coarse part that `quartered`
            makes.
        floats: The vectors, of shape (n, d); may be memory-mapped.
        fine: The other part that `quartered` makes.
        steps: What `quartered` was given.
        checksums: `checksums(floats)`, if they are to be compared.
        names: Of the vectors, (n,): what is given for each instead of its row's number.

    Raises:
        ValueError: shapes that don't belong together.
        RuntimeError: no kernel was compiled.
    """

    def __init__(
        self,
        matrix: Matrix,
        floats: Floats,
        fine: Quarters | None = None,
        steps: Floats | None = None,
        checksums: Checksums | None = None,
        names: npt.NDArray[np.int64] | None = None,
    ) -> None:
        self._nearest = _loaded().customir_nearest
        matrix, floats = np.ascontiguousarray(matrix), _floats(floats)
        self._rows, self._dimensions = floats.shape
        if len(matrix) != self._rows or _numbers_a_row(matrix) < self._dimensions:
            raise ValueError(f"{matrix.shape} cannot choose among {floats.shape}")
        if fine is not None and (fine.shape != matrix.shape or fine.dtype != matrix.dtype):
            raise ValueError(f"{fine.shape} is not the other part of {matrix.shape}")
        parts = matrix, fine, steps, floats, checksums, names
        self._held = [None if part is None else np.ascontiguousarray(part) for part in parts]
        # Taking an array's address costs as long as scanning hundreds of rows: once for all searches.
        at = [None if part is None else part.ctypes.data for part in self._held]
        shape = *matrix.shape, _bits(matrix)
        self._vectors = _Vectors(*at[:2], *shape, *at[2:5], self._dimensions, at[5])
        self._vectors_at = ctypes.addressof(self._vectors)

    def nearest(
        self,
        queries: Floats,
        k: int,
        first: int | None = None,
        threads: int = 1,
        allowed: Flags | None = None,
        kernel: str | None = None,
    ) -> tuple[npt.NDArray[np.int64], Floats]:
        """The `k` vectors that are best as quantised, in the order of their floats.

        Args:
            queries: Shape (q, d).
            first: With a fine part: so many are chosen by the coarse one, and the `k` of them by
                both. At least `k`. Four queries and more share what is read: theirs are chosen
                by both at once.
            allowed, kernel: As in `top_k`.

        Returns:
            Row numbers (or names) and inner products of floats, of the shape that `top_k` gives,
            best first, equal ones by row number.

        Raises:
            DamagedVectorError: the floats of a row that was chosen are not what they were.
            RuntimeError, ValueError: as `top_k`.
        """
        possible, allowed_at = self._rows, None
        first = k if first is None else first
        if queries.shape[1:] != (self._dimensions,) or not 1 <= k <= first:
            raise ValueError(f"cannot find {k} of {first} for {queries.shape}")
        if allowed is not None:
            allowed, possible = _flags(allowed, self._rows)
            allowed_at = allowed.ctypes.data
        count, k = len(queries), min(k, possible)
        rows, products = np.empty((count, k), np.int64), np.empty((count, k), np.float32)
        # What gives an array's address costs a search much, where it comes from memory: this does least.
        asked = (queries if queries.dtype == np.float32 else _floats(queries)).tobytes()
        status = self._nearest(
            self._vectors_at, kernel.encode() if kernel else None, allowed_at, asked, count, min(first, possible), k,
            threads, _memory_of(rows), _memory_of(products),
        )  # fmt: skip
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
        width: Of a row afterwards; None: the next multiple of 64.
    """
    rows, dimensions = vectors.shape
    padded = np.zeros((rows, width or _rounded_up(dimensions, GROUP_OF_8_BITS)), dtype=np.int8)
    padded[:, :dimensions] = np.clip(np.rint(vectors * scale), -127, 127)
    return padded


def quartered(vectors: Floats, means: Floats, steps: Floats) -> tuple[Quarters, Quarters]:
    """`vectors` in two parts of 2 bits a number each: a coarse one, and a fine one that adds to it.

    Both say in which of 16 steps around its dimension's mean a number lies: the coarse one in which
    four of them, the fine one in which of these. A query times `steps` has the inner products with
    4 * coarse + fine that the query has with the vectors, but for rounding and an amount that is the
    same for all vectors.

    Args:
        means: Of each dimension, (d,).
        steps: Width of a step in each dimension, (d,): for normally distributed numbers, `STEP`
            times their standard deviation.
    """
    rows, dimensions = vectors.shape
    places = np.zeros((rows, 4 * quartered_width(dimensions)), dtype=np.uint8)
    places[:, :dimensions] = np.clip(np.floor((vectors - means) / steps) + 8, 0, 15)
    return _packed(places >> np.uint8(2)), _packed(places & np.uint8(3))


def _packed(numbers: Quarters) -> Quarters:
    groups = numbers.reshape(len(numbers), -1, 4, GROUP_OF_2_BITS // 4)
    shifts = np.array([[0], [2], [4], [6]], dtype=np.uint8)
    packed: Quarters = np.bitwise_or.reduce(groups << shifts, axis=2)
    return packed.reshape(len(numbers), -1)


def quartered_width(dimensions: int) -> int:
    """Bytes of a row in 2 bits."""
    return _rounded_up(dimensions, GROUP_OF_2_BITS) // 4


def _numbers_a_row(matrix: Matrix) -> int:
    width: int = matrix.shape[1]
    return width * 8 // _bits(matrix)


def _bits(matrix: Matrix) -> int:
    if matrix.dtype not in (np.int8, np.uint8):
        raise ValueError(f"wanted int8 or, in 2 bits, uint8, got {matrix.dtype}")
    return 2 if matrix.dtype == np.uint8 else 8


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
        *(pointer, ctypes.c_char_p, pointer, pointer, size, size, size),
        *(ctypes.c_int32, pointer, pointer),
    ]
    nearest.restype = ctypes.c_int
    library.customir_checksums.argtypes = [pointer, size, size, pointer]
    library.customir_checksums.restype = None
    return library
