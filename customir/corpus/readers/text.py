"""Plain text and Markdown: one file, one document."""

import re

from customir.corpus.charsets import BYTE_ORDER_MARKS, decode
from customir.corpus.document import RawDocument
from customir.corpus.readers.files import Content

SUFFIXES = (".txt", ".text", ".md", ".markdown")
HEADING = re.compile(r"\s*#\s+(.+)")


def matches(head: bytes, name: str) -> bool:
    """Whether a file called `name` that begins with `head` is a text file."""
    if not name.endswith(SUFFIXES):
        return False
    marked = head.startswith(tuple(mark for mark, _ in BYTE_ORDER_MARKS))
    # A stray NUL is mended later; many are a binary file.
    return bool(head) and (marked or head.count(b"\0") * 100 <= len(head))


def read_document(content: Content) -> RawDocument:
    """The text. The title is the heading that a Markdown file begins with."""
    text = decode(content.data, content.charset)
    is_markdown = content.name.lower().partition(".gz")[0].endswith((".md", ".markdown"))
    heading = HEADING.match(text) if is_markdown else None
    return RawDocument(content.name, heading[1].strip() if heading else "", "", None, text)
