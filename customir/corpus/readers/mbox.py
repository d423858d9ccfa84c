"""mbox files, also gzipped: split while reading, so that memory holds one message."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from customir.corpus.document import RawMail, Unreadable
from customir.corpus.readers.streams import DAMAGE, open_bytes

LINES_BYTES = 1 << 20
# A message with its attachments is held whole; no mail server takes one as large as this.
MAXIMUM_MESSAGE = 128 << 20
# An envelope line holds a month's name, a time and a year, in whatever order. "From " at the
# start of a body line, unescaped, holds a sender and such a date about never.
ENVELOPE = re.compile(
    rb"From (?=[^\r\n]*\b(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)\b)"
    rb"(?=[^\r\n]*\b\d{1,2}:\d\d)(?=[^\r\n]*\b\d{4}\b)"
)
HEADER = re.compile(rb"(?:>From |[!-9;-~]{1,60}:)")
BLANK = (b"\n", b"\r\n", b"\r\r\n", b"\xef\xbb\xbf\n")
LINE = re.compile(rb"[^\n]*\n|[^\n]+\Z")
# mboxrd: a body line that began with "From " was given one more ">".
ESCAPED_FROM = re.compile(rb"^>(>*From )", re.MULTILINE)


def matches(head: bytes, name: str) -> bool:
    """Whether a file that begins with `head` is an mbox."""
    return ENVELOPE.match(head.lstrip(b"\xef\xbb\xbf\r\n")) is not None


def count(path: Path) -> int:
    """How many items `read` gives."""
    return sum(1 for _ in _split(path))


def read(path: Path, name: str) -> Iterator[RawMail | Unreadable]:
    """Every message of the file, in order."""
    for number, message in enumerate(_split(path), start=1):
        where = f"{name}: message {number}"
        yield Unreadable(where, message) if isinstance(message, str) else RawMail(message, where)


def _split(path: Path) -> Iterator[bytes | str]:
    """The messages without their envelope lines; a text says why something is not one.

    A message begins at an envelope line at the start of the file or after a blank line; in files
    of programs that write no blank line, above a header. Line ends may be mixed.
    """
    lines: list[bytes] = []
    size = 0
    inside = False
    after_blank = True
    envelope = b""  # seen where no blank line precedes it: the next line decides
    with open_bytes(path) as file:
        try:
            while block := _lines(file):
                for line in block:
                    if envelope:
                        if HEADER.match(line):
                            yield from _finish(lines, inside, size)
                            lines, size, inside = [], 0, True
                        else:
                            lines.append(envelope)
                        envelope = b""
                    if line[:5] == b"From " and ENVELOPE.match(line):
                        if after_blank:
                            yield from _finish(lines, inside, size)
                            lines, size, inside = [], 0, True
                        else:
                            envelope = line
                        after_blank = False
                        continue
                    size += len(line)
                    if size <= MAXIMUM_MESSAGE:
                        lines.append(line)
                    else:
                        lines.clear()
                    after_blank = line in BLANK
        except DAMAGE as error:
            yield from _finish(lines, inside, size)
            yield f"damaged file, nothing can be read after this: {error}"
            return
    yield from _finish([*lines, envelope], inside, size)


def _lines(file: IO[bytes]) -> list[bytes]:
    """The next lines, a megabyte or so; a line longer than that comes in pieces."""
    block = file.read(LINES_BYTES)
    if block and not block.endswith(b"\n"):
        block += file.readline(LINES_BYTES)
    return block.splitlines(keepends=True) if b"\r" not in block else LINE.findall(block)


def _finish(lines: list[bytes], inside: bool, size: int) -> Iterator[bytes | str]:
    content = b"".join(lines)
    if size > MAXIMUM_MESSAGE:
        yield f"larger than {MAXIMUM_MESSAGE >> 20} MB"
    elif inside:
        yield ESCAPED_FROM.sub(rb"\1", content) if b">From " in content else content
    elif content.strip(b"\xef\xbb\xbf\r\n"):
        yield "text before the first message"
