"""BERT and MPNet, every pooling, and prompts: trained, merged, exported, and one vector everywhere."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from customir.exporters.merge import merge_adapter
from customir.exporters.onnx import export_onnx
from desks import SETTINGS, examples
from sentence_transformers import SentenceTransformer

from customir.encoder.torch_encoder import Encoder
from customir.progress import Silent
from customir.runtime.embedder import Embedder
from customir.training import train

MPNET = Path("~/.local/share/customir/models/mpnet").expanduser()
POOLING = {"mean": "mean_tokens", "cls": "cls_token", "lasttoken": "lasttoken"}


@pytest.mark.parametrize(
    ("family", "pooling"),
    [("minilm", "mean"), ("minilm", "cls"), ("minilm", "lasttoken"), ("mpnet", "cls")],
)
def test_the_way_from_training_to_onnx(
    minilm: Path, tmp_path: Path, family: str, pooling: str
) -> None:
    if family == "mpnet" and not MPNET.exists():
        pytest.skip(f"mpnet is not in {MPNET}: fetch it to run this")
    base = Path(shutil.copytree(minilm if family == "minilm" else MPNET, tmp_path / "base"))
    path = base / "1_Pooling" / "config.json"
    about = json.loads(path.read_text())
    about |= {f"pooling_mode_{name}": kind == pooling for kind, name in POOLING.items()}
    path.write_text(json.dumps(about))
    prompts = {"query": "find: ", "document": "mail: "}
    path = base / "config_sentence_transformers.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({**known, "prompts": prompts}))
    few = SETTINGS.model_copy(update={"epochs": 2, "trainable_layers": 2})
    result = train(base, examples()[:8], few, 0, "cpu", tmp_path / "t", Silent())
    assert result.losses[-1] < result.losses[0]
    merged = merge_adapter(base, result.adapter, 1.0, tmp_path / "merged")
    export_onnx(merged)
    texts = [example.query for example in examples()[:3]] + ["", examples()[4].positive.text]
    peer = SentenceTransformer(str(merged), device="cpu")
    encoder, runtime = Encoder.load(merged, precision="fp32"), Embedder(merged, "onnx/model.onnx")
    for kind, wanted in (
        ("query", peer.encode_query(texts, normalize_embeddings=True)),
        ("passage", peer.encode_document(texts, normalize_embeddings=True)),
    ):
        np.testing.assert_allclose(encoder.encode(texts, kind), wanted, atol=1e-5)  # type: ignore[arg-type]
        np.testing.assert_allclose(runtime.encode(texts, kind), wanted, atol=1e-5)  # type: ignore[arg-type]
    before = Encoder.load(base, precision="fp32").encode(texts, "query")
    assert np.abs(before - encoder.encode(texts, "query")).max() > 1e-3
