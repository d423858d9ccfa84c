"""Files as bytes, unpacked where they are gzipped."""

import gzip
import zlib
from pathlib import Path
from typing import IO

GZIP_MAGIC = b"\x1f\x8b"
HEAD_BYTES = 1 << 16


def open_bytes(path: Path) -> IO[bytes]:
    """`path` for reading, unpacked on the way where it is a gzip file."""
    with path.open("rb") as file:
        packed = file.read(2) == GZIP_MAGIC
    return gzip.open(path, "rb") if packed else path.open("rb", buffering=1 << 20)


def head_of(path: Path) -> bytes:
    """The first 64 KiB, unpacked; what there is of them where the file is damaged."""
    with open_bytes(path) as file:
        try:
            return file.read(HEAD_BYTES)
        except (EOFError, OSError, zlib.error):
            return b""
