"""Spreadsheets (.xlsx, .xls, .xlsb, .ods), read with calamine: one document per file."""

from collections.abc import Iterator, Sequence
from io import BytesIO
from typing import Any

from customir.corpus.document import RawDocument
from customir.corpus.readers.files import Content, ReadError, reading

OLE_MAGIC = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
MAXIMUM_CHARACTERS = 16_000_000


def matches(head: bytes, name: str) -> bool:
    """Whether a file that begins with `head` is an .xls; its name distinguishes it from a .doc."""
    return head.startswith(OLE_MAGIC) and name.endswith((".xls", ".xlt"))


def matches_names(names: Sequence[str]) -> bool:
    """Whether a zip file with files of these names is an .xlsx or .xlsb."""
    return "xl/workbook.xml" in names or "xl/workbook.bin" in names


def read_document(content: Content) -> RawDocument:
    """The sheets, each below its name, with one line per row.

    Raises:
        ReadError: it is damaged, encrypted, empty or too large, or python-calamine is not installed.
    """
    sheets: list[str] = []
    size = 0
    with reading("spreadsheet"):
        from python_calamine import CalamineWorkbook

        workbook = CalamineWorkbook.from_filelike(BytesIO(content.data))
        for name in workbook.sheet_names:
            text = "\n".join(_rows(workbook.get_sheet_by_name(name).to_python()))
            size += len(text)
            if size > MAXIMUM_CHARACTERS:
                raise ReadError(f"more than {MAXIMUM_CHARACTERS:,} characters in the spreadsheet")
            if text:
                sheets.append(f"{name}\n{text}")
    if not sheets:
        raise ReadError("no text in the spreadsheet")
    return RawDocument(content.name, "", "", None, "\n\n".join(sheets))


def _rows(rows: Sequence[Sequence[Any]]) -> Iterator[str]:
    for row in rows:
        text = " | ".join(map(_shown, row)).strip(" |")
        if text:
            yield text


def _shown(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return " ".join(str(value).split())
