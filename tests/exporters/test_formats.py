"""The exported folder in everybody's hands: equal vectors. Others' libraries are in the extra `dev`."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from customir.runtime.embedder import Embedder

ONNX, INT8 = "onnx/model.onnx", "onnx/model_qint8.onnx"
EXAMPLE = Path(__file__).parents[2] / "examples" / "plain_onnxruntime.py"


@pytest.fixture(scope="module")
def expected(exported, texts: list[str]) -> np.ndarray:
    """What sentence-transformers makes of the texts in torch."""
    return SentenceTransformer(str(exported.folder), device="cpu").encode(texts)


def test_fastembed(exported, texts: list[str], expected: np.ndarray) -> None:
    fastembed = pytest.importorskip("fastembed")
    from fastembed.common.model_description import ModelSource, PoolingType

    fastembed.TextEmbedding.add_custom_model(
        model="customir/mail",
        pooling=PoolingType.MEAN,
        normalization=True,
        sources=ModelSource(hf="customir/mail"),
        dim=384,
        model_file=ONNX,
    )
    model = fastembed.TextEmbedding("customir/mail", specific_model_path=str(exported.folder))
    np.testing.assert_allclose(np.array(list(model.embed(texts))), expected, atol=2e-5)


def test_langchain(exported, texts: list[str], expected: np.ndarray) -> None:
    langchain = pytest.importorskip("langchain_huggingface")
    model = langchain.HuggingFaceEmbeddings(model_name=str(exported.folder))
    np.testing.assert_allclose(model.embed_documents(texts), expected, atol=2e-5)
    np.testing.assert_allclose(model.embed_query(texts[0]), expected[0], atol=2e-5)


def test_llama_index(exported, texts: list[str], expected: np.ndarray) -> None:
    llama_index = pytest.importorskip("llama_index.embeddings.huggingface")
    model = llama_index.HuggingFaceEmbedding(model_name=str(exported.folder), device="cpu")
    texts, expected = texts[:5], expected[:5]  # it takes no empty text
    np.testing.assert_allclose(model.get_text_embedding_batch(texts), expected, atol=2e-5)
    np.testing.assert_allclose(model.get_query_embedding(texts[0]), expected[0], atol=2e-5)


def test_the_example_with_plain_onnxruntime(exported) -> None:
    code = EXAMPLE.read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", [EXAMPLE.name, str(exported.folder)])
        exec(code, names)
    invoice = ["an invoice that was paid twice"]
    ours = Embedder(exported.folder, backend="onnxruntime").encode(invoice)
    np.testing.assert_allclose(names["vectors"], ours, atol=1e-5)
    assert names["vectors"][0] @ Embedder(exported.folder).encode(invoice)[0] > 0.98
