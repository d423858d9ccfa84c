"""One message per file: .eml, the files of a Maildir, Enron's files without an extension."""

import re
from collections.abc import Iterator
from pathlib import Path

from customir.corpus.document import RawMail, Unreadable
from customir.corpus.readers.streams import whole

HEADER_LINE = re.compile(rb"[!-9;-~]+[ \t]*:")
# Two of these at the top make a message; "Note: ..." at the top of a text does not.
MAIL_HEADER = re.compile(
    rb"^(?:received|return-path|delivered-to|message-id|date|from|to|subject|mime-version"
    rb"|content-type|x-[a-z-]+)[ \t]*:",
    re.IGNORECASE | re.MULTILINE,
)


def matches(head: bytes, name: str) -> bool:
    """Whether a file that begins with `head` is a message."""
    head = head.lstrip(b"\xef\xbb\xbf\r\n")
    if not HEADER_LINE.match(head):
        return False
    headers = re.split(rb"\r?\n\r?\n", head, maxsplit=1)[0]
    needed = 1 if name.lower().endswith(".eml") else 2
    return len(MAIL_HEADER.findall(headers)) >= needed


def count(path: Path) -> int:
    """How many items `read` gives."""
    return 1


def read(path: Path, name: str) -> Iterator[RawMail | Unreadable]:
    """The message."""
    content = whole(path)
    if isinstance(content, str):
        yield Unreadable(name, content)
    else:
        yield RawMail(content.lstrip(b"\xef\xbb\xbf\r\n"), name)
