"""HTML as plain text."""

import re
from html import unescape

import html2text

from customir.corpus.charsets import decode

# A mail with more HTML than this is a report or an attack; html2text would take minutes.
MAXIMUM_HTML = 4_000_000
MAXIMUM_DEPTH = 100
CHARSET = re.compile(
    rb"<(?:meta|\?xml)\b[^<>]{0,200}?(?:charset|encoding)\s*=\s*[\"']?([\w-]+)", re.I
)
CHARSET_BYTES = 4096
NESTING_TAG = re.compile(r"<(/?)(?:ul|ol|blockquote)\b", re.IGNORECASE)
UNCLOSED_TAG = re.compile(r"<(?=[^<>]*(?:<|\Z))")
UNSEEN = re.compile(r"<(script|style|head)\b.*?</\1\s*>", re.IGNORECASE | re.DOTALL)
ANY_TAG = re.compile(r"<[^<>]*>")


def decode_html(content: bytes, declared: str | None = None) -> str:
    """HTML as text: by the charset that is declared outside, else by that in its <meta> tag."""
    if declared is None and (found := CHARSET.search(content[:CHARSET_BYTES])):
        declared = found[1].decode("ascii", "replace")
    return decode(content, declared)


def html_to_text(html: str) -> str:
    """HTML as plain text without links, pictures and emphasis; blockquotes become "> " lines.

    Raises:
        ValueError: there is so much of it, or it is nested so deep, that it would take minutes.
    """
    if len(html) > MAXIMUM_HTML:
        raise ValueError(f"{len(html):,} characters of HTML; at most {MAXIMUM_HTML:,} are read")
    depth = 0
    for tag in NESTING_TAG.finditer(html):
        depth = max(depth - 1, 0) if tag[1] else depth + 1
        if depth > MAXIMUM_DEPTH:
            raise ValueError(f"HTML lists or quotes nested deeper than {MAXIMUM_DEPTH}")
    converter = html2text.HTML2Text(bodywidth=0)
    converter.ignore_links = True
    converter.ignore_images = True
    converter.ignore_emphasis = True
    converter.ignore_tables = True
    converter.unicode_snob = True  # "ü" stays "ü"
    # The parser looks for the end of an unclosed tag through all that follows, for each of them.
    html = UNCLOSED_TAG.sub("&lt;", UNSEEN.sub(" ", _without_comments(html)))
    try:
        return str(converter.handle(html))
    except AssertionError:  # by html.parser, on some marked sections
        return unescape(ANY_TAG.sub(" ", html))


def _without_comments(html: str) -> str:
    kept: list[str] = []
    at = 0
    while (begin := html.find("<!--", at)) >= 0:
        end = html.find("-->", begin + 4)
        if end < 0:
            break
        kept.append(html[at:begin])
        at = end + 3
    return "".join([*kept, html[at:]])
