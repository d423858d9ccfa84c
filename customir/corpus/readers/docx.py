"""Word's .docx, by python-docx: one file, one document."""

from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from customir.corpus.document import RawDocument, Unreadable
from customir.corpus.readers.streams import whole
from customir.corpus.readers.trees import TreeError, check_zip


def matches(names: Sequence[str]) -> bool:
    """Whether a zip file with files of these names is a .docx."""
    return "word/document.xml" in names


def count(path: Path) -> int:
    """How many items `read` gives."""
    return 1


def read(path: Path, name: str) -> Iterator[RawDocument | Unreadable]:
    """The paragraphs and tables, in order; cells of a row on one line."""
    content = whole(path)
    yield Unreadable(name, content) if isinstance(content, str) else read_bytes(content, name)


def read_bytes(content: bytes, name: str) -> RawDocument | Unreadable:
    """The same of a file in memory."""
    try:
        import docx
    except ImportError:
        return Unreadable(name, 'no reader for .docx: pip install "customir[formats]"')
    try:
        check_zip(content)
        document = docx.Document(BytesIO(content))
        text = "\n\n".join(_blocks(document))
        properties = document.core_properties
        title, author = properties.title or "", properties.author or ""
    except TreeError as error:
        return Unreadable(name, str(error))
    except Exception as error:  # lxml, zipfile and python-docx each have their own
        return Unreadable(name, f"not readable as .docx: {type(error).__name__}: {error}")
    return RawDocument(name, title, author, None, text) if text else Unreadable(name, "no text")


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
