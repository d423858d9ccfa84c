"""The user's options for reading."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class ReadOptions:
    """The settings for reading.

    Attributes:
        columns: The names of a table's columns by field (text, title, sender, date, identifier,
            thread), for columns without a known name.
        ocr: Whether tesseract recognises scanned pages of a PDF.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    ocr: bool = False
