"""Files as bytes, unpacked where they are gzipped, and never more of them in memory than bearable."""

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

GZIP_MAGIC = b"\x1f\x8b"
HEAD_BYTES = 1 << 16
HEAD_BLOCK = 1 << 8
# A document is held whole. Books are 1 MB; what is larger than this is a log or a table.
MAXIMUM_BYTES = 64 << 20
# What may go wrong while a gzip file, or any file, is read.
DAMAGE = (EOFError, OSError, zlib.error)


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
        except DAMAGE:
            pass
    return head


def whole(path: Path) -> bytes | str:
    """The content of a file; a text says why it can't be had."""
    with open_bytes(path) as file:
        try:
            content = file.read(MAXIMUM_BYTES + 1)
        except DAMAGE as error:
            return f"damaged file: {error}"
    return _too_large("file") if len(content) > MAXIMUM_BYTES else content


def lines_of(path: Path) -> Iterator[tuple[int, bytes | str]]:
    """Numbered lines, with their ends; a text in place of bytes says why a line can't be had."""
    number = 0
    with open_bytes(path) as file:
        try:
            while line := file.readline(MAXIMUM_BYTES):
                number += 1
                if len(line) == MAXIMUM_BYTES and not line.endswith(b"\n"):
                    while line and not line.endswith(b"\n"):
                        line = file.readline(MAXIMUM_BYTES)
                    yield number, _too_large("line")
                else:
                    yield number, line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
        except DAMAGE as error:
            yield number + 1, f"damaged file, nothing can be read after this: {error}"


def _too_large(what: str) -> str:
    return f"{what} larger than {MAXIMUM_BYTES >> 20} MB"
