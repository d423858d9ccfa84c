from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from customir.exporters import int8
from customir.exporters.int8 import SETTINGS, quantize
from customir.exporters.similarity import HeldOut, compare
from sentence_transformers import SentenceTransformer

from customir.errors import UserError
from customir.progress import Silent
from customir.runtime.embedder import Embedder
from customir.runtime.int8_file import read_encoder


def test_int8_stays_near_fp32_and_is_half_its_size(exported, texts: list[str]) -> None:
    quantized = exported.quantized
    assert quantized.measured.parity.mean_cosine >= 0.99
    assert quantized.path.stat().st_size * 2 < (quantized.path.parent / "model.onnx").stat().st_size

    fp32 = Embedder(exported.folder, "onnx/model.onnx").encode(texts)
    by_runtime = Embedder(exported.folder, backend="onnxruntime").encode(texts)
    assert compare(fp32, by_runtime) == quantized.measured.parity


def test_weights_use_seven_bits(exported) -> None:
    graph = onnx.load(exported.quantized.path).graph
    weights = [
        onnx.numpy_helper.to_array(tensor)
        for tensor in graph.initializer
        if tensor.data_type == onnx.TensorProto.INT8 and len(tensor.dims) == 2
    ]
    products = [node for node in graph.node if node.op_type in ("MatMulInteger", "QAttention")]
    assert len(products) >= 6 * 3
    assert max(int(np.abs(weight).max()) for weight in weights) <= 64


def test_sentence_transformers_loads_it(exported, texts: list[str]) -> None:
    model = SentenceTransformer(
        str(exported.folder),
        device="cpu",
        backend="onnx",
        model_kwargs={"file_name": "onnx/model_qint8.onnx", "provider": "CPUExecutionProvider"},
    )
    # One text a batch: an INT8 vector depends on the texts that share its batch.
    theirs = model.encode(texts, batch_size=1)
    embedder = Embedder(exported.folder, backend="onnxruntime")
    ours = np.concatenate([embedder.encode([text]) for text in texts])
    np.testing.assert_allclose(theirs, ours, atol=1e-5)


def test_a_gentler_setting_is_chosen_where_int8_loses_too_much(
    exported, copied: Path, texts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = exported.quantized.measured.parity.mean_cosine
    monkeypatch.setattr(int8, "LEAST_MEAN_COSINE", (first + 1) / 2)
    gentler = quantize(copied, HeldOut(texts))
    assert gentler.setting != SETTINGS[0].name
    assert gentler.measured.parity.mean_cosine >= (first + 1) / 2
    assert sorted(path.name for path in gentler.path.parent.iterdir()) == [
        "SHA256SUMS",
        "model.onnx",
        "model_qint8.onnx",
    ]
    assert not (copied / ".int8.part").exists()

    monkeypatch.setattr(int8, "LEAST_MEAN_COSINE", 1.1)
    with pytest.raises(UserError, match="gives other vectors when it is asked again"):
        quantize(copied, HeldOut(texts))


@pytest.fixture
def seen(copied: Path, texts: list[str]) -> dict[str, int8.Seen]:
    return int8._seen(
        copied / "onnx" / "model.onnx", int8._tokens(copied, HeldOut(texts)), Silent()
    )


def test_settings_go_from_fast_to_gentle(
    copied: Path, seen: dict[str, int8.Seen], texts: list[str]
) -> None:
    # Of few texts, chance has a say in whether an INT8 vector is near.
    many = [f"{one}\n{other}" for one in texts for other in texts]
    fp32 = Embedder(copied, "onnx/model.onnx").encode(many)
    cosines = []
    for setting in SETTINGS:
        calibrated, moments = int8._calibrate(
            copied / "onnx" / "model.onnx", seen, setting, copied / "calibrated.onnx"
        )
        int8._quantize(calibrated, setting, copied / "candidate.onnx")
        int8._round(calibrated, moments, copied / "candidate.onnx", Silent())
        vectors = Embedder(copied, "candidate.onnx").encode(many)
        cosines.append(compare(fp32, vectors).mean_cosine)
    assert cosines == sorted(cosines)
    assert cosines[-1] > 0.999


def test_calibration_changes_no_vector_before_quantising_and_each_step_brings_int8_nearer(
    copied: Path, seen: dict[str, int8.Seen], texts: list[str]
) -> None:
    exported = copied / "onnx" / "model.onnx"
    fp32 = Embedder(copied, "onnx/model.onnx").encode(texts)
    whole = SETTINGS[0]
    calibrated, moments = int8._calibrate(exported, seen, whole, copied / "calibrated.onnx")
    nodes = onnx.load(calibrated).graph.node
    # What goes into the attention and into the feed-forward's two; what comes out of the attention
    # is mostly even.
    divided = [node for node in nodes if node.name.startswith("calibrated_")]
    assert 6 * 3 <= len(divided) < 6 * 4
    assert len(moments) == 6 * 4
    assert compare(fp32, Embedder(copied, "calibrated.onnx").encode(texts)).min_cosine > 0.999999

    def nearness(graph: Path) -> float:
        int8._quantize(graph, whole, copied / "candidate.onnx")
        return mean_cosine(copied / "candidate.onnx")

    def mean_cosine(file: Path) -> float:
        return compare(fp32, Embedder(copied, file.name).encode(texts)).mean_cosine

    plain, nearer = nearness(exported), nearness(calibrated)
    int8._round(calibrated, moments, copied / "candidate.onnx", Silent())
    assert plain < nearer < mean_cosine(copied / "candidate.onnx")


def test_what_is_seen_are_the_moments_of_all_tokens(copied: Path, texts: list[str]) -> None:
    exported = copied / "onnx" / "model.onnx"
    tokens = int8._tokens(copied, HeldOut(texts))
    together = int8._seen(exported, tokens, Silent())
    apart = [int8._seen(exported, [text], Silent()) for text in tokens]
    assert len(together) == 6 * 4
    for name, seen in together.items():
        channels = len(seen.largest)
        assert seen.moments.shape == (channels, channels)
        moments = sum(each[name].moments for each in apart)
        np.testing.assert_allclose(seen.moments, moments, rtol=1e-3, atol=1e-2)
        largest = np.max([each[name].largest for each in apart], axis=0)
        np.testing.assert_array_equal(seen.largest, largest)


def test_onnx_runtime_keeps_sum_and_normalisation_apart(exported, tmp_path: Path) -> None:
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "loaded.onnx")
    onnxruntime.InferenceSession(
        exported.quantized.path, options, providers=["CPUExecutionProvider"]
    )
    loaded = [node.op_type for node in onnx.load(tmp_path / "loaded.onnx").graph.node]
    assert loaded.count("LayerNormalization") == 6 * 2 + 1
    assert "SkipLayerNormalization" not in loaded


def test_it_says_what_is_missing(minilm: Path, copied: Path, texts: list[str]) -> None:
    with pytest.raises(UserError, match="Export the model first"):
        quantize(minilm, HeldOut(texts))
    with pytest.raises(UserError, match="no texts"):
        quantize(copied, HeldOut([]))


def test_a_gentler_setting_is_chosen_where_recall_falls(copied: Path, texts: list[str]) -> None:
    asked: list[np.ndarray] = []

    def metrics(rows: np.ndarray) -> dict[str, float]:
        asked.append(rows)
        return {"Recall@10": 0.7 if len(asked) in (1, third) else 0.6}  # fp32 is the first

    # What is all in INT8 is measured with our own kernel as well, where it can run here.
    third = 4 if read_encoder(copied / "onnx" / "model_qint8.onnx") is None else 5
    quantized = quantize(copied, HeldOut(texts, texts[:3] * 100, metrics))

    assert quantized.setting == SETTINGS[2].name
    assert quantized.given_up == tuple(
        f"{setting.name}: 10.0 points of Recall@10 on 300 queries" for setting in SETTINGS[:2]
    )
    assert asked[0].shape == (300, len(texts))  # fewer passages than ten
