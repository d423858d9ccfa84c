"""Which tensor of an INT8 file is what, for our own kernel."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from customir.exporters import int8
from customir.exporters.int8 import SETTINGS
from customir.exporters.onnx import export_onnx
from customir.exporters.similarity import HeldOut, compare
from customir.exporters.weight_map import write_weight_map
from customir.kernels.int8_encoder import METADATA_KEY, has_kernel
from transformers import BertConfig, BertModel, MPNetConfig, MPNetModel, XLMRobertaConfig
from transformers import XLMRobertaModel as XLMRoberta

from customir.progress import Silent
from customir.runtime.embedder import KERNEL, Embedder
from customir.runtime.onnx_file import OnnxFile

SMALL = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 128,
    "vocab_size": 30522,
}


def change(path: Path, **settings: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))


def pooled_by_first(folder: Path) -> None:
    modes = {"pooling_mode_mean_tokens": False, "pooling_mode_cls_token": True}
    change(folder / "1_Pooling" / "config.json", word_embedding_dimension=64, **modes)


def pooled_by_mean(folder: Path) -> None:
    change(folder / "1_Pooling" / "config.json", word_embedding_dimension=64)


def int8_of(folder: Path, setting: int8.Setting = SETTINGS[0]) -> Path:
    """Of a small model, INT8 that is not measured: with random weights it loses much."""
    export_onnx(folder)
    exported, candidate = folder / "onnx/model.onnx", folder / "onnx/small_qint8.onnx"
    seen = int8._seen(exported, int8._tokens(folder, HeldOut(["a text", "another one"])), Silent())
    calibrated, _ = int8._calibrate(exported, seen, setting, folder / "calibrated.onnx")
    int8._quantize(calibrated, setting, candidate)
    return candidate


@pytest.fixture
def small(minilm: Path, tmp_path: Path) -> Callable[..., Path]:
    """Makes a small model of a family, in MiniLM's folder."""

    def make(model: type, config: type, **settings: object) -> Path:
        folder = Path(shutil.copytree(minilm, tmp_path / "model"))
        model(config(**SMALL, **settings)).save_pretrained(folder)
        pooled_by_mean(folder)
        return folder

    return make


def vectors(path: Path) -> np.ndarray:
    ids = np.random.default_rng(0).integers(5, 1000, (3, 9))
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    fed = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    return session.run(["sentence_embedding"], fed)[0]


@pytest.mark.parametrize("pooled", [pooled_by_mean, pooled_by_first])
@pytest.mark.parametrize(
    ("model", "config", "settings"),
    [
        (BertModel, BertConfig, {}),
        (XLMRoberta, XLMRobertaConfig, {"type_vocab_size": 1, "max_position_embeddings": 514}),
        (MPNetModel, MPNetConfig, {"max_position_embeddings": 514}),
    ],
)
def test_the_kernel_finds_what_onnx_runtime_multiplies(
    small: Callable[..., Path], model: type, config: type, settings: dict, pooled: Callable
) -> None:
    folder = small(model, config, **settings)
    pooled(folder)
    file = int8_of(folder)
    before = vectors(file)
    assert write_weight_map(folder, file)

    np.testing.assert_array_equal(vectors(file), before)  # nothing else has changed
    weight_map = json.loads(OnnxFile(file).notes[METADATA_KEY])
    assert weight_map["pooling"] == ("mean" if pooled is pooled_by_mean else "cls")
    assert (weight_map["heads"], len(weight_map["layers"])) == (2, 2)
    assert weight_map["first_position"] == (2 if settings else 0)
    if not has_kernel():
        pytest.skip("no kernel here")
    ours = Embedder(folder, "onnx/small_qint8.onnx")
    assert ours.provider == KERNEL
    texts = ["Budget meeting on Thursday", "the gas volumes " * 30, "x"]
    exact = Embedder(folder, "onnx/model.onnx").encode(texts)
    assert compare(exact, ours.encode(texts)).min_cosine > 0.995


def test_of_other_encoders_there_is_no_weight_map(small: Callable[..., Path]) -> None:
    folder = small(BertModel, BertConfig)
    file = int8_of(folder)
    change(folder / "config.json", model_type="nomic_bert")
    before = file.read_bytes()
    assert not write_weight_map(folder, file)
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    "settings",
    [
        {"hidden_act": "relu"},
        {"position_embedding_type": "relative_key"},
        {"hidden_size": 96},
        {"intermediate_size": 100},
        {"num_attention_heads": 16},
    ],
)
def test_where_the_kernel_would_give_other_vectors_there_is_no_weight_map(
    exported, copied: Path, settings: dict[str, object]
) -> None:
    change(copied / "config.json", **settings)
    assert not write_weight_map(copied, copied / "onnx/model_qint8.onnx")


def test_where_something_else_follows_pooling_there_is_no_weight_map(copied: Path) -> None:
    path = copied / "modules.json"
    modules = json.loads(path.read_text())
    dense = {"idx": 3, "name": "3", "path": "3_Dense", "type": "sentence_transformers.models.Dense"}
    path.write_text(json.dumps([*modules, dense]))
    (copied / "3_Dense").mkdir()
    (copied / "3_Dense/config.json").write_text('{"in_features": 384, "out_features": 64}')
    assert not write_weight_map(copied, copied / "onnx/model_qint8.onnx")

    path.write_text(json.dumps(modules))
    assert write_weight_map(copied, copied / "onnx/model_qint8.onnx")
    change(copied / "1_Pooling" / "config.json", pooling_mode_max_tokens=True)
    assert not write_weight_map(copied, copied / "onnx/model_qint8.onnx")


def test_where_not_all_is_in_int8_there_is_no_weight_map(small: Callable[..., Path]) -> None:
    folder = small(BertModel, BertConfig)
    assert not write_weight_map(folder, int8_of(folder, SETTINGS[1]))


def test_the_file_is_as_valid_as_before(exported) -> None:
    onnx.checker.check_model(onnx.load(exported.quantized.path), full_check=False)
