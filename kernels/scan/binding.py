"""The Python interface of scan.cpp.

The library is compiled when the package is installed, if there is a C++ compiler. Without the
library, searching falls back to sqlite-vec.
"""

import ctypes
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..native import load_library
from .quantization import CODE_MULTIPLE, INT8_MULTIPLE, Codes, Floats, Int8, Matrix

Checksums = npt.NDArray[np.uint64]
Flags = npt.NDArray[np.bool_]

DAMAGED = -4  # a status of scan.cpp
_address: Callable[[Any], Any] = (ctypes.c_char * 0).from_buffer  # of a writable array, for C


class _Vectors(ctypes.Structure):
    """The struct of the same name in scan.cpp."""

    _fields_ = (
        ("matrix", ctypes.c_void_p),
        ("residuals", ctypes.c_void_p),
        ("rows", ctypes.c_int64),
        ("width", ctypes.c_int64),
        ("bits", ctypes.c_int64),
        ("steps", ctypes.c_void_p),
        ("floats", ctypes.c_void_p),
        ("checksums", ctypes.c_void_p),
        ("dimensions", ctypes.c_int64),
        ("ids", ctypes.c_void_p),
    )


class DamagedVectorError(Exception):
    """The floats of a vector do not match its checksum."""


def best_kernel() -> str | None:
    """Name of the fastest kernel that this processor can run; None if none was compiled."""
    library = _library()
    return library.customir_scan_kernel(None).decode() if library else None


def has_kernel(name: str) -> bool:
    """Whether this processor can run a kernel: avx512_vnni, avx2, neon or portable."""
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
    """Find the `k` rows of `matrix` with the largest inner products with each query, exactly.

    Args:
        queries: Shape (q, w), w a multiple of 64 (for 2-bit codes, of 128) up to 65,536.
        matrix: int8 of shape (n, w), or 2-bit codes, uint8 of shape (n, w / 4), as returned by
            `quantize_2bit`; n up to 2^32. It may be memory-mapped.
        kernel: Name of the kernel; None for the fastest one.
        allowed: Which rows may be returned, shape (n,). None allows all.

    Returns:
        Row numbers and inner products, best first, ties by row number. Both have the shape (q, k)
        or, if fewer rows may be returned, (q, their number).

    Raises:
        ValueError: a shape or `k` is invalid.
        RuntimeError: no kernel was compiled, this processor cannot run it, or memory ran out.
    """
    library = _loaded()
    if not library.customir_scan_kernel(kernel.encode() if kernel else None):
        raise RuntimeError(f"no scan kernel {kernel} here")
    if queries.dtype != np.int8:
        raise ValueError(f"expected int8 queries, not {queries.dtype}")
    numbers = _numbers_per_row(matrix)
    multiple = INT8_MULTIPLE if _bits(matrix) == 8 else CODE_MULTIPLE
    if queries.shape[1:] != (numbers,) or not numbers or numbers % multiple or k < 1 or threads < 1:
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
    """Vectors that are searched often: candidates by quantised form, reranked by their floats.

    Args:
        matrix: The vectors, by `quantize_int8` with one scale for all, or the codes of
            `quantize_2bit`.
        floats: The vectors, of shape (n, d). They may be memory-mapped.
        residuals: The residual bits of `quantize_2bit`.
        steps: The steps that `quantize_2bit` was given.
        checksums: The result of `checksums(floats)`, against which the hits are verified.
        ids: Shape (n,). They are returned instead of row numbers.

    Raises:
        ValueError: the shapes do not match.
        RuntimeError: no kernel was compiled.
    """

    def __init__(
        self,
        matrix: Matrix,
        floats: Floats,
        residuals: Codes | None = None,
        steps: Floats | None = None,
        checksums: Checksums | None = None,
        ids: npt.NDArray[np.int64] | None = None,
    ) -> None:
        self._nearest = _loaded().customir_nearest
        matrix, floats = np.ascontiguousarray(matrix), _floats(floats)
        self._rows, self._dimensions = floats.shape
        if len(matrix) != self._rows or _numbers_per_row(matrix) < self._dimensions:
            raise ValueError(f"a matrix of {matrix.shape} is not one of {floats.shape} floats")
        if residuals is not None and (
            residuals.shape != matrix.shape or residuals.dtype != matrix.dtype
        ):
            raise ValueError(f"residual bits of {residuals.shape} for codes of {matrix.shape}")
        arrays = matrix, residuals, steps, floats, checksums, ids
        self._arrays = [None if one is None else np.ascontiguousarray(one) for one in arrays]
        # Taken once for all searches, since taking an array's address costs as much as scanning
        # hundreds of rows.
        at = [None if one is None else one.ctypes.data for one in self._arrays]
        shape = *matrix.shape, _bits(matrix)
        self._vectors = _Vectors(*at[:2], *shape, *at[2:5], self._dimensions, at[5])
        self._vectors_address = ctypes.addressof(self._vectors)

    def nearest(
        self,
        queries: Floats,
        k: int,
        first: int | None = None,
        threads: int = 1,
        allowed: Flags | None = None,
        kernel: str | None = None,
    ) -> tuple[npt.NDArray[np.int64], Floats]:
        """Find the `k` vectors that are best in quantised form, and order them by their floats.

        Args:
            queries: Shape (q, d).
            first: With residual bits, how many vectors, at least `k`, are chosen by their codes
                alone before `k` of them are chosen by all bits. Four or more queries, which share
                the reads, use all bits immediately.
            allowed, kernel: As in `top_k`.

        Returns:
            Row numbers (or ids) and inner products in floats, of the same shape as in `top_k`, best
            first, ties by row number.

        Raises:
            DamagedVectorError: the floats of a chosen vector do not match its checksum.
            RuntimeError, ValueError: as in `top_k`.
        """
        possible, allowed_address = self._rows, None
        first = k if first is None else first
        if queries.shape[1:] != (self._dimensions,) or not 1 <= k <= first:
            raise ValueError(f"cannot find {k} of {first} for {queries.shape}")
        if allowed is not None:
            allowed, possible = _flags(allowed, self._rows)
            allowed_address = allowed.ctypes.data
        count, k = len(queries), min(k, possible)
        rows, products = np.empty((count, k), np.int64), np.empty((count, k), np.float32)
        # `ctypes.data` takes much of the time of a search over few rows. These ways to pass an
        # array are the cheapest.
        asked = (queries if queries.dtype == np.float32 else _floats(queries)).tobytes()
        status = self._nearest(
            self._vectors_address, kernel.encode() if kernel else None, allowed_address, asked, count,
            min(first, possible), k, threads, _address(rows), _address(products),
        )  # fmt: skip
        if status == DAMAGED:
            raise DamagedVectorError
        if status:
            raise RuntimeError(f"the scan kernel failed with status {status}")
        return rows, products


def checksums(vectors: Floats) -> Checksums:
    """A checksum of each vector, shape (n,). Any change of a single number changes it.

    Raises:
        RuntimeError: no kernel was compiled.
    """
    vectors = _floats(vectors)
    sums = np.empty(len(vectors), dtype=np.uint64)
    _loaded().customir_checksums(vectors.ctypes.data, *vectors.shape, sums.ctypes.data)
    return sums


def _numbers_per_row(matrix: Matrix) -> int:
    width: int = matrix.shape[1]
    return width * 8 // _bits(matrix)


def _bits(matrix: Matrix) -> int:
    if matrix.dtype not in (np.int8, np.uint8):
        raise ValueError(f"expected int8 or 2-bit codes in uint8, not {matrix.dtype}")
    return 2 if matrix.dtype == np.uint8 else 8


def _flags(allowed: Flags, rows: int) -> tuple[Flags, int]:
    """`allowed` in the kernel's format, and the number of allowed rows."""
    if allowed.shape != (rows,) or allowed.dtype != np.bool_:
        raise ValueError(f"expected {rows} booleans, not {allowed.shape} {allowed.dtype}")
    return np.ascontiguousarray(allowed), int(np.count_nonzero(allowed))


def _floats(vectors: Floats) -> Floats:
    return np.ascontiguousarray(vectors, dtype=np.float32)


def _loaded() -> ctypes.CDLL:
    library = _library()
    if library is None:
        raise RuntimeError("no scan kernel was compiled")
    return library


@cache
def _library() -> ctypes.CDLL | None:
    library = load_library(Path(__file__).parent, "_scan")
    if library is None:
        return None
    pointer, name, size, integer = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int64, ctypes.c_int32
    library.customir_scan_kernel.argtypes = [name]
    library.customir_scan_kernel.restype = name
    library.customir_top_k.argtypes = [
        *(name, pointer, size, size, integer, pointer),
        *(pointer, size, size, integer, pointer, pointer),
    ]
    library.customir_nearest.argtypes = [
        *(pointer, name, pointer, pointer, size, size, size, integer, pointer, pointer),
    ]
    library.customir_checksums.argtypes = [pointer, size, size, pointer]
    library.customir_checksums.restype = None
    return library
