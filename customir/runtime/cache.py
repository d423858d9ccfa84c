"""The index's vectors once more, in int8 and mapped into memory, for the scan kernel.

A cache: whatever is wrong with the file, it is made again from the index.
"""

import json
import logging
import mmap
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from customir.files import write_atomically
from customir.runtime.scan import ROW_BYTES, quantized, top_k

CACHE_NAME = "index.vectors"
FORMAT = 1
HEADER_BYTES = 4096

log = logging.getLogger("customir")


@dataclass(frozen=True)
class VectorCache:
    """Vectors in int8, all with one scale.

    Attributes:
        stamp: Names the state of the index that they were made from.
        ids: Of the passages, ascending, int64 (n,).
        matrix: int8 (n, width), padded with zeros to a multiple of 64.
    """

    stamp: str
    ids: npt.NDArray[np.int64]
    matrix: npt.NDArray[np.int8]

    def nearest(
        self, queries: npt.NDArray[np.float32], k: int, among: npt.NDArray[np.int64] | None = None
    ) -> npt.NDArray[np.int64]:
        """Ids of the passages with the largest int8 inner products.

        Args:
            queries: Shape (q, d).
            among: Ids that may be found; None: all.

        Returns:
            Shape (q, k), or fewer where there are no more; best first.
        """
        ids, matrix = self.ids, self.matrix
        if among is not None:
            rows = np.flatnonzero(np.isin(ids, among))
            ids, matrix = ids[rows], matrix[rows]
        largest = np.abs(queries).max(axis=1, keepdims=True, initial=0.0)
        largest[largest == 0] = 1.0
        rows, _ = top_k(quantized(queries, 127 / largest), matrix, k)
        found: npt.NDArray[np.int64] = ids[rows]
        return found


def load(path: Path, stamp: str) -> VectorCache | None:
    """The cache in `path`; None where it is missing, damaged, or of another state of the index."""
    try:
        with path.open("rb") as file:
            header = json.loads(file.read(HEADER_BYTES))
            if header["format"] != FORMAT or header["stamp"] != stamp:
                return None
            rows, width = int(header["rows"]), int(header["width"])
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    whole = rows >= 0 and width > 0 and width % ROW_BYTES == 0
    if not whole or len(content) != HEADER_BYTES + rows * (8 + width):
        return None
    if zlib.crc32(memoryview(content)[HEADER_BYTES:]) != header["crc32"]:
        log.warning("%s: damaged. Making it again.", path)
        return None
    ids = np.frombuffer(content, np.int64, rows, HEADER_BYTES)
    matrix = np.frombuffer(content, np.int8, rows * width, HEADER_BYTES + 8 * rows)
    return VectorCache(stamp, ids, matrix.reshape(rows, width))


def build(
    path: Path, stamp: str, dimensions: int, vectors: Iterable[tuple[int, bytes]]
) -> VectorCache:
    """Make the cache from the index's vectors (id and float32 bytes, ids ascending) and save it.

    Where it can't be saved (a full disk, a folder that is read-only) it serves from memory, and
    the log says so.
    """
    pairs = list(vectors)
    ids = np.array([identifier for identifier, _ in pairs], dtype=np.int64)
    floats = np.frombuffer(b"".join(vector for _, vector in pairs), dtype=np.float32)
    floats = floats.reshape(len(pairs), dimensions)
    largest = float(np.abs(floats).max(initial=0.0)) or 1.0
    matrix = quantized(floats, 127 / largest)
    body = ids.tobytes() + matrix.tobytes()
    header = {
        "format": FORMAT,
        "stamp": stamp,
        "rows": len(ids),
        "width": matrix.shape[1],
        "crc32": zlib.crc32(body),
    }
    try:
        write_atomically(path, json.dumps(header).encode().ljust(HEADER_BYTES) + body)
    except OSError as error:
        log.warning("%s: cannot be written (%s); searching from memory.", path, error.strerror)
        path.with_name(path.name + ".part").unlink(missing_ok=True)
    return VectorCache(stamp, ids, matrix)
