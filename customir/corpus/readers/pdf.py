"""PDF files, read with PDFium: one document per file. Optionally, tesseract reads scanned pages."""

import shutil
import subprocess
from io import BytesIO
from typing import Any

from customir.corpus.document import RawDocument
from customir.corpus.readers.files import Content, ReadError, reading
from customir.corpus.readers.page_layout import MAXIMUM_PIECES, Piece, columns_in_order, join_lines

MAGIC = b"%PDF-"
MAXIMUM_PAGES = 5000
MAXIMUM_CHARACTERS = 64_000_000
# PDFium's marks for a hyphen at a line's end. Its functions use different ones.
SOFT_HYPHENS = ("\ufffe", "\x02")
OCR_DPI, OCR_SECONDS, POINTS_PER_INCH = 300, 120, 72
SCANNED = "no text in the PDF: its pages are pictures (scans)"


def matches(head: bytes, name: str) -> bool:
    """Whether a file that begins with `head` is a PDF. Its mark may be anywhere in 1 KB."""
    return MAGIC in head[:1024] and (head.startswith(MAGIC) or name.endswith(".pdf"))


def read_document(content: Content) -> RawDocument:
    """The text of all pages, separated by blank lines, with columns one after the other.

    Raises:
        ReadError: it is damaged or encrypted, has no text, or a library is not installed.
    """
    pages: list[str] = []
    size = 0
    with reading("PDF"):
        import pypdfium2

        with pypdfium2.PdfDocument(BytesIO(content.data)) as document:
            title = document.get_metadata_dict().get("Title", "")
            for number in range(min(len(document), MAXIMUM_PAGES)):
                page = document[number]
                text = _text_of(page)
                if content.options.ocr and not text.strip():
                    text = _recognised(page)
                size += len(text)
                if size > MAXIMUM_CHARACTERS:
                    raise ReadError(f"more than {MAXIMUM_CHARACTERS:,} characters")
                pages.append(text)
    text = "\n\n".join(page for page in pages if page.strip())
    if not text:
        raise ReadError(SCANNED + ("" if content.options.ocr else "; try --ocr"))
    return RawDocument(content.name, title, "", None, text)


def _text_of(page: Any) -> str:
    """A page's text, in the order of its columns if it has columns, else in PDFium's order."""
    text_page = page.get_textpage()
    count = text_page.count_rects()
    if 0 < count <= MAXIMUM_PIECES:
        pieces = []
        for number in range(count):
            left, bottom, right, top = text_page.get_rect(number)
            text = text_page.get_text_bounded(left, bottom, right, top).strip(" \r\n")
            if text:
                pieces.append(Piece(left, bottom, right, top, text))
        if lines := columns_in_order(pieces, is_turned=page.get_rotation() != 0):
            return join_lines(lines)
    text = text_page.get_text_range(errors="replace").replace("\r\n", "\n")
    for mark in SOFT_HYPHENS:
        text = text.replace(f"{mark}\n", "").replace(mark, "")
    return str(text)


def _recognised(page: Any) -> str:
    """The text of a scanned page, recognised by tesseract.

    Raises:
        ReadError: tesseract is not installed, or fails.
    """
    program = shutil.which("tesseract")
    if program is None:
        raise ReadError(f"{SCANNED}, and tesseract, which would recognise them, is not installed")
    picture = page.render(scale=OCR_DPI / POINTS_PER_INCH, grayscale=True).to_numpy()
    height, width = picture.shape[:2]
    graymap = b"P5 %d %d 255\n" % (width, height) + picture.reshape(height, width).tobytes()
    command = [program, "stdin", "stdout", "--dpi", str(OCR_DPI), *_languages(program)]
    try:
        done = subprocess.run(
            command, input=graymap, capture_output=True, timeout=OCR_SECONDS, check=True
        )
    except (subprocess.SubprocessError, OSError) as error:
        raise ReadError(f"tesseract failed: {error}") from error
    return str(done.stdout, "utf-8", "replace").replace("\f", "")


def _languages(program: str) -> list[str]:
    """The option for every language that tesseract has installed, English first."""
    done = subprocess.run([program, "--list-langs"], capture_output=True, timeout=20, check=False)
    names = [name for name in done.stdout.decode().split("\n")[1:] if name and name != "osd"]
    names.sort(key=lambda name: (name != "eng", name))
    return ["-l", "+".join(names)] if names else []
