"""PDF files, by PDFium: one file, one document."""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

from customir.corpus.document import RawDocument, Unreadable
from customir.corpus.readers.streams import whole

MAGIC = b"%PDF-"
MAXIMUM_PAGES = 5000
MAXIMUM_CHARACTERS = 64_000_000


def matches(head: bytes, name: str) -> bool:
    """Whether a file that begins with `head` is a PDF: its sign may stand anywhere in 1 KB."""
    return MAGIC in head[:1024] and (head.startswith(MAGIC) or name.lower().endswith(".pdf"))


def count(path: Path) -> int:
    """How many items `read` gives."""
    return 1


def read(path: Path, name: str) -> Iterator[RawDocument | Unreadable]:
    """The text of all pages, a blank line between two."""
    content = whole(path)
    yield Unreadable(name, content) if isinstance(content, str) else read_bytes(content, name)


def read_bytes(content: bytes, name: str) -> RawDocument | Unreadable:
    """The same of a file in memory."""
    try:
        import pypdfium2
    except ImportError:
        return Unreadable(name, 'no reader for PDF: pip install "customir[formats]"')
    pages: list[str] = []
    size = 0
    try:
        with pypdfium2.PdfDocument(BytesIO(content)) as document:
            title = document.get_metadata_dict().get("Title", "")
            for number in range(min(len(document), MAXIMUM_PAGES)):
                page = document[number].get_textpage().get_text_range(errors="replace")
                size += len(page)
                if size > MAXIMUM_CHARACTERS:
                    return Unreadable(name, f"more than {MAXIMUM_CHARACTERS:,} characters")
                pages.append(page.replace("\r\n", "\n").replace("\x02", ""))
    except (pypdfium2.PdfiumError, ValueError, OSError) as error:
        return Unreadable(name, f"not readable as PDF: {error}")
    text = "\n\n".join(page for page in pages if page.strip())
    if not text:
        return Unreadable(name, "no text in the PDF: pictures of pages, perhaps")
    return RawDocument(name, title, "", None, text)
