"""Files as bytes, unpacked where they are gzipped."""

import gzip
import zlib
from pathlib import Path
from typing import IO, cast

GZIP_MAGIC = b"\x1f\x8b"
HEAD_BYTES = 1 << 16
HEAD_BLOCK = 1 << 8


def open_bytes(path: Path) -> IO[bytes]:
    """`path` for reading, unpacked on the way where it is a gzip file."""
    with path.open("rb") as file:
        packed = file.read(2) == GZIP_MAGIC
    if packed:
        return cast(IO[bytes], gzip.open(path, "rb"))
    return path.open("rb", buffering=1 << 20)


def head_of(path: Path) -> bytes:
    """The first 64 KiB, unpacked; what there is of them where the file is damaged."""
    head = b""
    with open_bytes(path) as file:
        try:
            while len(head) < HEAD_BYTES and (block := file.read(HEAD_BLOCK)):
                head += block
        except (EOFError, OSError, zlib.error):
            pass
    return head
