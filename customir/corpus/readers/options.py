"""What the user decides about reading."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class ReadOptions:
    """What the settings say about reading.

    Attributes:
        columns: The names of a table's columns by field (text, title, sender, date, identifier,
            thread), where they are not among the known ones.
        ocr: Whether scanned pages of a PDF are recognised by tesseract.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    ocr: bool = False
