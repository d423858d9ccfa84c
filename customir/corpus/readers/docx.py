"""Word's .docx, by python-docx: one file, one document."""

from collections.abc import Iterator, Sequence
from io import BytesIO
from typing import Any

from customir.corpus.document import RawDocument
from customir.corpus.readers.files import NOT_INSTALLED, Content, ReadError


def matches_names(names: Sequence[str]) -> bool:
    """Whether a zip file with files of these names is a .docx."""
    return "word/document.xml" in names


def read_document(content: Content) -> RawDocument:
    """The paragraphs and tables, in order; cells of a row on one line.

    Raises:
        ReadError: it is damaged or has no text, or python-docx is not installed.
    """
    try:
        import docx
    except ImportError as error:
        raise ReadError(NOT_INSTALLED.format(".docx")) from error
    try:
        document = docx.Document(BytesIO(content.data))
        text = "\n\n".join(_blocks(document))
        properties = document.core_properties
        title, author = properties.title or "", properties.author or ""
    except Exception as error:  # lxml, zipfile and python-docx each have their own
        raise ReadError(f"not readable as .docx: {type(error).__name__}: {error}") from error
    if not text:
        raise ReadError("no text in the .docx")
    return RawDocument(content.name, title, author, None, text)


def _blocks(document: Any) -> Iterator[str]:
    from docx.table import Table

    for block in document.iter_inner_content():
        if isinstance(block, Table):
            rows = (" | ".join(cell.text.strip() for cell in row.cells) for row in block.rows)
            text = "\n".join(row for row in rows if row.strip(" |"))
        else:
            text = block.text
        if text.strip():
            yield text
