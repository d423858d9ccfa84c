"""Reading an ONNX file without onnx, against onnx."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from customir.runtime.onnx_file import OnnxFile


@pytest.fixture
def path(tmp_path: Path) -> Path:
    chance = np.random.default_rng(0)
    raw = {
        "floats": chance.random((3, 130), np.float32),
        "bytes": chance.integers(0, 255, (2, 3, 4), np.uint8),
        "signed": chance.integers(-128, 127, 7, np.int8),
        "one": np.float32(0.5),
        "none": np.zeros((0, 4), np.float32),
    }
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in raw.items()]
    tensors.append(helper.make_tensor("spelt out", TensorProto.FLOAT, [2], [1.0, 2.0]))
    tensors.append(numpy_helper.from_array(np.arange(3), "of another type"))
    node = helper.make_node("Identity", ["in"], ["out"])
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("in", "out")]
    graph = helper.make_graph([node], "graph", ends[:1], ends[1:], tensors)
    model = helper.make_model(graph)
    helper.set_model_props(model, {"a note": "naïve ☃", "empty": ""})
    onnx.save(model, tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


def test_raw_tensors_and_notes_are_those_that_onnx_reads(path: Path) -> None:
    file = OnnxFile(path)
    assert file.notes == {"a note": "naïve ☃", "empty": ""}
    found = file.tensors()
    assert sorted(found) == ["bytes", "floats", "none", "one", "signed"]
    for tensor in onnx.load(path).graph.initializer:
        if tensor.name in found:
            expected = numpy_helper.to_array(tensor)
            assert found[tensor.name].dtype == expected.dtype
            np.testing.assert_array_equal(found[tensor.name], expected)


def test_what_is_no_onnx_file_is_an_error(path: Path) -> None:
    whole = path.read_bytes()
    for spoilt in (whole[:-3], b"\xff" * 40, b"\x0f\x00", whole[: len(whole) // 2]):
        path.write_bytes(spoilt)
        with pytest.raises((ValueError, KeyError)):
            OnnxFile(path).tensors()
