"""One message per file: .eml, the files of a Maildir, Enron's files without an extension."""

import re
from collections.abc import Iterator

from customir.corpus.document import RawMail
from customir.corpus.readers.files import SourceFile

HEADER_LINE = re.compile(rb"[!-9;-~]+[ \t]*:")
# Two of these at the top identify a message; "Note: ..." at the top of a text does not.
MAIL_HEADER = re.compile(
    rb"^(?:received|return-path|delivered-to|message-id|date|from|to|subject|mime-version"
    rb"|content-type|x-[a-z-]+)[ \t]*:",
    re.IGNORECASE | re.MULTILINE,
)

MACHINE_HEADER = re.compile(
    rb"^(?:received|return-path|delivered-to|message-id|mime-version|x-[a-z-]+|from)[ \t]*:",
    re.IGNORECASE | re.MULTILINE,
)
TEXT_SUFFIXES = (".txt", ".text", ".md", ".org", ".rst")


def matches(head: bytes, name: str) -> bool:
    """Whether a file that begins with `head` is a message."""
    head = head.lstrip(b"\xef\xbb\xbf\r\n")
    if not HEADER_LINE.match(head):
        return False
    headers = re.split(rb"\r?\n\r?\n", head, maxsplit=1)[0]
    if name.endswith(".eml"):
        return MAIL_HEADER.search(headers) is not None
    # Text that people type may look like a header, but it has none of the headers of programs.
    is_text = name.endswith(TEXT_SUFFIXES) and not MACHINE_HEADER.search(headers)
    return not is_text and len(MAIL_HEADER.findall(headers)) >= 2


def read(file: SourceFile) -> Iterator[RawMail]:
    """The message."""
    yield RawMail(file.read_all().lstrip(b"\xef\xbb\xbf\r\n"), file.name)
