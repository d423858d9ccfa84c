"""`truncate_dim` as a setting: the base's vectors are cut from loading to the index."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from encoder.folders import TEXTS, bert, tiny_folder, write_json
from sentence_transformers import SentenceTransformer

from customir.encoder.folder import read_model_folder
from customir.encoder.torch_encoder import Encoder
from customir.encoder.truncated import truncated_folder
from customir.errors import UserError
from customir.runtime.embedder import Embedder


def test_vectors_are_those_of_sentence_transformers(tmp_path: Path) -> None:
    base = tiny_folder(tmp_path / "base")
    write_json(base / "config_sentence_transformers.json", {"prompts": {"query": "ask: "}})
    cut = truncated_folder(base, 12, tmp_path / "cut")
    peer = SentenceTransformer(str(base), device="cpu", truncate_dim=12)
    encoder = Encoder.load(cut, precision="fp32")
    assert encoder.dimensions == 12
    for kind, expected in (
        ("query", peer.encode_query(list(TEXTS), normalize_embeddings=True)),
        ("passage", peer.encode_document(list(TEXTS), normalize_embeddings=True)),
    ):
        np.testing.assert_allclose(encoder.encode(TEXTS, kind), expected, atol=1e-5)  # type: ignore[arg-type]
    assert read_model_folder(base).truncate_dim is None


def test_another_base_and_another_number_replace_what_was_there(tmp_path: Path) -> None:
    first = tiny_folder(tmp_path / "first", head=("Dense", "Normalize"))
    second = tiny_folder(tmp_path / "second", bert(hidden_size=16))
    out = truncated_folder(first, 12, tmp_path / "out")
    before = (out / "model.safetensors").lstat()
    truncated_folder(first, 12, out)
    assert (out / "model.safetensors").lstat() == before
    truncated_folder(second, 8, out)
    folder = read_model_folder(out)
    assert (folder.truncate_dim, folder.config["hidden_size"]) == (8, 16)
    assert not (out / "2_Dense/model.safetensors").exists()
    assert Encoder.load(out).dimensions == 8


def test_more_dimensions_than_there_are(tmp_path: Path) -> None:
    out = truncated_folder(tiny_folder(tmp_path / "base"), 33, tmp_path / "out")
    with pytest.raises(UserError, match="truncate_dim is 33, and the vectors have 32"):
        Encoder.load(out)


@pytest.mark.slow
def test_a_corpus_is_indexed_with_fewer_dimensions(tmp_path: Path) -> None:
    base = tiny_folder(tmp_path / "base")
    for number, text in enumerate(TEXTS):
        (tmp_path / f"{number}.txt").write_text(text)
    out = tmp_path / "out"

    def index(dimensions: int) -> subprocess.CompletedProcess[str]:
        command = ["index", *map(str, sorted(tmp_path.glob("*.txt"))), "--out", str(out)]
        command += ["--embedder", str(base), "--truncate-dim", str(dimensions)]
        return subprocess.run(
            [sys.executable, "-m", "customir", *command], capture_output=True, text=True
        )

    refused = index(40)
    assert refused.returncode == 2
    assert "truncate_dim is 40, and the vectors have 32" in refused.stderr
    done = index(12)
    assert done.returncode == 0, done.stderr
    assert "truncate_dim = 12" in (out / "customir.toml").read_text()
    embedder = Embedder(out / "model")
    assert embedder.dimensions == 12
    about = json.loads((out / "model/config_sentence_transformers.json").read_text())
    assert about["truncate_dim"] == 12
    assert not any(path.is_symlink() for path in (out / "model").rglob("*"))
