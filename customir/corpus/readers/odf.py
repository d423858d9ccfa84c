"""OpenDocument: texts and presentations (.odt, .odp) with lxml, tables (.ods) as spreadsheets."""

from collections.abc import Iterator, Sequence
from io import BytesIO
from typing import Any

from customir.corpus.document import RawDocument
from customir.corpus.readers import spreadsheet
from customir.corpus.readers.archives import open_archive
from customir.corpus.readers.files import Content, ReadError
from customir.corpus.readers.xml import local_name, parse_xml

# Text deleted in tracked changes, comments, and elements that describe the document.
LEFT_OUT = frozenset(("tracked-changes", "annotation", "annotation-end", "forms", "sequence-decls"))
CHARACTERS = {"tab": "\t", "line-break": "\n"}
TEXT = "{urn:oasis:names:tc:opendocument:xmlns:text:1.0}"


def matches_names(names: Sequence[str]) -> bool:
    """Whether a zip file with files of these names is an OpenDocument."""
    return "content.xml" in names and "META-INF/manifest.xml" in names


def read_document(content: Content) -> RawDocument:
    """The headings, paragraphs and tables, in order, with one line per table row.

    Raises:
        ReadError: it is damaged or has no text, or lxml is not installed.
    """
    with open_archive(BytesIO(content.data)) as tree:
        kind = tree.read("mimetype") if "mimetype" in tree.names else b""
        if b"spreadsheet" in kind:
            return spreadsheet.read_document(content)
        body = parse_xml(tree.read("content.xml"), "OpenDocument")
        about = tree.read("meta.xml") if "meta.xml" in tree.names else b""
    text = "\n\n".join(_blocks(body))
    if not text:
        raise ReadError("no text in the OpenDocument")
    title = creator = ""
    for element in parse_xml(about, "OpenDocument").iter() if about else ():
        title = title or (element.text or "" if local_name(element) == "title" else "")
        creator = creator or (
            element.text or "" if local_name(element) == "initial-creator" else ""
        )
    return RawDocument(content.name, title, creator, None, text)


def _blocks(container: Any) -> Iterator[str]:
    for child in container:
        name = local_name(child)
        if name in ("p", "h"):
            yield from filter(None, ["".join(_pieces(child)).strip()])
        elif name == "table":
            rows = (row for row in child.iter() if local_name(row) == "table-row")
            yield from filter(None, ["\n".join(filter(None, map(_row, rows)))])
        elif name == "list":
            items = ("\n".join(_blocks(item)) for item in child)
            yield from filter(None, ["\n".join(f"- {item}" for item in items if item)])
        elif name and name not in LEFT_OUT:
            yield from _blocks(child)


def _row(row: Any) -> str:
    cells = (" ".join(_blocks(cell)) for cell in row if local_name(cell) == "table-cell")
    text = " | ".join(cells)
    return text if text.strip(" |") else ""


def _pieces(element: Any) -> Iterator[str]:
    yield element.text or ""
    for child in element:
        name = local_name(child)
        if name == "s":
            yield " " * min(int(child.get(f"{TEXT}c", "1") or 1), 100)
        elif name in CHARACTERS:
            yield CHARACTERS[name]
        elif name == "note":
            yield f" [{' '.join(_note(child))}]"
        elif name in ("frame", "custom-shape"):
            yield f" {' '.join(_blocks(child))} "
        elif name and name not in LEFT_OUT:
            yield from _pieces(child)
        yield child.tail or ""


def _note(note: Any) -> Iterator[str]:
    for child in note:
        if local_name(child) == "note-body":
            yield from _blocks(child)
