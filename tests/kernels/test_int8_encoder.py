"""The INT8 encoder's kernels against the same arithmetic in numpy, and against ONNX Runtime."""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from arm64 import on_arm64, run_on_arm64
from customir.exporters.int8 import quantize
from customir.exporters.onnx import export_onnx
from customir.exporters.parity import HeldOut, compare
from scipy.special import erf
from transformers.models.mpnet.modeling_mpnet import MPNetEncoder

from customir.runtime import int8_encoder
from customir.runtime.int8_encoder import NOTE, Encoder, read_encoder
from customir.runtime.onnx_file import OnnxFile

Rounding = Callable[[np.ndarray], np.ndarray]

INT8 = "onnx/model_qint8.onnx"
TEXTS = (
    "Budget meeting moved to Thursday",
    "Hi Anna,\nthe quarterly numbers are attached. Please check the gas volumes before noon.\nBob",
    "Server outage report: " + "the mail queue was full and deliveries were delayed. " * 12,
    "How do I fit a mixed model with spatially correlated errors in R?",
)
LENGTHS = (1, 2, 15, 16, 17, 31, 32, 33, 64, 65, 256)

NO_KERNEL = """
#include <cstring>
int main() {
  int8_t weights[64 * 32], packed[64 * 32];
  for (int i = 0; i < 64 * 32; ++i) weights[i] = int8_t(i % 127);
  customir_encoder_pack(weights, 64, 32, packed);
  if (packed[0] != weights[0] || packed[1] != weights[32] || packed[4] != weights[1]) return 1;
  if (customir_encoder_kernel(nullptr, 32)) return 2;
  Encoder nothing{};
  nothing.heads = 1;
  return customir_encode(&nothing, nullptr, nullptr, nullptr, 0, nullptr) == -1 ? 0 : 3;
}
"""


def has(kernel: str) -> bool:
    library = int8_encoder._library()
    return bool(library and library.customir_encoder_kernel(kernel.encode(), 32))


def kernels() -> list[Any]:
    reason = "this processor has no such instructions, or no kernel was compiled"
    return [
        pytest.param(name, marks=pytest.mark.skipif(not has(name), reason=reason))
        for name in ("vnni", "tiles")
    ]


@pytest.fixture(scope="module")
def model(minilm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MiniLM in INT8."""
    folder = Path(shutil.copytree(minilm, tmp_path_factory.mktemp("encoder") / "model"))
    export_onnx(folder)
    quantize(folder, HeldOut(list(TEXTS)))
    return folder


@pytest.fixture
def file(model: Path) -> OnnxFile:
    return OnnxFile(model / INT8)


def made(file: OnnxFile, kernel: str | None = None) -> Encoder:
    return Encoder(json.loads(file.notes[NOTE]), file.tensors(), kernel)


def tokens(lengths: Sequence[int]) -> list[list[int]]:
    chance = np.random.default_rng(sum(lengths))
    return [[101, *chance.integers(1000, 30000, length - 1).tolist()] for length in lengths]


def halves(numbers: np.ndarray) -> np.ndarray:
    """In bfloat16, and back."""
    return torch.from_numpy(numbers).float().bfloat16().double().numpy()


def rounded(numbers: np.ndarray) -> np.ndarray:
    """Each row in 8 bits, and back."""
    least = numbers.min(axis=1, keepdims=True)
    step = (numbers.max(axis=1, keepdims=True) - least) / 255
    return np.rint((numbers - least) / step) * step + least


def reference(
    found: Mapping[str, np.ndarray],
    plan: Mapping[str, Any],
    ids: Sequence[int],
    halved: Rounding = lambda numbers: numbers,
    rounded: Rounding = rounded,
) -> np.ndarray:
    """The vector of one text, in float64 but for what is rounded; `halved`: for the attention."""

    def table(names: Sequence[str]) -> np.ndarray:
        whole, scale, zero = (found[name].astype(np.float64) for name in names)
        return (whole - zero) * scale

    def product(part: Mapping[str, Any], numbers: np.ndarray, parts: int = 1) -> np.ndarray:
        if part["factors"]:
            numbers = numbers * found[part["factors"]]
        weights, scales, bias = (
            np.concatenate([found[name] for name in part[kind]], axis=-1).astype(np.float64)
            for kind in ("weights", "scales", "bias")
        )
        whole = [rounded(one) for one in np.split(numbers, parts, axis=1)]
        return np.concatenate(whole, axis=1) @ (weights * scales) + bias

    def norm(names: Sequence[str], numbers: np.ndarray) -> np.ndarray:
        off = numbers - numbers.mean(axis=1, keepdims=True)
        spread = np.sqrt((off**2).mean(axis=1, keepdims=True) + plan["epsilon"])
        weight, bias = (found[name] for name in names)
        return off / spread * weight + bias

    def attention(joint: np.ndarray) -> np.ndarray:
        parts = halved(joint).reshape(len(joint), 3, plan["heads"], -1).transpose(1, 2, 0, 3)
        scores = parts[0] @ parts[1].transpose(0, 2, 1) / np.sqrt(parts.shape[-1])
        shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
        context = halved(shares) @ parts[2] / shares.sum(axis=-1, keepdims=True)
        return halved(context).transpose(1, 0, 2).reshape(len(joint), -1)

    places = np.arange(len(ids)) + plan["first_position"]
    numbers = table(plan["words"])[list(ids)] + table(plan["positions"])[places]
    numbers = norm(plan["norm"], numbers + table(plan["types"])[0])
    for layer in plan["layers"]:
        context = attention(product(layer["joint"], numbers))
        numbers = norm(layer["after_attention"], numbers + product(layer["out"], context))
        inner = product(layer["up"], numbers)
        inner *= (1 + erf(inner / np.sqrt(2))) / 2
        parts = inner.shape[1] // numbers.shape[1] if inner.shape[1] % numbers.shape[1] == 0 else 1
        numbers = norm(layer["after_down"], numbers + product(layer["down"], inner, parts))
    pooled = numbers[0] if plan["pooling"] == "cls" else numbers.mean(axis=0)
    return pooled / np.linalg.norm(pooled)


@pytest.mark.parametrize("kernel", kernels())
@pytest.mark.parametrize(("layer", "pooling"), [(0, "mean"), (3, "cls"), (5, "mean")])
def test_a_layer_is_the_same_arithmetic_in_numpy(
    file: OnnxFile, kernel: str, layer: int, pooling: str
) -> None:
    plan = json.loads(file.notes[NOTE])
    alone = plan | {"layers": [plan["layers"][layer]], "pooling": pooling}
    assert_same(file.tensors(), alone, kernel)


@pytest.mark.parametrize("kernel", kernels())
def test_a_feed_forward_block_that_is_no_multiple_of_the_width(file: OnnxFile, kernel: str) -> None:
    plan, found, kept = json.loads(file.notes[NOTE]), file.tensors(), 960
    layer = plan["layers"][0]
    (up,), (down,) = layer["up"]["weights"], layer["down"]["weights"]
    found |= {up: found[up][:, :kept], down: found[down][:kept]}
    for name in (*layer["up"]["scales"], *layer["up"]["bias"], layer["down"]["factors"]):
        found[name] = found[name][:kept]
    assert_same(found, plan | {"layers": [layer]}, kernel)


def assert_same(found: Mapping[str, np.ndarray], plan: Mapping[str, Any], kernel: str) -> None:
    """The kernel's vectors are those of the same arithmetic in numpy."""
    texts = tokens(LENGTHS)
    vectors = Encoder(plan, found, kernel).encode(texts)
    assert vectors.dtype == np.float32
    assert vectors.shape == (len(LENGTHS), 384)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    ways = {"vnni": {}, "tiles": {"halved": halves}}[kernel]
    expected = [reference(found, plan, ids, **ways) for ids in texts]
    cosines = [one @ other for one, other in zip(expected, vectors, strict=True)]
    # Numbers near the middle of two of 255 steps may fall to either side.
    assert min(cosines) > 0.9998
    assert np.mean(cosines) > 0.99999


@pytest.mark.parametrize("kernel", kernels())
def test_all_layers_lose_no_more_by_rounding_than_in_numpy(file: OnnxFile, kernel: str) -> None:
    """Over layers, numbers that fall to the other side make others fall: no two ways agree."""
    plan, texts = json.loads(file.notes[NOTE]), tokens(LENGTHS)
    exact = [reference(file.tensors(), plan, ids, rounded=lambda numbers: numbers) for ids in texts]
    ours = made(file, kernel).encode(texts)
    numpys = [reference(file.tensors(), plan, ids) for ids in texts]
    lost = [
        1 - np.mean([a @ b for a, b in zip(exact, other, strict=True)]) for other in (ours, numpys)
    ]
    assert 0 < lost[0] < 1.25 * lost[1] < 0.01


@pytest.mark.parametrize("kernel", kernels())
def test_a_vector_does_not_depend_on_what_else_is_embedded(file: OnnxFile, kernel: str) -> None:
    encode = made(file, kernel).encode
    texts = tokens(LENGTHS)
    together = encode(texts)
    for ids, vector in zip(texts, together, strict=True):
        assert np.array_equal(encode([ids])[0], vector)
    assert np.array_equal(encode(texts[::-1])[::-1], together)
    with ThreadPoolExecutor(3) as pool:
        assert all(np.array_equal(one, together) for one in pool.map(encode, [texts] * 6))


@pytest.mark.parametrize("kernel", kernels())
def test_others_that_use_tiles_in_this_process_find_their_own(file: OnnxFile, kernel: str) -> None:
    encode, texts = made(file, kernel).encode, tokens([40, 7])
    left, right = torch.randn(64, 96).bfloat16(), torch.randn(96, 64).bfloat16()
    vectors, products = encode(texts), left @ right
    for _ in range(3):
        assert np.array_equal(encode(texts), vectors)
        assert torch.equal(left @ right, products)


@pytest.mark.parametrize("kernel", kernels())
@pytest.mark.parametrize("text", [[], [101] * 513, [101, 30522], [101, -1]])
def test_what_it_cannot_embed_is_an_error(file: OnnxFile, kernel: str, text: list[int]) -> None:
    with pytest.raises(RuntimeError, match=r"not in its vocabulary, or a text has no token"):
        made(file, kernel).encode([[101, 102], text])


def test_an_unknown_kernel_is_an_error(file: OnnxFile) -> None:
    with pytest.raises(RuntimeError, match="no encoder kernel abacus"):
        made(file, "abacus")


@pytest.mark.skipif(not has("vnni"), reason="no kernel here")
def test_it_is_nearer_to_fp32_than_onnx_runtime_with_the_same_file(model: Path) -> None:
    from customir.runtime.embedder import KERNEL, Embedder

    texts = [f"{one}\n{other}" for one in TEXTS for other in TEXTS]
    fp32 = Embedder(model, "onnx/model.onnx").encode(texts)
    ours, theirs = Embedder(model), Embedder(model, own_kernel=False)
    assert (ours.provider, theirs.provider) == (KERNEL, "CPUExecutionProvider")
    cosine = compare(fp32, ours.encode(texts)).mean_cosine
    assert cosine > compare(fp32, theirs.encode(texts)).mean_cosine > 0.99


def test_a_file_without_a_plan_or_with_one_of_another_format_is_left_to_onnx_runtime(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert read_encoder(model / "onnx/model.onnx") is None
    monkeypatch.setattr(int8_encoder, "FORMAT", 2)
    assert read_encoder(model / INT8) is None


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda layer: layer["up"].update(bias=["of another model"]), "of another model"),
        (lambda layer: layer["up"].update(bias=layer["down"]["bias"]), "(384,) numbers"),
        (lambda layer: layer["up"].update(layer["out"]), "weights of int8 (384, 384)"),
        (lambda layer: layer["after_down"].pop(), "not enough values"),
    ],
)
def test_a_plan_that_names_what_is_not_there_or_does_not_fit_is_told_and_left_to_onnx_runtime(
    model: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    spoil: Callable[[dict[str, Any]], object],
    told: str,
) -> None:
    graph = onnx.load(model / INT8)
    plan = json.loads(graph.metadata_props[0].value)
    spoil(plan["layers"][2])
    onnx.helper.set_model_props(graph, {NOTE: json.dumps(plan)})
    onnx.save(graph, tmp_path / "model_qint8.onnx")
    assert read_encoder(tmp_path / "model_qint8.onnx") is None
    if has("vnni"):
        assert told in caplog.text


def test_without_a_compiler_onnx_runtime_does_it(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from customir.runtime.embedder import Embedder

    expected = Embedder(model, own_kernel=False).encode(TEXTS)
    monkeypatch.setattr(int8_encoder, "_library", lambda: None)
    without = Embedder(model)
    assert without.provider == "CPUExecutionProvider"
    assert np.array_equal(without.encode(TEXTS), expected)


def test_distances_are_those_of_mpnet() -> None:
    values = np.random.default_rng(0).random((32, 12), np.float32)
    places = torch.arange(514)
    ranges = MPNetEncoder.relative_position_bucket(places[None, :] - places[:, None])
    expected = values[ranges.numpy()].transpose(2, 0, 1)
    np.testing.assert_array_equal(int8_encoder._by_distance(values, 514), expected)


@on_arm64
def test_it_compiles_for_arm64_and_says_no(tmp_path: Path) -> None:
    assert run_on_arm64("int8_encoder.cpp", NO_KERNEL, tmp_path).returncode == 0
