from pathlib import Path

import numpy as np
import onnx
import pytest
from customir.exporters.fp16 import export_fp16
from customir.exporters.similarity import compare

from customir.errors import UserError
from customir.runtime.embedder import Embedder


def test_half_the_size_and_nearly_the_same_vectors(copied: Path, texts: list[str]) -> None:
    made = export_fp16(copied)

    assert made.stat().st_size < 0.51 * (copied / "onnx" / "model.onnx").stat().st_size
    halves = [
        tensor.name
        for tensor in onnx.load(made).graph.initializer
        if tensor.data_type == onnx.TensorProto.FLOAT16 and len(tensor.dims) == 2
    ]
    assert len(halves) >= 6 * 6
    half = Embedder(copied, "onnx/model_fp16.onnx").encode(texts)
    assert half.dtype == np.float32
    assert compare(Embedder(copied, "onnx/model.onnx").encode(texts), half).min_cosine > 0.9999
    assert "model_fp16.onnx" in (copied / "onnx" / "SHA256SUMS").read_text()
    assert not (copied / ".fp16.part").exists()


def test_without_an_exported_model(minilm: Path) -> None:
    with pytest.raises(UserError, match="Export the model first"):
        export_fp16(minilm)
