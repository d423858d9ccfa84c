"""The Python interface of int8_encoder.cpp.

The library is compiled when the package is installed, if there is a C++ compiler. Without the
library, or if no kernel supports the processor, ONNX Runtime embeds.
"""

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..native import load_library

METADATA_KEY = "customir.encoder"  # of the weight map in the metadata of an ONNX file
FORMAT = 2  # of the weight maps that `Encoder` reads
MULTIPLE = 64  # the widths of a token and of a feed-forward block have to be multiples of it
DISTANCES = 128  # MPNet treats all distances from here on as equal
# From the fastest to the slowest, for x86 and then for arm64.
KERNELS = ("amx", "avx512_vnni", "avx_vnni", "avx2", "neon_i8mm", "neon_dotprod")
STATUS = {
    -1: "this processor cannot run it",
    -2: "memory ran out",
    -3: "a token is not in its vocabulary, or a text has no token or too many",
}

Tensor = npt.NDArray[Any]
Vectors = npt.NDArray[np.float32]


class _Matrix(ctypes.Structure):
    """This struct and the next three have the layout of those in encoder.hpp."""

    _fields_ = (
        ("weights", ctypes.c_void_p),
        ("scales", ctypes.c_void_p),
        ("sums", ctypes.c_void_p),
        ("bias", ctypes.c_void_p),
        ("input_scales", ctypes.c_void_p),
        ("depth", ctypes.c_int64),
        ("columns", ctypes.c_int64),
    )


class _LayerNorm(ctypes.Structure):
    _fields_ = (("weight", ctypes.c_void_p), ("bias", ctypes.c_void_p))


class _Layer(ctypes.Structure):
    _fields_ = (
        ("qkv", _Matrix),
        ("attention_output", _Matrix),
        ("attention_norm", _LayerNorm),
        ("intermediate", ctypes.POINTER(_Matrix)),
        ("output", ctypes.POINTER(_Matrix)),
        ("parts", ctypes.c_int64),
        ("output_norm", _LayerNorm),
    )


class _Encoder(ctypes.Structure):
    _fields_ = (
        ("word_embeddings", ctypes.c_void_p),
        ("word_scale", ctypes.c_float),
        ("word_zero", ctypes.c_float),
        ("positions", ctypes.c_void_p),
        ("bias", ctypes.c_void_p),
        ("embedding_norm", _LayerNorm),
        ("layers", ctypes.POINTER(_Layer)),
        ("vocabulary", ctypes.c_int64),
        ("max_tokens", ctypes.c_int64),
        ("width", ctypes.c_int64),
        ("heads", ctypes.c_int64),
        ("layer_count", ctypes.c_int64),
        ("epsilon", ctypes.c_float),
        ("cls_pooling", ctypes.c_int32),
    )


def is_compiled() -> bool:
    """Whether the library was compiled."""
    return _library() is not None


def has_kernel(name: str | None = None, head_width: int = 32) -> bool:
    """Whether this processor can run a kernel with attention heads of this width.

    Args:
        name: One of `KERNELS`, or None for any.
    """
    library = _library()
    encoded = name.encode() if name else None
    return bool(library and library.customir_int8_encoder_kernel(encoded, head_width))


class Encoder:
    """Encodes token ids to unit vectors. Several threads may use it at the same time.

    Args:
        weight_map: The role of each tensor, as written by `customir.exporters.weight_map`.
        tensors: The tensors of the file, by name.
        kernel: One of `KERNELS`, or None for the fastest one that this processor can run.

    Attributes:
        width: Length of a vector.
        max_tokens: The maximum number of tokens in a text.
        kernel: The kernel that is used.

    Raises:
        KeyError: a tensor of the weight map is missing.
        ValueError: a tensor has the wrong type or shape for its role.
        RuntimeError: the library was not compiled, or this processor cannot run the kernel.
    """

    def __init__(
        self,
        weight_map: Mapping[str, Any],
        tensors: Mapping[str, Tensor],
        kernel: str | None = None,
    ) -> None:
        library = _library()
        self._arrays: list[object] = []  # kept alive, because C++ has their addresses
        words, scale, zero = (tensors[name] for name in weight_map["word_embeddings"])
        self.width, heads = words.shape[1], weight_map["heads"]
        if not isinstance(heads, int) or heads < 1 or self.width % heads:
            raise ValueError(f"{heads} heads for a width of {self.width}")
        self._head_width = self.width // heads
        named = kernel.encode() if kernel else None
        found = library and library.customir_int8_encoder_kernel(named, self._head_width)
        if library is None or not found:
            raise RuntimeError(f"no INT8 encoder kernel {kernel or ''} here")
        self.kernel: str = found.decode()
        self._encode = library.customir_int8_encode
        self._packed_size = library.customir_int8_encoder_packed_size
        self._pack = library.customir_int8_encoder_pack
        positions = _table(tensors, weight_map["position_embeddings"])
        positions = positions[weight_map["first_position"] :]
        shaped = words.ndim == positions.ndim == 2 and positions.shape[1] == self.width
        if words.dtype != np.uint8 or not shaped or self.width % MULTIPLE:
            raise ValueError(
                f"embedding tables of {words.dtype} {words.shape} and {positions.shape}"
            )
        if weight_map["token_type_embeddings"]:
            positions += _table(tensors, weight_map["token_type_embeddings"])[0]
        self.max_tokens = len(positions)
        bias = None
        if weight_map["relative_attention_bias"]:
            buckets = _table(tensors, weight_map["relative_attention_bias"])
            if buckets.ndim != 2 or buckets.shape[1] != heads:
                raise ValueError(f"a relative bias of {buckets.shape} for {heads} heads")
            bias = self._address(relative_bias(buckets, self.max_tokens))
        inner = len(tensors[weight_map["layers"][0]["output"]["weights"][0]])
        layers = (_Layer * len(weight_map["layers"]))(
            *(self._layer(one, tensors, inner) for one in weight_map["layers"])
        )
        self._struct = _Encoder(
            self._address(words.copy()),
            float(scale),
            float(zero),
            self._address(positions),
            bias,
            self._norm(weight_map["embedding_norm"], tensors),
            layers,
            len(words),
            self.max_tokens,
            self.width,
            heads,
            len(layers),
            weight_map["epsilon"],
            weight_map["pooling"] == "cls",
        )

    def encode(self, tokens: Sequence[Sequence[int]]) -> Vectors:
        """Encode texts.

        Args:
            tokens: The token ids of each text, at least one per text.

        Returns:
            The vectors, float32 of shape (texts, width), each of length 1. A vector does not depend
            on the other texts.

        Raises:
            RuntimeError: an id is not in the vocabulary, a text has no token or more than
                `max_tokens`, or memory ran out.
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
            raise RuntimeError(f"the INT8 encoder failed: {STATUS[status]}")
        return vectors

    def _address(self, numbers: Tensor) -> int:
        self._arrays.append(numbers)
        return numbers.ctypes.data

    def _floats(self, numbers: Tensor) -> int:
        return self._address(np.array(numbers, np.float32, order="C"))

    def _norm(self, names: Sequence[str], tensors: Mapping[str, Tensor]) -> _LayerNorm:
        weight, bias = (_sized(tensors[name], self.width) for name in names)
        return _LayerNorm(self._floats(weight), self._floats(bias))

    def _layer(self, names: Mapping[str, Any], tensors: Mapping[str, Tensor], inner: int) -> _Layer:
        width = self.width
        qkv = _read_linear(names["qkv"], tensors, width, 3 * width)
        attention_output = _read_linear(names["attention_output"], tensors, width, width)
        intermediate = _read_linear(names["intermediate"], tensors, width, inner)
        output = _read_linear(names["output"], tensors, inner, width)
        step = width if inner % width == 0 else inner
        parts = [slice(start, start + step) for start in range(0, inner, step)]
        return _Layer(
            self._matrix(qkv),
            self._matrix(attention_output),
            self._norm(names["attention_norm"], tensors),
            self._matrices([intermediate.columns(one) for one in parts]),
            self._matrices([output.rows(one) for one in parts]),
            len(parts),
            self._norm(names["output_norm"], tensors),
        )

    def _matrices(self, linears: "Sequence[_Linear]") -> "ctypes.Array[_Matrix]":
        matrices = (_Matrix * len(linears))(*map(self._matrix, linears))
        self._arrays.append(matrices)
        return matrices

    def _matrix(self, linear: "_Linear") -> _Matrix:
        weights = np.ascontiguousarray(linear.weights)
        depth, columns = weights.shape
        layout = (self.kernel.encode(), self._head_width, weights.ctypes.data, depth, columns)
        packed = np.empty(self._packed_size(*layout), np.int8)
        self._pack(*layout, packed.ctypes.data)
        return _Matrix(
            self._address(packed),
            self._floats(linear.scales),
            self._floats(weights.sum(axis=0, dtype=np.int64)),
            self._floats(linear.bias),
            self._floats(linear.input_scales),
            depth,
            columns,
        )


@dataclass(frozen=True)
class _Linear:
    """A quantised linear layer.

    Attributes:
        weights: int8 (depth, columns).
        scales: The scales of the columns, (columns,).
        bias: (columns,).
        input_scales: The input is multiplied by these before it is quantised, (depth,).
    """

    weights: Tensor
    scales: Tensor
    bias: Tensor
    input_scales: Tensor

    def columns(self, part: slice) -> "_Linear":
        """The part of the layer that computes some of the outputs."""
        return _Linear(self.weights[:, part], self.scales[part], self.bias[part], self.input_scales)

    def rows(self, part: slice) -> "_Linear":
        """The part of the layer that reads some of the inputs; the first part has the bias."""
        bias = np.zeros_like(self.bias) if part.start else self.bias
        return _Linear(self.weights[part], self.scales, bias, self.input_scales[part])


def _read_linear(
    names: Mapping[str, Any], tensors: Mapping[str, Tensor], depth: int, columns: int
) -> _Linear:
    def joined(part: str) -> Tensor:
        return np.concatenate([tensors[name] for name in names[part]], axis=-1)

    weights = joined("weights")
    if weights.dtype != np.int8 or weights.shape != (depth, columns) or depth % MULTIPLE:
        raise ValueError(f"weights of {weights.dtype} {weights.shape} for ({depth}, {columns})")
    input_scales = tensors[names["input_scales"]] if names["input_scales"] else np.ones(depth)
    return _Linear(
        weights,
        _sized(joined("scales"), columns),
        _sized(joined("bias"), columns),
        _sized(input_scales, depth),
    )


def _sized(numbers: Tensor, length: int) -> Tensor:
    if numbers.shape != (length,):
        raise ValueError(f"{numbers.shape} numbers instead of {length}")
    return numbers


def _table(tensors: Mapping[str, Tensor], names: Sequence[str]) -> Vectors:
    """Dequantise an embedding table to float32."""
    numbers, scale, zero = (tensors[name] for name in names)
    return np.ascontiguousarray((numbers.astype(np.float32) - np.float32(zero)) * scale)


def relative_bias(buckets: Vectors, tokens: int) -> Vectors:
    """The bias that MPNet adds to each attention score, shape (heads, tokens, tokens).

    Args:
        buckets: The bias of each bucket of distances, (buckets, heads). In the first half of the
            buckets the key is before the query, in the second half after it. Half of each half are
            the distances 0, 1, 2, ...; the other buckets widen logarithmically up to a distance of
            128 (T5, arXiv 1910.10683, section 2.1).
    """
    places = np.arange(tokens)
    offset = places[None, :] - places[:, None]
    half = len(buckets) // 2
    exact = half // 2
    distance = np.abs(offset)
    share = np.log(np.maximum(distance, 1) / exact) / np.log(DISTANCES / exact)
    far = np.minimum(exact + (share * (half - exact)).astype(np.int64), half - 1)
    bucket = np.where(distance < exact, distance, far) + half * (offset > 0)
    return np.ascontiguousarray(buckets[bucket].transpose(2, 0, 1))


@cache
def _library() -> ctypes.CDLL | None:
    library = load_library(Path(__file__).parent, "_int8_encoder")
    if library is None:
        return None
    pointer, size, name = ctypes.c_void_p, ctypes.c_int64, ctypes.c_char_p
    library.customir_int8_encoder_kernel.argtypes = [name, size]
    library.customir_int8_encoder_kernel.restype = name
    library.customir_int8_encoder_packed_size.argtypes = [name, size, pointer, size, size]
    library.customir_int8_encoder_packed_size.restype = size
    library.customir_int8_encoder_pack.argtypes = [name, size, pointer, size, size, pointer]
    library.customir_int8_encoder_pack.restype = None
    library.customir_int8_encode.argtypes = [pointer, name, pointer, pointer, size, pointer]
    library.customir_int8_encode.restype = ctypes.c_int32
    return library
