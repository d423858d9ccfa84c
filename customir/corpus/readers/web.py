"""HTML files: one document per file."""

import re
from html import unescape

from customir.corpus.document import RawDocument
from customir.corpus.readers.files import Content
from customir.corpus.readers.html import decode_html, html_to_text

START = re.compile(
    rb"\s*(?:<\?xml[^<>]*>\s*)?(?:<!--.{0,2000}?-->\s*)*<(?:!doctype\s+html|html)\b", re.I | re.S
)
TITLE = re.compile(r"<title[^<>]*>([^<]{0,2000})</title", re.I)


def matches(head: bytes, name: str) -> bool:
    """Whether a file that begins with `head` is HTML."""
    named = name.endswith((".html", ".htm", ".xhtml"))
    return START.match(head.lstrip(b"\xef\xbb\xbf")) is not None or (named and b"<" in head)


def read_document(content: Content) -> RawDocument:
    """The page as text, with its title.

    Raises:
        ReadError: there is so much HTML that reading it would take minutes.
    """
    html = decode_html(content.data, content.charset)
    title = TITLE.search(html[:100_000])
    return RawDocument(
        content.name, unescape(title[1]).strip() if title else "", "", None, html_to_text(html)
    )
