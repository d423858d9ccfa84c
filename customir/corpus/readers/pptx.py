"""PowerPoint's .pptx, read with python-pptx: one document per file."""

from collections.abc import Iterator, Sequence
from io import BytesIO
from typing import Any

from customir.corpus.document import RawDocument
from customir.corpus.readers.files import Content, ReadError, reading


def matches_names(names: Sequence[str]) -> bool:
    """Whether a zip file with files of these names is a .pptx."""
    return "ppt/presentation.xml" in names


def read_document(content: Content) -> RawDocument:
    """The slides in order, each with its text and then its notes.

    Raises:
        ReadError: it is damaged or has no text, or python-pptx is not installed.
    """
    with reading(".pptx"):
        import pptx

        presentation = pptx.Presentation(BytesIO(content.data))
        slides = ["\n".join(_lines(slide)) for slide in presentation.slides]
        properties = presentation.core_properties
        title, author = properties.title or "", properties.author or ""
    text = "\n\n".join(filter(None, slides))
    if not text:
        raise ReadError("no text in the .pptx")
    return RawDocument(content.name, title, author, None, text)


def _lines(slide: Any) -> Iterator[str]:
    for shape in slide.shapes:
        yield from _shape(shape)
    if slide.has_notes_slide:
        frame = slide.notes_slide.notes_text_frame
        if frame is not None and frame.text.strip():
            yield frame.text.strip()


def _shape(shape: Any) -> Iterator[str]:
    if hasattr(shape, "shapes"):
        for each in shape.shapes:
            yield from _shape(each)
    elif getattr(shape, "has_table", False):
        for row in shape.table.rows:
            cells = [" ".join(cell.text.split()) for cell in row.cells if not cell.is_spanned]
            yield from filter(None, [" | ".join(cells).strip(" |")])
    elif shape.has_text_frame and shape.text_frame.text.strip():
        yield shape.text_frame.text.replace("\v", "\n").strip()
