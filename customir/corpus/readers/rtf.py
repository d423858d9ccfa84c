"""Rich Text Format, read with striprtf."""

from customir.corpus.charsets import decode
from customir.corpus.document import RawDocument
from customir.corpus.readers.files import Content, ReadError, reading
from customir.corpus.readers.html import html_to_text
from customir.corpus.readers.rtf_html import html_of, is_html

MAGIC = b"{\\rtf"
# striprtf takes some seconds for this much.
MAXIMUM_BYTES = 16 << 20


def matches(head: bytes, name: str) -> bool:
    """Whether a file that begins with `head` is RTF."""
    return head.lstrip().startswith(MAGIC)


def read_document(content: Content) -> RawDocument:
    """The text without its formatting.

    Raises:
        ReadError: see `as_text`; or it has no text.
    """
    text = as_text(content.data)
    if not text.strip():
        raise ReadError("no text in the RTF")
    return RawDocument(content.name, "", "", None, text)


def as_text(content: bytes) -> str:
    """The text of RTF, or of the HTML that Outlook keeps in it.

    Raises:
        ReadError: it is larger than 16 MB or damaged, or striprtf is not installed.
    """
    if len(content) > MAXIMUM_BYTES:
        raise ReadError(f"RTF larger than {MAXIMUM_BYTES >> 20} MB")
    if is_html(content):
        return html_to_text(html_of(content))
    with reading("RTF"):
        from striprtf.striprtf import rtf_to_text

        return str(rtf_to_text(decode(content), errors="replace"))  # type: ignore[no-untyped-call]
