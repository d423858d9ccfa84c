"""Static embedders give sentence-transformers' vectors in ONNX, and are searched but not adapted."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from customir.exporters.int8 import quantize
from customir.exporters.onnx import FP32_FILE
from customir.exporters.similarity import HeldOut
from customir.exporters.static import export_static
from encoder.folders import TEXTS, word_pieces, write_json
from safetensors.torch import save_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, StaticEmbedding

from customir.encoder.torch_encoder import Encoder
from customir.errors import UserError
from customir.runtime.embedder import DEFAULT_FILE, Embedder

WIDTH = 48


def of_sentence_transformers(root: Path) -> Path:
    """As the library itself saves it, with prompts."""
    torch.manual_seed(5)
    tokenizer = word_pieces()
    static = StaticEmbedding(tokenizer, embedding_weights=torch.randn(len(tokenizer), WIDTH))
    prompts = {"query": "the report: ", "document": ""}
    model = SentenceTransformer(modules=[static, Normalize()], prompts=prompts, device="cpu")
    model.save(str(root))
    return root


def of_model2vec(root: Path) -> Path:
    """As model2vec saves a table in half precision: another name of the tensor, and the path '.'."""
    torch.manual_seed(6)
    tokenizer = word_pieces()
    tokenizer.save_pretrained(root)
    table = torch.randn(len(tokenizer), WIDTH).half()
    save_file({"embeddings": table}, root / "model.safetensors")
    write_json(root / "config.json", {"model_type": "model2vec", "hidden_dim": WIDTH})
    types = ("StaticEmbedding", "Normalize")
    write_json(
        root / "modules.json",
        [
            {"idx": n, "name": str(n), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for n, (kind, path) in enumerate(zip(types, (".", "1_Normalize"), strict=True))
        ],
    )
    return root


def truncated(root: Path) -> Path:
    of_model2vec(root)
    write_json(root / "config_sentence_transformers.json", {"truncate_dim": 16})
    return root


@pytest.mark.parametrize("make", [of_sentence_transformers, of_model2vec, truncated])
def test_vectors_are_those_of_sentence_transformers(
    make: Callable[[Path], Path], tmp_path: Path
) -> None:
    folder = make(tmp_path / "base")
    peer = SentenceTransformer(str(folder), device="cpu")
    out = tmp_path / "out"
    export_static(folder, out)
    quantize(out, HeldOut(TEXTS))
    exact, rounded = Embedder(out, FP32_FILE), Embedder(out, DEFAULT_FILE)
    again = SentenceTransformer(str(out), device="cpu")
    for kind, wanted, after in (
        ("query", peer.encode_query(list(TEXTS)), again.encode_query(list(TEXTS))),
        ("passage", peer.encode_document(list(TEXTS)), again.encode_document(list(TEXTS))),
    ):
        expected = wanted.astype(np.float32)
        expected /= np.linalg.norm(expected, axis=1, keepdims=True)
        np.testing.assert_allclose(exact.encode(TEXTS, kind), expected, atol=2e-3)  # type: ignore[arg-type]
        assert ((exact.encode(TEXTS, kind) * expected).sum(1) > 0.9999).all()  # type: ignore[arg-type]
        assert ((rounded.encode(TEXTS, kind) * expected).sum(1) > 0.98).all()  # type: ignore[arg-type]
        np.testing.assert_allclose(after, wanted, atol=2e-3)
    assert exact.dimensions == rounded.dimensions == (16 if make is truncated else WIDTH)
    for path in out.rglob("*"):
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600)


def test_a_text_without_tokens_has_a_vector_of_zeros(tmp_path: Path) -> None:
    export_static(of_model2vec(tmp_path / "base"), tmp_path / "out")
    assert not Embedder(tmp_path / "out", FP32_FILE).encode([""]).any()


def test_a_table_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    folder = of_model2vec(tmp_path / "base")
    for weights, said in (
        ({"embeddings": torch.zeros(3, WIDTH)}, "it has 3 vectors"),
        ({"other": torch.zeros(3, WIDTH)}, "no table"),
        ({"embeddings": torch.zeros(3, WIDTH), "mapping": torch.zeros(3)}, "share vectors"),
    ):
        save_file(weights, folder / "model.safetensors")
        with pytest.raises(UserError, match=said):
            export_static(folder, tmp_path / "out")
    write_json(folder / "config_sentence_transformers.json", {"truncate_dim": WIDTH + 1})
    save_file({"embeddings": torch.zeros(400, WIDTH)}, folder / "model.safetensors")
    with pytest.raises(UserError, match="truncate_dim is 49, and the vectors have 48"):
        export_static(folder, tmp_path / "out")


def test_it_cannot_be_adapted_and_the_error_says_what_can_be_done(tmp_path: Path) -> None:
    folder = of_model2vec(tmp_path / "base")
    with pytest.raises(UserError, match=r"no layers .* customir index SOURCE --out DIR --embedder"):
        Encoder.load(folder)


@pytest.mark.slow
def test_a_corpus_is_indexed_and_searched_with_it(tmp_path: Path) -> None:
    folder = of_model2vec(tmp_path / "base")
    mail = tmp_path / "mail"
    mail.mkdir()
    for number, text in enumerate(TEXTS):
        (mail / f"{number}.txt").write_text(text)

    def customir(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "customir", *arguments], capture_output=True, text=True
        )

    adapted = customir("adapt", str(mail), "--out", f"{tmp_path}/other", "--embedder", str(folder))
    assert adapted.returncode == 2
    assert "has no layers that could be adapted" in adapted.stderr
    indexed = customir("index", str(mail), "--out", f"{tmp_path}/out", "--embedder", str(folder))
    assert indexed.returncode == 0, indexed.stderr
    found = customir("search", f"{tmp_path}/out", "budget meeting on Thursday")
    assert found.returncode == 0, found.stderr
    assert "0.txt" in found.stdout.splitlines()[1]
