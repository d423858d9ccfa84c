"""A folder of transformers becomes one of sentence-transformers."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from encoder.folders import TEXTS, change_json, tiny_folder
from sentence_transformers import SentenceTransformer

from customir import models
from customir.encoder.folder import PoolingMode
from customir.encoder.torch_encoder import Encoder
from customir.errors import UserError


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """What transformers' save_pretrained writes, and nothing else."""
    folder = tiny_folder(tmp_path / "plain")
    for name in ("modules.json", "sentence_bert_config.json"):
        (folder / name).unlink()
    for name in ("1_Pooling", "2_Normalize"):
        shutil.rmtree(folder / name)
    return folder


@pytest.mark.parametrize("pooling", ["mean", "cls", "lasttoken"])
def test_it_gives_the_vectors_of_sentence_transformers(
    plain: Path, pooling: PoolingMode, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="customir models convert"):
        models.locate(str(plain), "embedder")
    made = models.convert(plain, tmp_path / "new" / "model", pooling)
    assert models.locate(str(made), "embedder") == made
    ours = Encoder.load(made, precision="fp32").encode(TEXTS)
    theirs = SentenceTransformer(str(made), device="cpu").encode(list(TEXTS))
    np.testing.assert_allclose(ours, theirs, atol=2e-5)
    assert made.stat().st_mode & 0o777 == 0o700
    assert (made / "model.safetensors").stat().st_mode & 0o777 == 0o600


def test_what_cannot_be_converted_is_said_and_nothing_is_left(plain: Path, tmp_path: Path) -> None:
    out = tmp_path / "new"
    with pytest.raises(UserError, match="already"):
        models.convert(tiny_folder(tmp_path / "whole"), out, "mean")
    weights = plain / "model.safetensors"
    weights.rename(plain / "pytorch_model.bin")
    with pytest.raises(UserError, match="no weights"):
        models.convert(plain, out, "mean")
    change_json(plain / "config.json", auto_map={"AutoModel": "code.Model"})
    with pytest.raises(UserError, match="Custom code is never run"):
        models.convert(plain, out, "mean")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["plain", "whole"]
