"""Reads weights and metadata of an ONNX file without the onnx package, which servers do not install."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Tensor = npt.NDArray[Any]

# Numbers of fields, wire types and data types are those of onnx.proto.
GRAPH, NOTES = 7, 14
INITIALIZERS = 5
DIMENSIONS, DATA_TYPE, NAME, RAW = 1, 2, 8, 9
KEY, VALUE = 1, 2
VARINT, EIGHT_BYTES, DELIMITED, FOUR_BYTES = 0, 1, 2, 5
VARINT_BITS = 64  # the most that a number may have
TYPES: dict[int, type[np.generic]] = {1: np.float32, 2: np.uint8, 3: np.int8}


class OnnxFile:
    """An ONNX file that was read whole.

    Attributes:
        notes: The file's metadata, by key.

    Raises:
        ValueError: it is not an ONNX file.
    """

    def __init__(self, path: Path) -> None:
        self._graph = memoryview(b"")
        self.notes: dict[str, str] = {}
        for number, value in _fields(memoryview(path.read_bytes())):
            if number == GRAPH:
                self._graph = _message(value)
            elif number == NOTES:
                note = dict(_fields(_message(value)))
                self.notes[_text(note.get(KEY))] = _text(note.get(VALUE, memoryview(b"")))

    def tensors(self) -> dict[str, Tensor]:
        """The initializers of float32, uint8 or int8 whose numbers are raw bytes, by name, read-only."""
        found = {}
        for number, value in _fields(self._graph):
            if number == INITIALIZERS:
                fields = list(_fields(_message(value)))
                one = dict(fields)
                shape = [size for field, size in fields if field == DIMENSIONS]
                if RAW in one and one.get(DATA_TYPE) in TYPES:
                    numbers = np.frombuffer(_message(one[RAW]), TYPES[one[DATA_TYPE]])
                    found[_text(one.get(NAME))] = numbers.reshape(shape)
        return found


def _fields(message: memoryview) -> Iterator[tuple[int, Any]]:
    """Number and value of each field of a protobuf message: an int, or what it is made of."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, kind = key >> 3, key & 7
        if kind == VARINT:
            value, at = _varint(message, at)
            yield number, value
            continue
        if kind == DELIMITED:
            size, at = _varint(message, at)
        elif kind in (EIGHT_BYTES, FOUR_BYTES):
            size = 8 if kind == EIGHT_BYTES else 4
        else:
            raise ValueError(f"no field of wire type {kind} is known")
        if at + size > len(message):
            raise ValueError("it ends in the middle")
        yield number, message[at : at + size]
        at += size


def _message(value: Any) -> memoryview:
    """A field's value, which has to be a message or bytes."""
    if not isinstance(value, memoryview):
        raise ValueError("a field is not what onnx.proto says")
    return value


def _text(value: Any) -> str:
    return bytes(_message(value)).decode()


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """A number in 7 bits of each byte, the lowest first, and the position after it."""
    value = shift = 0
    while True:
        if at >= len(message) or shift >= VARINT_BITS:
            raise ValueError("it ends in the middle of a number, or the number has no end")
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
