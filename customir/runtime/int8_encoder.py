"""An INT8 file's encoder by kernels/int8_encoder.cpp, where it was compiled and the processor can.

The file says in its metadata where the kernel finds what it needs
(`customir.exporters.kernel_plan`); the weights are the same that ONNX Runtime multiplies. What they
multiply is rounded token by token, where ONNX Runtime has one scale for a whole batch: so a vector
does not depend on what else is embedded with it, and no token is padding.
"""

import ctypes
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from customir.compiled import load_compiled
from customir.runtime.onnx_file import OnnxFile, Tensor

NOTE = "customir.encoder"  # the key of the plan in a file's metadata
FORMAT = 1  # of plans that are understood here
MULTIPLE = 64  # of which a token's numbers have to be
FARTHEST = 128  # tokens from which on all distances are one to mpnet
STATUS = {
    -1: "this processor can't run it",
    -2: "no memory is left",
    -3: "a token is not in its vocabulary, or a text has no token or too many",
}

Vectors = npt.NDArray[np.float32]

log = logging.getLogger(__name__)


class _Product(ctypes.Structure):
    """This and the next three are as kernels/int8_encoder.cpp has them."""

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
        ("up", ctypes.POINTER(_Product)),
        ("down", ctypes.POINTER(_Product)),
        ("parts", ctypes.c_int64),
        ("after_down", _Norm),
    )


class _Encoder(ctypes.Structure):
    _fields_ = (
        ("words", ctypes.c_void_p),
        ("word_scale", ctypes.c_float),
        ("word_zero", ctypes.c_float),
        ("positions", ctypes.c_void_p),
        ("bias", ctypes.c_void_p),
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
        plan: As `customir.exporters.kernel_plan` writes it.
        tensors: The file's, by name.
        kernel: tiles (AMX) or vnni (AVX512-VNNI); None: the faster one that is there.

    Attributes:
        width: Length of a vector.
        longest: The most tokens that a text may have.
        kernel: The one that is used.

    Raises:
        KeyError: the file lacks a tensor of the plan.
        ValueError: a tensor is not of the type or the shape that its place needs.
        RuntimeError: no such kernel here.
    """

    def __init__(
        self, plan: Mapping[str, Any], tensors: Mapping[str, Tensor], kernel: str | None = None
    ) -> None:
        library = _library()
        self._held: list[object] = []  # what the C++ points to
        words, scale, zero = (tensors[name] for name in plan["words"])
        self.width = words.shape[1]
        named = kernel.encode() if kernel else None
        found = library and library.customir_encoder_kernel(named, self.width // plan["heads"])
        if library is None or not found:
            raise RuntimeError(f"no encoder kernel {kernel or ''} here")
        self.kernel: str = found.decode()
        self._encode = library.customir_encode
        self._pack = library.customir_encoder_pack
        positions = _table(tensors, plan["positions"])[plan["first_position"] :]
        if words.dtype != np.uint8 or positions.shape[1] != self.width or self.width % MULTIPLE:
            raise ValueError(f"tables of {words.dtype} {words.shape} and {positions.shape}")
        if plan["types"]:
            positions += _table(tensors, plan["types"])[0]
        self.longest = len(positions)
        bias = None
        if plan["relative"]:
            bias = self._memory(_by_distance(_table(tensors, plan["relative"]), self.longest))
        inner = len(tensors[plan["layers"][0]["down"]["weights"][0]])
        layers = (_Layer * len(plan["layers"]))(
            *(self._layer(one, tensors, inner) for one in plan["layers"])
        )
        self._struct = _Encoder(
            self._memory(words.copy()),
            float(scale),
            float(zero),
            self._memory(positions),
            bias,
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
        weight, bias = (_sized(tensors[name], self.width) for name in names)
        return _Norm(self._floats(weight), self._floats(bias))

    def _layer(self, plan: Mapping[str, Any], tensors: Mapping[str, Tensor], inner: int) -> _Layer:
        width = self.width
        joint = _matrix(plan["joint"], tensors, width, 3 * width)
        out = _matrix(plan["out"], tensors, width, width)
        up = _matrix(plan["up"], tensors, width, inner)
        down = _matrix(plan["down"], tensors, inner, width)
        step = width if inner % width == 0 else inner
        parts = [slice(start, start + step) for start in range(0, inner, step)]
        return _Layer(
            self._product(joint),
            self._product(out),
            self._norm(plan["after_attention"], tensors),
            self._products([up.columns(one) for one in parts]),
            self._products([down.rows(one) for one in parts]),
            len(parts),
            self._norm(plan["after_down"], tensors),
        )

    def _products(self, matrices: Sequence["_Matrix"]) -> "ctypes.Array[_Product]":
        made = (_Product * len(matrices))(*map(self._product, matrices))
        self._held.append(made)
        return made

    def _product(self, matrix: "_Matrix") -> _Product:
        weights = np.ascontiguousarray(matrix.weights)
        depth, columns = weights.shape
        packed = np.empty(weights.size, np.int8)
        self._pack(weights.ctypes.data, depth, columns, packed.ctypes.data)
        return _Product(
            self._memory(packed),
            self._floats(matrix.scales),
            self._floats(weights.sum(axis=0, dtype=np.int64)),
            self._floats(matrix.bias),
            self._floats(matrix.factors),
            depth,
            columns,
        )


@dataclass(frozen=True)
class _Matrix:
    """Whole numbers (depth, columns), scales and bias of columns, factors of the depth."""

    weights: Tensor
    scales: Tensor
    bias: Tensor
    factors: Tensor

    def columns(self, part: slice) -> "_Matrix":
        return _Matrix(self.weights[:, part], self.scales[part], self.bias[part], self.factors)

    def rows(self, part: slice) -> "_Matrix":
        """Some of what is summed over; the bias goes with the first."""
        bias = np.zeros_like(self.bias) if part.start else self.bias
        return _Matrix(self.weights[part], self.scales, bias, self.factors[part])


def _matrix(
    plan: Mapping[str, Any], tensors: Mapping[str, Tensor], depth: int, columns: int
) -> _Matrix:
    def beside(part: str) -> Tensor:
        return np.concatenate([tensors[name] for name in plan[part]], axis=-1)

    weights = beside("weights")
    if weights.dtype != np.int8 or weights.shape != (depth, columns) or depth % MULTIPLE:
        raise ValueError(f"weights of {weights.dtype} {weights.shape} for ({depth}, {columns})")
    factors = tensors[plan["factors"]] if plan["factors"] else np.ones(len(weights))
    return _Matrix(
        weights,
        _sized(beside("scales"), columns),
        _sized(beside("bias"), columns),
        _sized(factors, depth),
    )


def _sized(numbers: Tensor, length: int) -> Tensor:
    if numbers.shape != (length,):
        raise ValueError(f"{numbers.shape} numbers instead of {length}")
    return numbers


def read_encoder(path: Path) -> Encoder | None:
    """The encoder of an INT8 file; None where only ONNX Runtime can run it, here or at all.

    Raises:
        OSError: the file can't be read.
    """
    if _library() is None:
        return None
    try:
        file = OnnxFile(path)
        plan = json.loads(file.notes.get(NOTE, "{}"))
        return Encoder(plan, file.tensors()) if plan.get("format") == FORMAT else None
    except RuntimeError:  # this processor has no kernel
        return None
    except (ValueError, KeyError, IndexError) as error:
        log.warning("%s: its plan for our kernel is not usable (%r): by ONNX Runtime.", path, error)
        return None


def _table(tensors: Mapping[str, Tensor], names: Sequence[str]) -> Vectors:
    """An embedding table in floats."""
    numbers, scale, zero = (tensors[name] for name in names)
    return np.ascontiguousarray((numbers.astype(np.float32) - np.float32(zero)) * scale)


def _by_distance(values: Vectors, side: int) -> Vectors:
    """What is added to the score of each query and key, (heads, side, side).

    Args:
        values: Of each range of distances, (ranges, heads): of half of them the key comes first, of
            half it comes after. Half of a half are distances of their own, from 0 on; the others
            grow like their logarithm, up to 128 (T5, arXiv 1910.10683, section 2.1).
    """
    places = np.arange(side)
    after = places[None, :] - places[:, None]
    half = len(values) // 2
    alone = half // 2
    distance = np.abs(after)
    share = np.log(np.maximum(distance, 1) / alone) / np.log(FARTHEST / alone)
    far = np.minimum(alone + (share * (half - alone)).astype(np.int64), half - 1)
    ranges = np.where(distance < alone, distance, far) + half * (after > 0)
    return np.ascontiguousarray(values[ranges].transpose(2, 0, 1))


@cache
def _library() -> ctypes.CDLL | None:
    functions = ("customir_encoder_kernel", "customir_encoder_pack", "customir_encode")
    library = load_compiled(Path(__file__).parent, "_int8_encoder", *functions)
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
