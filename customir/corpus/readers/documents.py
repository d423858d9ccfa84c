"""The formats with one document per file, in the order in which they are tried.

The same readers read files of a source and attachments of mail.
"""

from collections.abc import Sequence
from io import BytesIO
from typing import Protocol

from customir.corpus.document import RawDocument
from customir.corpus.readers import (
    calendar,
    docx,
    epub,
    odf,
    pdf,
    pptx,
    rtf,
    spreadsheet,
    subtitles,
    text,
    web,
)
from customir.corpus.readers.archives import ZIP_MAGIC, open_archive
from customir.corpus.readers.files import HEAD_BYTES, Content


class DocumentReader(Protocol):
    """A reader of a format that is recognised by the first bytes or the name of a file."""

    def matches(self, head: bytes, name: str) -> bool: ...

    def read_document(self, content: Content) -> RawDocument: ...


class ZippedDocumentReader(Protocol):
    """A reader of a format that is a zip file with certain file names in it."""

    def matches_names(self, names: Sequence[str]) -> bool: ...

    def read_document(self, content: Content) -> RawDocument: ...


DOCUMENT_READERS: tuple[DocumentReader, ...] = (
    pdf, rtf, spreadsheet, calendar, subtitles, web, text,
)  # fmt: skip
ZIPPED_DOCUMENT_READERS: tuple[ZippedDocumentReader, ...] = (docx, spreadsheet, pptx, odf, epub)


def document_reader(head: bytes, name: str) -> DocumentReader | None:
    """The reader of a file that begins with `head`; `name` is in lower case."""
    return next((each for each in DOCUMENT_READERS if each.matches(head, name)), None)


def zipped_document_reader(names: Sequence[str]) -> ZippedDocumentReader | None:
    """The reader of a zip file with files of these names."""
    return next((each for each in ZIPPED_DOCUMENT_READERS if each.matches_names(names)), None)


def read_as_document(content: Content, name: str) -> RawDocument | None:
    """A file in memory as a document; None if it has none of these formats.

    Args:
        name: A file name in lower case.

    Raises:
        ReadError: it is damaged, or the library that reads it is not installed.
    """
    if content.data.startswith(ZIP_MAGIC):
        with open_archive(BytesIO(content.data)) as tree:
            zipped = zipped_document_reader(tree.names)
        return zipped.read_document(content) if zipped else None
    reader = document_reader(content.data[:HEAD_BYTES], name)
    return reader.read_document(content) if reader else None
