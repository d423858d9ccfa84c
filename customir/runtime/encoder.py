"""An INT8 file's encoder by kernels/encoder.cpp, where that was compiled and the processor can run it.

The file says in its metadata where the kernel finds what it needs (`customir.exporters.plan`); the
weights are the same that ONNX Runtime multiplies. What they multiply is rounded token by token, where
ONNX Runtime has one scale for a whole batch: so a vector does not depend on what else is embedded
with it, and no token is padding.
"""

import ctypes
import json
import logging
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from customir.compiled import load_compiled
from customir.runtime.onnx_file import OnnxFile, Tensor

NOTE = "customir.encoder"  # the key of the plan in a file's metadata
FORMAT = 1  # of plans that are understood here
STATUS = {
    -1: "this processor can't run it",
    -2: "no memory is left",
    -3: "a token is not in its vocabulary, or a text has no token or too many",
}

Vectors = npt.NDArray[np.float32]

log = logging.getLogger(__name__)


class _Product(ctypes.Structure):
    """This and the next three are as kernels/encoder.cpp has them."""

    _fields_ = (
        ("weights", ctypes.c_void_p),
        ("scales", ctypes.c_void_p),
        ("sums", ctypes.c_void_p),
        ("bias", ctypes.c_void_p),
        ("factors", ctypes.c_void_p),
        ("depth", ctypes.c_int64),
        ("columns", ctypes.c_int64),
    )


class _Norm(ctypes.Structure):
    _fields_ = (("weight", ctypes.c_void_p), ("bias", ctypes.c_void_p))


class _Layer(ctypes.Structure):
    _fields_ = (
        ("joint", _Product),
        ("out", _Product),
        ("after_attention", _Norm),
        ("up", _Product),
        ("down", _Product),
        ("after_down", _Norm),
    )


class _Encoder(ctypes.Structure):
    _fields_ = (
        ("words", ctypes.c_void_p),
        ("word_scale", ctypes.c_float),
        ("word_zero", ctypes.c_float),
        ("positions", ctypes.c_void_p),
        ("norm", _Norm),
        ("layers", ctypes.POINTER(_Layer)),
        ("vocabulary", ctypes.c_int64),
        ("longest", ctypes.c_int64),
        ("width", ctypes.c_int64),
        ("heads", ctypes.c_int64),
        ("depth", ctypes.c_int64),
        ("epsilon", ctypes.c_float),
        ("first_alone", ctypes.c_int32),
    )


class Encoder:
    """From token ids to unit vectors. May be used by several threads at a time.

    Args:
        plan: As `customir.exporters.plan` writes it.
        tensors: The file's, by name.
        kernel: tiles (AMX) or vnni (AVX512-VNNI); None: the faster one that is there.

    Attributes:
        width: Length of a vector.
        longest: The most tokens that a text may have.
        kernel: The one that is used.

    Raises:
        KeyError: the file lacks a tensor of the plan.
        RuntimeError: no such kernel here.
    """

    def __init__(
        self, plan: Mapping[str, Any], tensors: Mapping[str, Tensor], kernel: str | None = None
    ) -> None:
        library = _library()
        self._held: list[Tensor] = []  # what the C++ points to
        words, scale, zero = (tensors[name] for name in plan["words"])
        self.width = words.shape[1]
        named = kernel.encode() if kernel else None
        found = library and library.customir_encoder_kernel(named, self.width // plan["heads"])
        if library is None or not found:
            raise RuntimeError(f"no encoder kernel {kernel or ''} here")
        self.kernel: str = found.decode()
        self._encode = library.customir_encode
        self._pack = library.customir_encoder_pack
        positions = _table(tensors, plan["positions"]) + _table(tensors, plan["types"])[0]
        positions = positions[plan["first_position"] :]
        self.longest = len(positions)
        layers = (_Layer * len(plan["layers"]))(
            *(self._layer(one, tensors) for one in plan["layers"])
        )
        self._struct = _Encoder(
            self._memory(words.copy()),
            float(scale),
            float(zero),
            self._memory(positions),
            self._norm(plan["norm"], tensors),
            layers,
            len(words),
            self.longest,
            self.width,
            plan["heads"],
            len(layers),
            plan["epsilon"],
            plan["pooling"] == "cls",
        )

    def encode(self, tokens: Sequence[Sequence[int]]) -> Vectors:
        """The vectors of some texts.

        Args:
            tokens: The ids of each text, at least one.

        Returns:
            float32 of shape (texts, width), each row of length 1.

        Raises:
            RuntimeError: an id is out of the vocabulary, a text has no token or more than
                `longest`, or memory ran out.
        """
        lengths = np.array([len(ids) for ids in tokens], np.int64)
        ids = np.fromiter((one for text in tokens for one in text), np.int32, int(lengths.sum()))
        vectors = np.empty((len(tokens), self.width), np.float32)
        status = self._encode(
            ctypes.byref(self._struct),
            self.kernel.encode(),
            ids.ctypes.data,
            lengths.ctypes.data,
            len(tokens),
            vectors.ctypes.data,
        )
        if status:
            raise RuntimeError(f"the encoder's kernel failed: {STATUS[status]}")
        return vectors

    def _memory(self, numbers: Tensor) -> int:
        self._held.append(numbers)
        return numbers.ctypes.data

    def _floats(self, numbers: Tensor) -> int:
        return self._memory(np.array(numbers, np.float32, order="C"))

    def _norm(self, names: Sequence[str], tensors: Mapping[str, Tensor]) -> _Norm:
        return _Norm(*(self._floats(tensors[name]) for name in names))

    def _layer(self, plan: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> _Layer:
        def product(part: str) -> _Product:
            return self._product(plan[part], tensors)

        def norm(part: str) -> _Norm:
            return self._norm(plan[part], tensors)

        return _Layer(
            product("joint"),
            product("out"),
            norm("after_attention"),
            product("up"),
            product("down"),
            norm("after_down"),
        )

    def _product(self, plan: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> _Product:
        def beside(part: str) -> Tensor:
            return np.concatenate([tensors[name] for name in plan[part]], axis=-1)

        weights = np.ascontiguousarray(beside("weights"))
        depth, columns = weights.shape
        packed = np.empty(weights.size, np.int8)
        self._pack(weights.ctypes.data, depth, columns, packed.ctypes.data)
        factors = tensors[plan["factors"]] if plan["factors"] else np.ones(depth)
        return _Product(
            self._memory(packed),
            self._floats(beside("scales")),
            self._floats(weights.sum(axis=0, dtype=np.int64)),
            self._floats(beside("bias")),
            self._floats(factors),
            depth,
            columns,
        )


def read_encoder(path: Path) -> Encoder | None:
    """The encoder of an INT8 file; None where only ONNX Runtime can run it, here or at all.

    Raises:
        OSError: the file can't be read.
    """
    library = _library()
    if library is None:
        return None
    try:
        file = OnnxFile(path)
        plan = json.loads(file.notes.get(NOTE, "{}"))
        if plan.get("format") != FORMAT:
            return None
        tensors = file.tensors()
        width = tensors[plan["words"][0]].shape[1] // plan["heads"]
        return Encoder(plan, tensors) if library.customir_encoder_kernel(None, width) else None
    except (ValueError, KeyError, IndexError) as error:
        log.warning("%s: its plan for our kernel is not usable (%r): by ONNX Runtime.", path, error)
        return None


def _table(tensors: Mapping[str, Tensor], names: Sequence[str]) -> Vectors:
    """An embedding table in floats."""
    numbers, scale, zero = (tensors[name] for name in names)
    return np.ascontiguousarray((numbers.astype(np.float32) - np.float32(zero)) * scale)


@cache
def _library() -> ctypes.CDLL | None:
    functions = ("customir_encoder_kernel", "customir_encoder_pack", "customir_encode")
    library = load_compiled(Path(__file__).parent, "_encoder", *functions)
    if library is None:
        return None
    pointer, size, name = ctypes.c_void_p, ctypes.c_int64, ctypes.c_char_p
    library.customir_encoder_kernel.argtypes = [name, size]
    library.customir_encoder_kernel.restype = name
    library.customir_encoder_pack.argtypes = [pointer, size, size, pointer]
    library.customir_encoder_pack.restype = None
    library.customir_encode.argtypes = [pointer, name, pointer, pointer, size, pointer]
    library.customir_encode.restype = ctypes.c_int32
    return library
