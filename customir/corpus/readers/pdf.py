"""PDF files, by PDFium: one file, one document."""

from io import BytesIO

from customir.corpus.document import RawDocument
from customir.corpus.readers.files import NOT_INSTALLED, Content, ReadError

MAGIC = b"%PDF-"
MAXIMUM_PAGES = 5000
MAXIMUM_CHARACTERS = 64_000_000


def matches(head: bytes, name: str) -> bool:
    """Whether a file that begins with `head` is a PDF: its sign may stand anywhere in 1 KB."""
    return MAGIC in head[:1024] and (head.startswith(MAGIC) or name.lower().endswith(".pdf"))


def read_document(content: Content) -> RawDocument:
    """The text of all pages, a blank line between two.

    Raises:
        ReadError: it is damaged or encrypted, has no text, or pypdfium2 is not installed.
    """
    try:
        import pypdfium2
    except ImportError as error:
        raise ReadError(NOT_INSTALLED.format("PDF")) from error
    pages: list[str] = []
    size = 0
    try:
        with pypdfium2.PdfDocument(BytesIO(content.data)) as document:
            title = document.get_metadata_dict().get("Title", "")
            for number in range(min(len(document), MAXIMUM_PAGES)):
                page = document[number].get_textpage().get_text_range(errors="replace")
                size += len(page)
                if size > MAXIMUM_CHARACTERS:
                    raise ReadError(f"more than {MAXIMUM_CHARACTERS:,} characters")
                pages.append(page.replace("\r\n", "\n").replace("\x02", ""))
    except (pypdfium2.PdfiumError, ValueError, OSError) as error:
        raise ReadError(f"not readable as PDF: {error}") from error
    text = "\n\n".join(page for page in pages if page.strip())
    if not text:
        raise ReadError("no text in the PDF: pictures of pages, perhaps")
    return RawDocument(content.name, title, "", None, text)
