"""A file of a source, on disk or in an archive: decompressed, read once, with limited memory."""

import bz2
import codecs
import io
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from customir.corpus.charsets import is_utf16
from customir.corpus.readers.options import ReadOptions

HEAD_BYTES = 1 << 16
BUFFER_BYTES = 1 << 20
PACKED_BYTES = 1 << 16
# The largest document, which is held in memory. A book has 1 MB; larger files are logs or tables.
MAXIMUM_BYTES = 64 << 20
UTF8_MARK = b"\xef\xbb\xbf"
UTF32_MARK = b"\xff\xfe\0\0"
UTF16_MARKS = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}
# Old Macs end lines with a single carriage return. Fewer of them are not lines.
LEAST_LINE_ENDS = 2
BINARY_MAGICS = (b"%PDF", b"PK")
DECOMPRESSORS: dict[bytes, Callable[[], Any]] = {
    b"\x1f\x8b": lambda: zlib.decompressobj(wbits=31),
    b"BZh": bz2.BZ2Decompressor,
    b"\xfd7zXZ\0": lzma.LZMADecompressor,
}
# The errors that reading a file, compressed or not, can raise.
DAMAGE = (
    EOFError, OSError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, tarfile.TarError,
)  # fmt: skip
NOT_INSTALLED = 'no library to read {}: pip install "customir[formats]"'
# The additional suffix of a compressed file.
COMPRESSED_SUFFIXES = (".gz", ".bz2", ".xz")


class ReadError(Exception):
    """Why a file, or the rest of it, cannot be read; the message is shown to the user."""


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Turn the errors of a format's library into ReadError. Import the library inside the block.

    Args:
        what: The format, for the error.

    Raises:
        ReadError: the library is not installed, or raises any error on damaged content.
    """
    try:
        yield
    except ReadError:
        raise
    except ImportError as error:
        raise ReadError(NOT_INSTALLED.format(what)) from error
    except Exception as error:
        raise ReadError(f"not readable as {what}: {type(error).__name__}: {error}") from error


@dataclass(frozen=True)
class Content:
    """A file in memory.

    Attributes:
        name: The identifier of its document.
        charset: The charset that a mail declares for its attachment; None if none is declared.
    """

    data: bytes
    name: str
    charset: str | None = None
    options: ReadOptions = field(default_factory=ReadOptions)


class SourceFile:
    """A file that is read once, from its beginning to its end.

    Attributes:
        name: Its path below the source, with "/".
        path: Its path on disk; None for a file in an archive.
        head: Its first 64 KiB, decompressed; less if the file is shorter or damaged.
        stream: Its decompressed content. Reading it may raise any error of DAMAGE. UTF-16 is
            converted to UTF-8, and line ends of old Macs to line feeds, so that no reader has to.
    """

    def __init__(
        self,
        name: str,
        content: IO[bytes],
        path: Path | None = None,
        options: ReadOptions | None = None,
    ) -> None:
        self.name = name
        self.path = path
        self.options = options or ReadOptions()
        self.stream: io.BufferedReader[Any]
        self.stream = io.BufferedReader(unpacked(content), BUFFER_BYTES)  # type: ignore[type-var]
        self.head = self._peek()
        if convert := _conversion(self.head):
            self.stream = io.BufferedReader(_Converted(self.stream, convert), BUFFER_BYTES)
            self.head = self._peek()

    def _peek(self) -> bytes:
        try:
            return self.stream.peek(HEAD_BYTES)[:HEAD_BYTES]
        except DAMAGE:
            return b""

    @property
    def format_name(self) -> str:
        """The file's name in lower case, without the suffix of its compression."""
        name = self.name.lower()
        for suffix in COMPRESSED_SUFFIXES:
            name = name.removesuffix(suffix)
        return name

    def as_content(self) -> Content:
        """The whole content, with the name.

        Raises:
            ReadError: as `read_all`.
        """
        return Content(self.read_all(), self.name, None, self.options)

    def read_block(self) -> bytes:
        """The next megabyte or less; empty at the end.

        Raises:
            ReadError: the rest of the file is damaged.
        """
        try:
            return self.stream.read1(BUFFER_BYTES)
        except DAMAGE as error:
            raise ReadError(f"damaged file, nothing can be read after this: {error}") from error

    def read_all(self, maximum: int = MAXIMUM_BYTES) -> bytes:
        """The whole content.

        Raises:
            ReadError: the file is damaged, or larger than `maximum` bytes.
        """
        try:
            content = self.stream.read(maximum + 1)
        except DAMAGE as error:
            raise ReadError(f"damaged file: {error}") from error
        if len(content) > maximum:
            raise _too_large("file", maximum)
        return content

    def lines(self) -> Iterator[tuple[int, bytes | ReadError]]:
        """Numbered lines with their line ends; an error in place of a line that cannot be read.

        A byte order mark is removed.
        """
        number = 0
        try:
            while line := self.stream.readline(MAXIMUM_BYTES):
                number += 1
                if len(line) == MAXIMUM_BYTES and not line.endswith(b"\n"):
                    while line and not line.endswith(b"\n"):
                        line = self.stream.readline(MAXIMUM_BYTES)
                    yield number, _too_large("line")
                else:
                    yield number, line.removeprefix(UTF8_MARK) if number == 1 else line
        except DAMAGE as error:
            yield (
                number + 1,
                ReadError(f"damaged file, nothing can be read after this: {error}"),
            )


def _conversion(head: bytes) -> Callable[[bytes, bool], bytes] | None:
    """What converts the blocks of a file that begins with `head`; None if nothing has to.

    The function takes a block, and whether it is the last one.
    """
    if head.startswith((UTF32_MARK, *BINARY_MAGICS)):
        return None
    if order := UTF16_MARKS.get(head[:2]) or is_utf16(head):
        decoder = codecs.getincrementaldecoder(order)("replace")
        return lambda block, last: decoder.decode(block, last).encode("utf-8", "replace")
    if b"\0" not in head and b"\n" not in head and head.count(b"\r") >= LEAST_LINE_ENDS:
        return lambda block, last: block.replace(b"\r", b"\n")
    return None


class _Converted(io.RawIOBase):
    """A file's content, converted block by block."""

    def __init__(self, content: IO[bytes], convert: Callable[[bytes, bool], bytes]) -> None:
        self._content, self._convert = content, convert
        self._ready = b""
        self._at_end = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready and not self._at_end:
            block = self._content.read(PACKED_BYTES)
            self._at_end = not block
            self._ready = self._convert(block, self._at_end)
        size = min(len(buffer), len(self._ready))
        buffer[:size] = self._ready[:size]
        self._ready = self._ready[size:]
        return size


def unpacked(content: IO[bytes]) -> io.RawIOBase | IO[bytes]:
    """`content`, positioned at its beginning, decompressed if it is gzip, bzip2 or xz."""
    buffered = content if hasattr(content, "peek") else io.BufferedReader(content)  # type: ignore[type-var]
    start = buffered.peek(8)[:8]
    for magic, new in DECOMPRESSORS.items():
        if start.startswith(magic):
            return _Unpacked(buffered, new)
    return buffered


class _Unpacked(io.RawIOBase):
    """A compressed file's content. The data before any damage is returned before the error."""

    def __init__(self, packed: IO[bytes], new: Callable[[], Any]) -> None:
        self._packed, self._new = packed, new
        self._decompressor = new()
        self._ready = memoryview(b"")
        self._error: Exception | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready and self._error is None and self._fill():
            pass
        if not self._ready and self._error is not None:
            raise self._error
        size = min(len(buffer), len(self._ready))
        buffer[:size] = self._ready[:size]
        self._ready = self._ready[size:]
        return size

    def _fill(self) -> bool:
        """Decompress the next block; False at the end."""
        try:
            if self._decompressor.eof:  # another member may follow, as gzip allows
                block = self._decompressor.unused_data.lstrip(b"\0") or self._packed.read(
                    PACKED_BYTES
                ).lstrip(b"\0")
                if not block:
                    return False
                self._decompressor = self._new()
            else:
                block = self._packed.read(PACKED_BYTES)
                if not block:
                    raise EOFError("it ends too early")
            self._ready = memoryview(self._decompressor.decompress(block))
        except DAMAGE as error:
            self._error = error
        return True


def _too_large(what: str, maximum: int = MAXIMUM_BYTES) -> ReadError:
    return ReadError(f"{what} larger than {maximum >> 20} MB")
