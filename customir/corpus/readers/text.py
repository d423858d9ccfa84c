"""Plain text and Markdown: one file, one document."""

import re
from collections.abc import Iterator
from pathlib import Path

from customir.corpus.charsets import BYTE_ORDER_MARKS, decode
from customir.corpus.document import RawDocument, Unreadable
from customir.corpus.readers.streams import whole

SUFFIXES = (".txt", ".text", ".md", ".markdown")
HEADING = re.compile(r"\s*#\s+(.+)")


def matches(head: bytes, name: str) -> bool:
    """Whether a file called `name` that begins with `head` is a text file."""
    if not name.lower().removesuffix(".gz").endswith(SUFFIXES):
        return False
    marked = head.startswith(tuple(mark for mark, _ in BYTE_ORDER_MARKS))
    # A stray NUL is mended later; many are a binary file.
    return bool(head) and (marked or head.count(b"\0") * 100 <= len(head))


def count(path: Path) -> int:
    """How many items `read` gives."""
    return 1


def read(path: Path, name: str) -> Iterator[RawDocument | Unreadable]:
    """The file. The title is the heading that a Markdown file begins with."""
    content = whole(path)
    if isinstance(content, str):
        yield Unreadable(name, content)
        return
    text = decode(content)
    heading = HEADING.match(text) if ".md" in name.lower() or ".markdown" in name.lower() else None
    title = heading[1].strip() if heading else ""
    yield RawDocument(identifier=name, title=title, sender="", date=None, text=text)
