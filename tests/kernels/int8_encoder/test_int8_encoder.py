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
from customir.exporters.int8 import quantize
from customir.exporters.onnx import export_onnx
from customir.exporters.similarity import HeldOut, compare
from customir.kernels.int8_encoder import KERNELS, METADATA_KEY, Encoder, binding, has_kernel
from customir.kernels.int8_encoder.reference import encode as reference
from transformers.models.mpnet.modeling_mpnet import MPNetEncoder

from customir.errors import UserError
from customir.runtime import int8_file
from customir.runtime.int8_file import read_encoder
from customir.runtime.onnx_file import OnnxFile

INT8 = "onnx/model_qint8.onnx"
TEXTS = (
    "Budget meeting moved to Thursday",
    "Hi Anna,\nthe quarterly numbers are attached. Please check the gas volumes before noon.\nBob",
    "Server outage report: " + "the mail queue was full and deliveries were delayed. " * 12,
    "How do I fit a mixed model with spatially correlated errors in R?",
)
LENGTHS = (1, 2, 15, 16, 17, 31, 32, 33, 64, 65, 256)


def kernels() -> list[Any]:
    reason = "this processor has no such instructions, or no kernel was compiled"
    return [
        pytest.param(name, marks=pytest.mark.skipif(not has_kernel(name), reason=reason))
        for name in KERNELS
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
    return Encoder(json.loads(file.notes[METADATA_KEY]), file.tensors(), kernel)


def tokens(lengths: Sequence[int]) -> list[list[int]]:
    chance = np.random.default_rng(sum(lengths))
    return [[101, *chance.integers(1000, 30000, length - 1).tolist()] for length in lengths]


def to_bfloat16(numbers: np.ndarray) -> np.ndarray:
    """In bfloat16, and back."""
    return torch.from_numpy(numbers).float().bfloat16().double().numpy()


@pytest.mark.parametrize("kernel", kernels())
@pytest.mark.parametrize(("layer", "pooling"), [(0, "mean"), (3, "cls"), (5, "mean")])
def test_a_layer_is_the_same_arithmetic_in_numpy(
    file: OnnxFile, kernel: str, layer: int, pooling: str
) -> None:
    weight_map = json.loads(file.notes[METADATA_KEY])
    alone = weight_map | {"layers": [weight_map["layers"][layer]], "pooling": pooling}
    assert_same(file.tensors(), alone, kernel)


@pytest.mark.parametrize("kernel", kernels())
def test_a_feed_forward_block_that_is_no_multiple_of_the_width(file: OnnxFile, kernel: str) -> None:
    weight_map, found, kept = json.loads(file.notes[METADATA_KEY]), file.tensors(), 960
    layer = weight_map["layers"][0]
    (up,), (down,) = layer["intermediate"]["weights"], layer["output"]["weights"]
    found |= {up: found[up][:, :kept], down: found[down][:kept]}
    for name in (
        *layer["intermediate"]["scales"],
        *layer["intermediate"]["bias"],
        layer["output"]["input_scales"],
    ):
        found[name] = found[name][:kept]
    assert_same(found, weight_map | {"layers": [layer]}, kernel)


def assert_same(
    found: Mapping[str, np.ndarray], weight_map: Mapping[str, Any], kernel: str
) -> None:
    """The kernel's vectors are those of the same arithmetic in numpy."""
    texts = tokens(LENGTHS)
    vectors = Encoder(weight_map, found, kernel).encode(texts)
    assert vectors.dtype == np.float32
    assert vectors.shape == (len(LENGTHS), 384)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    rounding = {"attention_rounding": to_bfloat16} if kernel == "amx" else {}
    expected = [reference(found, weight_map, ids, **rounding) for ids in texts]
    cosines = [one @ other for one, other in zip(expected, vectors, strict=True)]
    # Numbers near the middle of two of 255 steps may fall to either side.
    assert min(cosines) > 0.9998
    assert np.mean(cosines) > 0.99999


@pytest.mark.skipif(not (has_kernel("avx2") and has_kernel("avx_vnni")), reason="not both are here")
def test_avx2_without_and_with_vnni_gives_the_same_bits(file: OnnxFile) -> None:
    """Their integers are the same, and all else is the same code."""
    texts = tokens(LENGTHS)
    assert np.array_equal(made(file, "avx2").encode(texts), made(file, "avx_vnni").encode(texts))


@pytest.mark.parametrize("kernel", kernels())
def test_all_layers_lose_no_more_by_rounding_than_in_numpy(file: OnnxFile, kernel: str) -> None:
    """Over layers, numbers that fall to the other side make others fall: no two ways agree."""
    weight_map, texts = json.loads(file.notes[METADATA_KEY]), tokens(LENGTHS)
    exact = [
        reference(file.tensors(), weight_map, ids, quantize=lambda numbers: numbers)
        for ids in texts
    ]
    ours = made(file, kernel).encode(texts)
    numpys = [reference(file.tensors(), weight_map, ids) for ids in texts]
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
def test_other_users_of_amx_in_this_process_keep_their_tiles(file: OnnxFile, kernel: str) -> None:
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
    with pytest.raises(RuntimeError, match="no INT8 encoder kernel abacus"):
        made(file, "abacus")


@pytest.mark.skipif(not has_kernel(), reason="no kernel here")
def test_it_is_nearer_to_fp32_than_onnx_runtime_with_the_same_file(model: Path) -> None:
    from customir.runtime.embedder import KERNEL, Embedder

    texts = [f"{one}\n{other}" for one in TEXTS for other in TEXTS]
    fp32 = Embedder(model, "onnx/model.onnx").encode(texts)
    ours, theirs = Embedder(model), Embedder(model, backend="onnxruntime")
    assert (ours.provider, theirs.provider) == (KERNEL, "CPUExecutionProvider")
    cosine = compare(fp32, ours.encode(texts)).mean_cosine
    assert cosine > compare(fp32, theirs.encode(texts)).mean_cosine > 0.99


def test_a_file_without_a_weight_map_or_with_one_of_another_format_is_left_to_onnx_runtime(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert read_encoder(model / "onnx/model.onnx") is None
    monkeypatch.setattr(int8_file, "FORMAT", 3)
    assert read_encoder(model / INT8) is None


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda layer: layer["intermediate"].update(bias=["of another model"]), "of another model"),
        (
            lambda layer: layer["intermediate"].update(bias=layer["output"]["bias"]),
            "(384,) numbers",
        ),
        (
            lambda layer: layer["intermediate"].update(layer["attention_output"]),
            "weights of int8 (384, 384)",
        ),
        (lambda layer: layer["output_norm"].pop(), "not enough values"),
    ],
)
def test_a_weight_map_that_names_what_is_not_there_or_does_not_fit_is_told_and_left_to_onnx_runtime(
    model: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    spoil: Callable[[dict[str, Any]], object],
    told: str,
) -> None:
    graph = onnx.load(model / INT8)
    weight_map = json.loads(graph.metadata_props[0].value)
    spoil(weight_map["layers"][2])
    onnx.helper.set_model_props(graph, {METADATA_KEY: json.dumps(weight_map)})
    onnx.save(graph, tmp_path / "model_qint8.onnx")
    assert read_encoder(tmp_path / "model_qint8.onnx") is None
    if has_kernel():
        assert told in caplog.text


def test_without_a_compiler_onnx_runtime_does_it(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from customir.runtime.embedder import Embedder

    expected = Embedder(model, backend="onnxruntime").encode(TEXTS)
    monkeypatch.setattr(binding, "_library", lambda: None)
    without = Embedder(model)
    assert without.provider == "CPUExecutionProvider"
    assert np.array_equal(without.encode(TEXTS), expected)


def test_distances_are_those_of_mpnet() -> None:
    values = np.random.default_rng(0).random((32, 12), np.float32)
    places = torch.arange(514)
    ranges = MPNetEncoder.relative_position_bucket(places[None, :] - places[:, None])
    expected = values[ranges.numpy()].transpose(2, 0, 1)
    np.testing.assert_array_equal(binding.relative_bias(values, 514), expected)


@pytest.mark.parametrize("kernel", kernels())
def test_a_kernel_can_be_forced(model: Path, monkeypatch: pytest.MonkeyPatch, kernel: str) -> None:
    monkeypatch.setenv(int8_file.KERNEL_VARIABLE, kernel)
    encoder = read_encoder(model / INT8)
    assert encoder is not None
    assert encoder.kernel == kernel


def test_a_forced_kernel_that_is_not_here_is_an_error(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(int8_file.KERNEL_VARIABLE, "abacus")
    with pytest.raises(UserError, match="CUSTOMIR_INT8_KERNEL: this processor cannot run abacus"):
        read_encoder(model / INT8)
