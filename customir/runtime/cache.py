"""A cache of the index's vectors: in 4 bits for the scan kernel, and in floats, mapped into memory.

Whatever is wrong with the file, it is built again from the index. The file holds a header,
the passages' ids, a checksum of each vector's floats, the width of each dimension's steps, two
matrices of 2 bits and the floats, each part beginning at a multiple of 4,096 bytes. All but the
floats is read and checked when the file is opened; a vector's floats are checked when they are read,
so that those of a corpus larger than memory can stay on disk.
"""

import json
import logging
import mmap
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from customir.files import written_atomically
from customir.kernels.scan import (
    STEP_WIDTH,
    DamagedVectorError,
    Scanner,
    checksums,
    code_bytes,
    quantize_2bit,
)
from customir.runtime.fusion import cosine_std, sample

CACHE_NAME = "index.vectors"
FORMAT = 4
PAGE_BYTES = 4096
ROWS_PER_BLOCK = 4096
# Below it, a dimension in which all vectors are the same is not told from rounding.
LEAST_DEVIATION = 1e-6

log = logging.getLogger("customir")


@dataclass(frozen=True)
class VectorCache:
    """Vectors in 4 bits and in floats.

    Attributes:
        stamp: Identifies the state of the index that the cache was built from.
        ids: Of the passages, ascending, int64 (n,).
        checksums: Of each vector's floats, uint64 (n,).
        steps: The size of one step of the codes in each dimension, float32 (dimensions,).
        codes, residuals: uint8 (n, width), as `quantize_2bit` makes them.
        floats: float32 (n, dimensions), as the index has them.
    """

    stamp: str
    ids: npt.NDArray[np.int64]
    checksums: npt.NDArray[np.uint64]
    steps: npt.NDArray[np.float32]
    codes: npt.NDArray[np.uint8]
    residuals: npt.NDArray[np.uint8]
    floats: npt.NDArray[np.float32]

    @cached_property
    def _scanner(self) -> Scanner:
        return Scanner(
            self.codes, self.floats, self.residuals, self.steps, self.checksums, self.ids
        )

    def nearest(
        self,
        queries: npt.NDArray[np.float32],
        k: int,
        first: int,
        among: npt.NDArray[np.int64] | None = None,
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """The passages with the largest inner products in 4 bits, in the order of their floats'.

        Args:
            queries: Shape (q, d).
            k: How many passages are chosen by 4 bits.
            first: How many passages are chosen by 2 bits before.
            among: Ids to search in; None: all.

        Returns:
            Ids and exact inner products, both of shape (q, k), or fewer where there are no more;
            best first.

        Raises:
            DamagedVectorError: the floats of one of them are not what was written.
        """
        allowed = None if among is None else np.isin(self.ids, among)
        found: tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]] = self._scanner.nearest(
            queries, k, first, allowed=allowed
        )
        return found

    def products(
        self, query: npt.NDArray[np.float32], ids: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float32]:
        """The exact inner products of a query, of shape (d,), with some passages, in their order.

        Args:
            ids: Of passages that the cache has.

        Raises:
            DamagedVectorError: the floats of one of them are not what was written.
        """
        return self._checked(np.searchsorted(self.ids, ids)) @ query

    @cached_property
    def cosine_std(self) -> float:
        """The standard deviation of the vectors' cosines, from a sample.

        Raises:
            DamagedVectorError: as `products`.
        """
        return cosine_std(self._checked(sample(len(self.ids))))

    def _checked(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        floats = self.floats[rows]
        if not np.array_equal(checksums(floats), self.checksums[rows]):
            raise DamagedVectorError
        return floats


@dataclass(frozen=True)
class _Layout:
    """Where each part begins, in bytes from the file's beginning."""

    rows: int
    dimensions: int

    @property
    def width(self) -> int:
        width: int = code_bytes(self.dimensions)
        return width

    @property
    def checksums(self) -> int:
        return _page_after(PAGE_BYTES + 8 * self.rows)

    @property
    def steps(self) -> int:
        return _page_after(self.checksums + 8 * self.rows)

    @property
    def codes(self) -> int:
        return _page_after(self.steps + 4 * self.dimensions)

    @property
    def residuals(self) -> int:
        return _page_after(self.codes + self.width * self.rows)

    @property
    def floats(self) -> int:
        return _page_after(self.residuals + self.width * self.rows)

    @property
    def end(self) -> int:
        return self.floats + 4 * self.dimensions * self.rows


def load(path: Path, stamp: str) -> VectorCache | None:
    """The cache in `path`; None if it is missing, damaged, or built from another state of the index."""
    try:
        with path.open("rb") as file:
            header = json.loads(file.read(PAGE_BYTES))
            if header["format"] != FORMAT or header["stamp"] != stamp:
                return None
            layout = _Layout(int(header["rows"]), int(header["dimensions"]))
            crcs = header["crc32"]
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return None
    whole = layout.rows >= 0 and layout.dimensions > 0 and len(content) == layout.end
    if not whole or _crcs(memoryview(content), layout) != crcs:
        log.warning("%s: damaged. Making it again.", path)
        return None
    return _parts(memoryview(content), stamp, layout)


def build(
    path: Path,
    stamp: str,
    dimensions: int,
    vectors: Callable[[], Iterable[tuple[int, bytes]]],
) -> VectorCache:
    """Build the cache from the index's vectors and save it.

    If it cannot be saved (a full disk, a read-only folder), it is kept in memory, and the log says
    so.

    Args:
        vectors: Gives id and float32 bytes of each, ids ascending; called twice, since the 4-bit
            numbers depend on each dimension's mean and variance.
    """
    ids: list[int] = []
    sums, squares = np.zeros(dimensions), np.zeros(dimensions)
    for numbers, floats in _blocks(vectors(), dimensions):
        ids += numbers
        sums += floats.sum(axis=0, dtype=np.float64)
        squares += np.square(floats, dtype=np.float64).sum(axis=0)
    layout = _Layout(len(ids), dimensions)
    means = sums / max(1, len(ids))
    deviations = np.sqrt(np.maximum(squares / max(1, len(ids)) - means**2, 0))
    deviations[deviations < LEAST_DEVIATION] = LEAST_DEVIATION
    coding = means.astype(np.float32), (STEP_WIDTH * deviations).astype(np.float32)
    content: memoryview | mmap.mmap
    try:
        with written_atomically(path) as file:
            _write(file, stamp, layout, ids, coding, vectors())
        with path.open("rb") as written:
            content = mmap.mmap(written.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        log.warning("%s: cannot be written (%s); searching from memory.", path, error.strerror)
        memory = BytesIO()
        _write(memory, stamp, layout, ids, coding, vectors())
        content = memory.getbuffer()
    return _parts(memoryview(content), stamp, layout)


def _write(
    file: IO[bytes],
    stamp: str,
    layout: _Layout,
    ids: list[int],
    coding: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]],
    vectors: Iterable[tuple[int, bytes]],
) -> None:
    sums: list[int] = []
    codes_crc = residuals_crc = 0
    for _, floats in _blocks(vectors, layout.dimensions):
        codes, residuals = (matrix.tobytes() for matrix in quantize_2bit(floats, *coding))
        codes_crc, residuals_crc = (
            zlib.crc32(codes, codes_crc),
            zlib.crc32(residuals, residuals_crc),
        )
        for start, matrix in ((layout.codes, codes), (layout.residuals, residuals)):
            file.seek(start + layout.width * len(sums))
            file.write(matrix)
        file.seek(layout.floats + 4 * layout.dimensions * len(sums))
        file.write(floats.tobytes())
        sums += checksums(floats).tolist()
    parts = (
        np.array(ids, np.int64).tobytes(),
        np.array(sums, np.uint64).tobytes(),
        coding[1].tobytes(),
    )
    starts = PAGE_BYTES, layout.checksums, layout.steps
    for start, part in zip(starts, parts, strict=True):
        file.seek(start)
        file.write(part)
    header = {
        "format": FORMAT,
        "stamp": stamp,
        "rows": layout.rows,
        "dimensions": layout.dimensions,
        "crc32": [*(zlib.crc32(part) for part in parts), codes_crc, residuals_crc],
    }
    file.seek(0)
    file.write(json.dumps(header).encode().ljust(PAGE_BYTES))
    file.truncate(layout.end)


def _blocks(
    vectors: Iterable[tuple[int, bytes]], dimensions: int
) -> Iterator[tuple[list[int], npt.NDArray[np.float32]]]:
    rest = iter(vectors)
    while block := list(islice(rest, ROWS_PER_BLOCK)):
        floats = np.frombuffer(b"".join(vector for _, vector in block), np.float32)
        yield [identifier for identifier, _ in block], floats.reshape(len(block), dimensions)


def _crcs(content: memoryview, layout: _Layout) -> list[int]:
    return [
        zlib.crc32(content[start : start + size])
        for start, size in (
            (PAGE_BYTES, 8 * layout.rows),
            (layout.checksums, 8 * layout.rows),
            (layout.steps, 4 * layout.dimensions),
            (layout.codes, layout.width * layout.rows),
            (layout.residuals, layout.width * layout.rows),
        )
    ]


def _parts(content: memoryview, stamp: str, layout: _Layout) -> VectorCache:
    rows, width, dimensions = layout.rows, layout.width, layout.dimensions
    return VectorCache(
        stamp,
        np.frombuffer(content, np.int64, rows, PAGE_BYTES),
        np.frombuffer(content, np.uint64, rows, layout.checksums),
        np.frombuffer(content, np.float32, dimensions, layout.steps),
        # Copied: numpy asks for huge pages, and a scan of what is mapped waits for page tables.
        np.frombuffer(content, np.uint8, rows * width, layout.codes).reshape(rows, width).copy(),
        np.frombuffer(content, np.uint8, rows * width, layout.residuals)
        .reshape(rows, width)
        .copy(),
        np.frombuffer(content, np.float32, rows * dimensions, layout.floats).reshape(
            rows, dimensions
        ),
    )


def _page_after(position: int) -> int:
    return -(-position // PAGE_BYTES) * PAGE_BYTES
