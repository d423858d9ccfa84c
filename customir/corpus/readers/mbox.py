"""mbox files, also gzipped: split while reading, so that memory holds one message."""

import re
import zlib
from collections.abc import Iterator
from pathlib import Path

from customir.corpus.document import RawDocument, Unreadable
from customir.corpus.readers.message import read_message
from customir.corpus.readers.streams import open_bytes

LINES_BYTES = 1 << 20
# An envelope line holds a month's name, a time and a year, in whatever order. "From " at the
# start of a body line, unescaped, holds a sender and such a date about never.
ENVELOPE = re.compile(
    rb"From (?=[^\r\n]*\b(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)\b)"
    rb"(?=[^\r\n]*\b\d{1,2}:\d\d)(?=[^\r\n]*\b\d{4}\b)"
)
# mboxrd: a body line that began with "From " was given one more ">".
ESCAPED_FROM = re.compile(rb"^>(>*From )", re.MULTILINE)


def matches(head: bytes, name: str) -> bool:
    """Whether a file that begins with `head` is an mbox."""
    return ENVELOPE.match(head.lstrip(b"\xef\xbb\xbf\r\n")) is not None


def count(path: Path) -> int:
    """How many items `read` gives."""
    return sum(1 for _ in _split(path))


def read(path: Path, name: str) -> Iterator[RawDocument | Unreadable]:
    """Every message of the file, in order."""
    for number, message in enumerate(_split(path), start=1):
        where = f"{name}: message {number}"
        if isinstance(message, str):
            yield Unreadable(where, message)
        else:
            yield read_message(message, where)


def _split(path: Path) -> Iterator[bytes | str]:
    """The messages without their envelope lines; a text says why something is not one.

    A message begins at an envelope line at the start of the file or after a blank line. Line
    ends may be mixed.
    """
    lines: list[bytes] = []
    inside = False
    after_blank = True
    with open_bytes(path) as file:
        try:
            while block := file.readlines(LINES_BYTES):
                for line in block:
                    if after_blank and line[:5] == b"From " and ENVELOPE.match(line):
                        yield from _finish(lines, inside)
                        lines, inside = [], True
                        after_blank = False
                    else:
                        lines.append(line)
                        after_blank = line in (b"\n", b"\r\n", b"\r\r\n", b"\xef\xbb\xbf\n")
        except (EOFError, OSError, zlib.error) as error:
            yield from _finish(lines, inside)
            yield f"damaged file, nothing can be read after this: {error}"
            return
    yield from _finish(lines, inside)


def _finish(lines: list[bytes], inside: bool) -> Iterator[bytes | str]:
    content = b"".join(lines)
    if inside:
        yield ESCAPED_FROM.sub(rb"\1", content) if b">From " in content else content
    elif content.strip(b"\xef\xbb\xbf\r\n"):
        yield "text before the first message"
