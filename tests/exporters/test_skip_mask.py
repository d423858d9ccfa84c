"""Attention that adds its mask only where a batch has padding."""

import shutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from customir.exporters.onnx import FP32_FILE, export_onnx
from customir.exporters.skip_mask import WHOLE, skip_mask_without_padding
from transformers import BertConfig, BertModel, MPNetConfig, MPNetModel

SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "vocab_size": 1000,
}


@pytest.fixture(params=["bert", "mpnet"])
def graph(request: pytest.FixtureRequest, minilm: Path, tmp_path: Path) -> Path:
    """The ONNX file of a small model of either family; mpnet's scores have a bias, too."""
    folder = Path(shutil.copytree(minilm, tmp_path / "model"))
    small = (
        BertModel(BertConfig(**SMALL))
        if request.param == "bert"
        else MPNetModel(MPNetConfig(**SMALL))
    )
    small.save_pretrained(folder)
    export_onnx(folder)
    return folder / FP32_FILE


def batches() -> list[dict[str, np.ndarray]]:
    """Without padding, with some, and a text that is nothing but padding."""
    ids = np.random.default_rng(0).integers(5, 1000, (3, 9))
    whole, padded, empty = (np.ones_like(ids) for _ in range(3))
    padded[0, 4:] = padded[2, 8:] = 0
    empty[1] = 0
    return [{"input_ids": ids, "attention_mask": mask} for mask in (whole, padded, empty)]


def vectors(path: Path) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return [session.run(["sentence_embedding"], batch)[0] for batch in batches()]


def test_the_same_vectors_with_and_without_padding(graph: Path) -> None:
    before = vectors(graph)
    skip_mask_without_padding(graph)

    for found, expected in zip(vectors(graph), before, strict=True):
        np.testing.assert_array_equal(found, expected)
    assert not np.array_equal(before[0], before[1])
    nodes = onnx.load(graph).graph.node
    assert [node.input[0] for node in nodes if node.op_type == "If"] == [WHOLE] * 2


def test_without_padding_nothing_is_added_to_the_scores(graph: Path) -> None:
    skip_mask_without_padding(graph)
    choices = [node for node in onnx.load(graph).graph.node if node.op_type == "If"]
    for choice in choices:
        branches = {part.name: [node.op_type for node in part.g.node] for part in choice.attribute}
        assert branches == {"then_branch": ["Softmax"], "else_branch": ["Add", "Softmax"]}


def test_done_twice_and_where_there_is_no_mask_it_changes_nothing(
    graph: Path, tmp_path: Path
) -> None:
    skip_mask_without_padding(graph)
    once = graph.read_bytes()
    skip_mask_without_padding(graph)
    assert graph.read_bytes() == once

    add = onnx.helper.make_node("Add", ["input_ids", "input_ids"], ["sum"])
    softmax = onnx.helper.make_node("Softmax", ["sum"], ["out"])
    ends = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 4])
        for name in ("input_ids", "attention_mask", "out")
    ]
    other = tmp_path / "other.onnx"
    body = onnx.helper.make_graph([add, softmax], "other", ends[:2], ends[2:])
    onnx.save(onnx.helper.make_model(body), other)
    before = other.read_bytes()
    skip_mask_without_padding(other)
    assert other.read_bytes() == before
