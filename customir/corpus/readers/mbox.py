"""mbox files: split while they are read, so that memory holds only one message.

A line that begins with "From " separates two messages. Programs disagree about the rest of that
line, about the blank line above it, and about escaping such a line in a body. Most write ">From "
(mboxo, mboxrd), some give the body's length in a header and leave its lines unchanged (mboxcl2),
and some do neither. See https://www.loc.gov/preservation/digital/formats/fdd/fdd000383.shtml
"""

import re
from collections.abc import Iterator

from customir.corpus.document import RawMail, Unreadable
from customir.corpus.readers import eml
from customir.corpus.readers.files import UTF8_MARK, ReadError, SourceFile

# A message with its attachments is held in memory. No mail server accepts one as large as this.
MAXIMUM_MESSAGE = 128 << 20
MAXIMUM_HEADER = 1 << 20
MAXIMUM_LINE = 2000
# How many bytes after a line are checked to decide whether it is a separator.
LOOKAHEAD = 1 << 13
# How many bytes are searched for the end of a multipart that seems to contain a separator.
MULTIPART_LOOKAHEAD = 2 << 20
NAMES = (".mbox", ".mbx", "/mbox", "/inbox")

MONTH = rb"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
# "From ada@example.org Thu Aug 22 12:36:23 2002", also with a time zone, as "Fri, 3 May 2021", ...
CANONICAL = re.compile(
    rb"From [^\n]{0,400}?\b(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun),? +"
    rb"(?:%b +\d{1,2} +\d{1,2}:\d\d[^\n]*\b\d{4}\b|\d{1,2} +%b +\d{4} +\d{1,2}:\d\d)"
    % (MONTH, MONTH)
)
# The first line of the output of git format-patch. In a mailbox, it is part of a message.
GIT_PATCH = re.compile(rb"From [0-9a-f]{40} Mon Sep 17 00:00:00 2001")
# These lines separate messages only if a header follows: "From" alone, or followed by a dash, by a
# single address or name, or by anything with a time or a year.
OTHER = re.compile(rb"From(?: *| -[^\n]*| [^\s:]+ *| [^\n]*\d:\d\d[^\n]*| [^\n]*\d{4}[^\n]*)\r?\Z")
HEADER = re.compile(rb"[!-9;-~]{1,76}[ \t]*:")
# Headers that only programs write, and headers that people copy. A message's header has at least
# one of the former and another one of either kind.
MACHINE_HEADER = re.compile(
    rb"(?:received|return-path|delivered-to|message-id|date|mime-version|content-type|status"
    rb"|x-[a-z-]+)[ \t]*:",
    re.IGNORECASE,
)
MAIL_HEADER = re.compile(rb"(?:from|to|cc|subject|reply-to|sender)[ \t]*:", re.IGNORECASE)
HEADERS_END = re.compile(rb"\n\r?\n")
CONTENT_LENGTH = re.compile(rb"^Content-Length:[ \t]*(\d{1,9})[ \t]*\r?$", re.I | re.M)
BOUNDARY = re.compile(
    rb"^Content-Type:[ \t]*multipart/[^\n]*(?:\n[ \t][^\n]*)*?"
    rb"\bboundary[ \t]*=[ \t]*(?:\"([^\"\r\n]{1,200})\"|([^\s;\"]{1,200}))",
    re.I | re.M,
)
# mboxrd adds one more ">" to a body line that begins with "From ", with or without ">" before it.
ESCAPED_FROM = re.compile(rb"^>(>*From )", re.MULTILINE)
# A second, escaped separator above the header.
ESCAPED_SEPARATOR = re.compile(rb"\A(?:>From [^\n]*\n)+(?=[!-9;-~]{1,76}[ \t]*:)")


def matches(head: bytes, name: str) -> bool:
    """Whether a file that begins with `head` is an mbox."""
    start = head.removeprefix(UTF8_MARK).lstrip(b"\r\n")
    line, _, rest = start.partition(b"\n")
    if _is_separator(line, rest, after_blank=True, among_patches=True):
        return True
    # The first separator may be missing.
    return f"/{name}".endswith(NAMES) and any(
        CANONICAL.match(head, found.end()) for found in re.finditer(rb"\n\r?\n(?=From )", head)
    )


def read(file: SourceFile) -> Iterator[RawMail | Unreadable]:
    """Every message of the file, in order."""
    for number, (envelope, message) in enumerate(_split(file), start=1):
        where = f"{file.name}: message {number}"
        if isinstance(message, ReadError):
            yield Unreadable(where, str(message))
        else:
            yield RawMail(message, where, envelope)


class _Window:
    """The part of a file that is in memory. Data taken from its front is dropped."""

    def __init__(self, file: SourceFile) -> None:
        self.data = bytearray()
        self.error: ReadError | None = None
        self._file = file
        self._at_end = False

    def hold(self, size: int) -> bool:
        """Read until the window has `size` bytes; False if the file ends before that."""
        while len(self.data) < size and not self._at_end:
            block = b""
            try:
                block = self._file.read_block()
            except ReadError as error:
                self.error = error
            self.data += block
            self._at_end = not block
        return len(self.data) >= size

    def take(self, size: int) -> bytes:
        """Remove and return the first `size` bytes."""
        taken = bytes(self.data[:size])
        del self.data[:size]
        return taken

    def take_blank_lines(self) -> None:
        """Drop line ends at the front."""
        while self.hold(1) and self.data[0] in b"\r\n":
            del self.data[0]

    def line_at(self, begin: int) -> tuple[bytes, bytes]:
        """The line that begins at `begin`, without its line end, and some of the following data."""
        self.hold(begin + MAXIMUM_LINE + LOOKAHEAD)
        end = self.data.find(b"\n", begin, begin + MAXIMUM_LINE)
        if end < 0:
            return bytes(self.data[begin : begin + MAXIMUM_LINE]), b""
        return bytes(self.data[begin:end]), bytes(self.data[end + 1 : end + 1 + LOOKAHEAD])


def _split(file: SourceFile) -> Iterator[tuple[bytes, bytes | ReadError]]:
    """(separator, message) of each message, or an error in place of the message."""
    window = _Window(file)
    if file.head.startswith(UTF8_MARK):
        window.hold(len(UTF8_MARK))
        window.take(len(UTF8_MARK))
    window.take_blank_lines()
    line, rest = window.line_at(0)
    among_patches = GIT_PATCH.match(line) is not None
    if _is_separator(line, rest, after_blank=True, among_patches=among_patches):
        window.take(len(line) + 1)
    else:
        line = b""
        message = _take_message(window, among_patches)
        if isinstance(message, bytes) and not eml.matches(message[:LOOKAHEAD], ""):
            message = ReadError("text before the first message")
        yield b"", message
    while line or window.data:
        if not line:
            line, _ = window.line_at(0)
            window.take(len(line) + 1)
        yield line, _take_message(window, among_patches)
        line = b""
    if window.error:
        yield b"", window.error


def _take_message(window: _Window, among_patches: bool) -> bytes | ReadError:
    """Take the message at the front. Then the window begins with a separator or is empty."""
    header = _header(window)
    if length := _stated_length(window, header):
        message = window.take(length)
        window.take_blank_lines()
        return message if b"\nFrom " in message else _unescaped(message)
    is_too_large = False
    at = -1  # position of the line end before a candidate
    while True:
        if at < 0 and window.hold(5) and window.data.startswith(b"From "):
            found = -1
        else:
            found = window.data.find(b"\nFrom", max(at, 0))
            if found < 0:
                searched = max(len(window.data) - 4, 0)
                if searched > MAXIMUM_MESSAGE:
                    is_too_large = True
                    window.take(searched - 2)
                    searched = 2
                if window.hold(len(window.data) + 1):
                    at = searched
                    continue
                message = window.take(len(window.data))
                break
        line, rest = window.line_at(found + 1)
        above = bytes(window.data[max(found - 2, 0) : found + 1])
        after_blank = found <= 0 or above.endswith((b"\n\n", b"\n\r\n")) or above == b"\r\n"
        if _is_separator(
            line, rest, after_blank=after_blank, among_patches=among_patches
        ) and not _is_inside_multipart(window, header, found + 1):
            message = window.take(found + 1)
            break
        at = found + 1
    if is_too_large or len(message) > MAXIMUM_MESSAGE:
        return ReadError(f"larger than {MAXIMUM_MESSAGE >> 20} MB")
    return _unescaped(message)


def _unescaped(message: bytes) -> bytes:
    if b">From " not in message:
        return message
    return ESCAPED_FROM.sub(rb"\1", ESCAPED_SEPARATOR.sub(b"", message))


def _is_separator(line: bytes, rest: bytes, *, after_blank: bool, among_patches: bool) -> bool:
    """Whether a line that begins with "From" separates messages.

    Args:
        rest: Some of the data after the line.
        after_blank: Whether a blank line, or nothing, is above the line.
        among_patches: Whether the file is a series of patches.
    """
    if line[:5].rstrip(b"\r") not in (b"From ", b"From"):
        return False
    if GIT_PATCH.match(line):
        return among_patches
    if CANONICAL.match(line):
        return after_blank or rest.startswith((b">From ", b"From ")) or bool(HEADER.match(rest))
    return after_blank and OTHER.match(line) is not None and _is_header(rest)


def _is_header(text: bytes) -> bool:
    """Whether `text` begins with a message's header."""
    machine = typed = 0
    for line in text.split(b"\n"):
        line = line.rstrip(b"\r")
        if not line:
            break
        if MACHINE_HEADER.match(line):
            machine += 1
        elif MAIL_HEADER.match(line):
            typed += 1
        elif not (HEADER.match(line) or line[:1] in b" \t" or line.startswith(b">From ")):
            return False
        if machine and machine + typed > 1:
            return True
    return False


def _header(window: _Window) -> bytes:
    """The header of the message at the front, including the blank line below it."""
    end = LOOKAHEAD
    while True:
        window.hold(end)
        if found := HEADERS_END.search(window.data, 0, end):
            return bytes(window.data[: found.end()])
        if len(window.data) < end or end > MAXIMUM_HEADER:
            return b""
        end *= 4


def _stated_length(window: _Window, header: bytes) -> int:
    """The message's length by its Content-Length; 0 if neither a separator nor the end follows."""
    found = CONTENT_LENGTH.search(header)
    if not found:
        return 0
    end = len(header) + int(found[1])
    if end > MAXIMUM_MESSAGE:
        return 0
    window.hold(end)
    begin = end
    while window.hold(begin + 1) and begin < end + 4 and window.data[begin] in b"\r\n":
        begin += 1
    if len(window.data) == begin:
        return end if begin >= end else 0
    if begin == end and window.data[end - 1 : end] != b"\n":
        return 0
    line, rest = window.line_at(begin)
    is_separator = _is_separator(line, rest, after_blank=True, among_patches=False)
    return end if is_separator else 0


def _is_inside_multipart(window: _Window, header: bytes, begin: int) -> bool:
    """Whether an apparent separator is inside a multipart message."""
    found = BOUNDARY.search(header) if b"ultipart/" in header else None
    if not found:
        return False
    boundary = found[1] or found[2]
    closing = b"--" + boundary + b"--"
    data = window.data
    if data.find(b"--" + boundary, len(header), begin) < 0:
        return False
    if data.find(closing, len(header), begin) >= 0:
        return False
    window.hold(begin + MULTIPART_LOOKAHEAD)
    end = data.find(closing, begin, begin + MULTIPART_LOOKAHEAD)
    # If this message is truncated, the closing boundary may belong to a copy of it.
    is_copy = rb"boundary[ \t]*=[ \t]*\"?" + re.escape(boundary)
    return end >= 0 and re.search(is_copy, data[begin:end], re.I) is None
