"""Models beyond protobuf's 2 GB, which a small limit stands for: the weights are in a second file."""

import subprocess
from pathlib import Path

import numpy as np
import onnx
import pytest
from customir.exporters.fp16 import export_fp16
from customir.exporters.int8 import quantize
from customir.exporters.merge import merge_adapter
from customir.exporters.onnx import FP32_FILE, export_onnx
from customir.exporters.onnx_store import place, save
from customir.exporters.similarity import HeldOut
from encoder.folders import TEXTS, tiny_folder

from customir.errors import UserError
from customir.runtime.embedder import DEFAULT_FILE, Embedder, fingerprint, verified_checksum

LIMIT = 20_000  # bytes; the tiny model has several times as many


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tiny_folder(tmp_path_factory.mktemp("base") / "tiny")
    merged = merge_adapter(base, base, 0.0, base.parent / "whole")
    export_onnx(merged)
    return merged


@pytest.fixture(scope="module")
def split(whole: Path) -> Path:
    """The same model with its weights in a file of their own, before and after quantizing."""
    merged = merge_adapter(whole, whole, 0.0, whole.parent / "split")
    export_onnx(merged, LIMIT)
    quantize(merged, HeldOut(TEXTS), max_bytes=LIMIT)
    export_fp16(merged)
    return merged


def test_the_vectors_are_the_same(whole: Path, split: Path) -> None:
    assert (split / "onnx/model.onnx").stat().st_size < LIMIT * 5
    assert (split / "onnx/model.onnx.data").stat().st_size > LIMIT
    expected = Embedder(whole, FP32_FILE).encode(TEXTS)
    np.testing.assert_allclose(Embedder(split, FP32_FILE).encode(TEXTS), expected, atol=1e-6)
    for file in (DEFAULT_FILE, "onnx/model_fp16.onnx"):
        found = Embedder(split, file, backend="onnxruntime").encode(TEXTS)
        assert (found * expected).sum(1).mean() > 0.98, file


def test_both_files_have_checksums_and_are_private(split: Path) -> None:
    listed = (split / "onnx/SHA256SUMS").read_text().split()[1::2]
    names = {"../tokenizer.json", "model.onnx", "model.onnx.data", "model_fp16.onnx"}
    assert names < set(listed)
    done = subprocess.run(
        ["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=split / "onnx", capture_output=True
    )
    assert done.returncode == 0, done.stderr
    for path in (split / "onnx").iterdir():
        assert path.stat().st_mode & 0o777 == 0o600


def test_a_changed_or_missing_data_file_is_found(split: Path, tmp_path: Path) -> None:
    copy = merge_adapter(split, split, 0.0, tmp_path / "copy")
    export_onnx(copy, LIMIT)
    before = fingerprint(copy, FP32_FILE)
    assert before == fingerprint(split, FP32_FILE)
    data = copy / "onnx/model.onnx.data"
    content = bytearray(data.read_bytes())
    content[1000] ^= 1
    data.write_bytes(content)
    with pytest.raises(UserError, match=r"model\.onnx\.data: damaged"):
        Embedder(copy, FP32_FILE)
    data.unlink()
    with pytest.raises(UserError, match=r"model\.onnx\.data: missing"):
        Embedder(copy, FP32_FILE)


def test_one_file_replaces_two_and_two_replace_one(whole: Path, tmp_path: Path) -> None:
    graph = onnx.load(whole / FP32_FILE)
    target = tmp_path / "out" / "model.onnx"
    first = verified_checksum(place(save(graph, tmp_path / "model.onnx", LIMIT), target))
    assert sorted(path.name for path in target.parent.iterdir()) == [
        "SHA256SUMS", "model.onnx", "model.onnx.data",
    ]  # fmt: skip
    graph = onnx.load(target)
    second = verified_checksum(place(save(graph, tmp_path / "model.onnx"), target))
    assert sorted(path.name for path in target.parent.iterdir()) == ["SHA256SUMS", "model.onnx"]
    assert len((target.parent / "SHA256SUMS").read_text().splitlines()) == 1
    assert first != second
