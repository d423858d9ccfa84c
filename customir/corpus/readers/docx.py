"""Word's .docx: opened with python-docx, and converted to text by rules of our own.

The text that python-docx returns lacks tracked insertions, content controls, text boxes, notes and
nested tables, and repeats merged cells.
"""

from collections.abc import Iterator, Sequence
from io import BytesIO
from typing import Any

from customir.corpus.document import RawDocument
from customir.corpus.readers.files import Content, ReadError, reading
from customir.corpus.readers.xml import local_name, parse_xml

W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
NOTES = (("footnotes", "footnoteReference"), ("endnotes", "endnoteReference"))
# Deleted or moved text, field codes, and the copy of a text box for older programs.
LEFT_OUT = frozenset(
    ("del", "moveFrom", "delText", "instrText", "Fallback", "pPr", "rPr", "sectPr")
)
CHARACTERS = {"tab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-", "ptab": "\t"}


def matches_names(names: Sequence[str]) -> bool:
    """Whether a zip file with files of these names is a .docx."""
    return "word/document.xml" in names


def read_document(content: Content) -> RawDocument:
    """The paragraphs, tables, text boxes and notes, in order, with one line per table row.

    Raises:
        ReadError: it is damaged or has no text, or python-docx is not installed.
    """
    with reading(".docx"):
        import docx

        document = docx.Document(BytesIO(content.data))
        text = "\n\n".join(_Walk(_notes(document.part)).blocks(document.element.body))
        properties = document.core_properties
        title, author = properties.title or "", properties.author or ""
    if not text:
        raise ReadError("no text in the .docx")
    return RawDocument(content.name, title, author, None, text)


def _notes(part: Any) -> dict[tuple[str, str], Any]:
    """Footnotes and endnotes by the tag and number of their references."""
    notes: dict[tuple[str, str], Any] = {}
    for relation in part.rels.values():
        for kind, reference in NOTES:
            if not relation.is_external and relation.reltype.endswith(f"/{kind}"):
                root = parse_xml(relation.target_part.blob, ".docx")
                for note in root:
                    notes[reference, note.get(f"{W}id", "")] = note
    return notes


class _Walk:
    """Walks through the elements in reading order."""

    def __init__(self, notes: dict[tuple[str, str], Any]) -> None:
        self._notes = notes
        # The text boxes and notes of a paragraph, which are put below it.
        self._below: list[str] = []

    def blocks(self, container: Any) -> Iterator[str]:
        """The texts of paragraphs and tables in an element."""
        for child in container:
            name = local_name(child)
            if name == "p":
                text = "".join(self._pieces(child)).strip()
                below, self._below = self._below, []
                yield from filter(None, [text, *below])
            elif name == "tbl":
                rows = filter(None, map(self._row, self._in(child, "tr")))
                yield from filter(None, ["\n".join(rows)])
            elif name not in LEFT_OUT:
                yield from self.blocks(child)

    def _row(self, row: Any) -> str:
        cells = (
            " ".join(self.blocks(cell)) for cell in self._in(row, "tc") if not _is_merged(cell)
        )
        text = " | ".join(cells)
        return text if text.strip(" |") else ""

    def _in(self, element: Any, wanted: str) -> Iterator[Any]:
        """The rows or cells of an element, including those in a content control or insertion."""
        for child in element:
            name = local_name(child)
            if name == wanted:
                yield child
            elif name not in LEFT_OUT and name not in ("tblPr", "tblGrid", "trPr", "p"):
                yield from self._in(child, wanted)

    def _pieces(self, element: Any) -> Iterator[str]:
        """The pieces of text in a paragraph."""
        for child in element:
            name = local_name(child)
            if name == "t":
                yield child.text or ""
            elif name in CHARACTERS:
                yield CHARACTERS[name]
            elif name == "txbxContent":
                outside, self._below = self._below, []
                outside += self.blocks(child)
                self._below = outside + self._below
            elif (key := (name, child.get(f"{W}id", ""))) in self._notes:
                note = self._notes[key]
                yield f"[{key[1]}]"
                outside, self._below = self._below, []
                outside.append(f"[{key[1]}] {' '.join(self.blocks(note))}")
                self._below = outside
            elif name not in LEFT_OUT:
                yield from self._pieces(child)


def _is_merged(cell: Any) -> bool:
    """Whether a cell continues the one above it."""
    merge = cell.find(f"{W}tcPr/{W}vMerge")
    return merge is not None and merge.get(f"{W}val", "continue") == "continue"
