"""HTML files: one file, one document."""

import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path

from customir.corpus.charsets import decode
from customir.corpus.document import RawDocument, Unreadable
from customir.corpus.readers.message import html_to_text
from customir.corpus.readers.streams import whole

START = re.compile(
    rb"\s*(?:<\?xml[^<>]*>\s*)?(?:<!--.{0,2000}?-->\s*)*<(?:!doctype\s+html|html)\b", re.I | re.S
)
CHARSET = re.compile(rb"<meta[^<>]{0,200}charset\s*=\s*[\"']?([\w-]+)", re.I)
TITLE = re.compile(r"<title[^<>]*>([^<]{0,2000})</title", re.I)
UNSEEN = re.compile(r"<(script|style|head)\b.*?</\1\s*>", re.I | re.S)


def matches(head: bytes, name: str) -> bool:
    """Whether a file that begins with `head` is HTML."""
    named = name.lower().removesuffix(".gz").endswith((".html", ".htm", ".xhtml"))
    return START.match(head.lstrip(b"\xef\xbb\xbf")) is not None or (named and b"<" in head)


def count(path: Path) -> int:
    """How many items `read` gives."""
    return 1


def read(path: Path, name: str) -> Iterator[RawDocument | Unreadable]:
    """The page as text, with its title."""
    content = whole(path)
    if isinstance(content, str):
        yield Unreadable(name, content)
        return
    charset = CHARSET.search(content[:4096])
    html = decode(content, charset[1].decode() if charset else None)
    title = TITLE.search(html[:100_000])
    try:
        text = html_to_text(UNSEEN.sub(" ", html))
    except ValueError as error:
        yield Unreadable(name, f"too much HTML: {error}")
        return
    yield RawDocument(name, unescape(title[1]).strip() if title else "", "", None, text)
