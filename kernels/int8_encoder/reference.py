"""The encoder in numpy and, apart from quantisation, float64, which every kernel approximates."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import erf

Numbers = npt.NDArray[Any]
Rounding = Callable[[Numbers], Numbers]


def quantized(numbers: Numbers) -> Numbers:
    """Quantise each row to 8 bits, and dequantise it."""
    least = numbers.min(axis=1, keepdims=True)
    step = (numbers.max(axis=1, keepdims=True) - least) / 255
    rounded: Numbers = np.rint((numbers - least) / step) * step + least
    return rounded


def encode(
    tensors: Mapping[str, Numbers],
    weight_map: Mapping[str, Any],
    ids: Sequence[int],
    attention_rounding: Rounding = lambda numbers: numbers,
    quantize: Rounding = quantized,
) -> Numbers:
    """The unit vector of one text.

    Args:
        tensors, weight_map: As in `binding.Encoder`.
        attention_rounding: Applied to the factors and the result of the attention.
        quantize: Applied to the input of each weight matrix, row by row.
    """

    def table(names: Sequence[str]) -> Numbers:
        whole, scale, zero = (tensors[name].astype(np.float64) for name in names)
        return (whole - zero) * scale

    def linear(names: Mapping[str, Any], numbers: Numbers, parts: int = 1) -> Numbers:
        if names["input_scales"]:
            numbers = numbers * tensors[names["input_scales"]]
        weights, scales, bias = (
            np.concatenate([tensors[name] for name in names[kind]], axis=-1).astype(np.float64)
            for kind in ("weights", "scales", "bias")
        )
        whole = [quantize(one) for one in np.split(numbers, parts, axis=1)]
        return np.concatenate(whole, axis=1) @ (weights * scales) + bias

    def norm(names: Sequence[str], numbers: Numbers) -> Numbers:
        centred = numbers - numbers.mean(axis=1, keepdims=True)
        deviation = np.sqrt((centred**2).mean(axis=1, keepdims=True) + weight_map["epsilon"])
        weight, bias = (tensors[name] for name in names)
        return centred / deviation * weight + bias

    def attention(qkv: Numbers) -> Numbers:
        parts = attention_rounding(qkv).reshape(len(qkv), 3, weight_map["heads"], -1)
        queries, keys, values = parts.transpose(1, 2, 0, 3)
        scores = queries @ keys.transpose(0, 2, 1) / np.sqrt(queries.shape[-1])
        shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
        context = attention_rounding(shares) @ values / shares.sum(axis=-1, keepdims=True)
        return attention_rounding(context).transpose(1, 0, 2).reshape(len(qkv), -1)

    places = np.arange(len(ids)) + weight_map["first_position"]
    numbers = table(weight_map["word_embeddings"])[list(ids)]
    numbers = numbers + table(weight_map["position_embeddings"])[places]
    numbers = norm(
        weight_map["embedding_norm"], numbers + table(weight_map["token_type_embeddings"])[0]
    )
    for layer in weight_map["layers"]:
        context = attention(linear(layer["qkv"], numbers))
        numbers = norm(
            layer["attention_norm"], numbers + linear(layer["attention_output"], context)
        )
        inner = linear(layer["intermediate"], numbers)
        inner *= (1 + erf(inner / np.sqrt(2))) / 2
        parts = inner.shape[1] // numbers.shape[1] if inner.shape[1] % numbers.shape[1] == 0 else 1
        numbers = norm(layer["output_norm"], numbers + linear(layer["output"], inner, parts))
    pooled = numbers[0] if weight_map["pooling"] == "cls" else numbers.mean(axis=0)
    vector: Numbers = pooled / np.linalg.norm(pooled)
    return vector
