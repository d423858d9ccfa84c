"""What is wrong with a base is said before any work; a base that is right passes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from encoder.folders import bert, change_json, tiny_folder
from safetensors.torch import load_file, save_file
from transformers import Gemma3TextConfig, PretrainedConfig, Qwen3Config

from customir.errors import UserError
from customir.job.rehearsal import rehearse

DECODER = {
    "vocab_size": 400,
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "intermediate_size": 64,
    "head_dim": 16,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
}


@pytest.mark.parametrize(
    "config",
    [
        bert(num_hidden_layers=3),
        Qwen3Config(**DECODER),
        Gemma3TextConfig(**DECODER, layer_types=["sliding_attention", "full_attention"] * 2),
    ],
    ids=["bert", "qwen3", "gemma3"],
)
def test_a_base_that_can_go_the_whole_way_passes(config: PretrainedConfig, tmp_path: Path) -> None:
    base = tiny_folder(tmp_path / "base", config, head=("Dense", "Normalize"))
    before = sorted(tmp_path.rglob("*"))
    rehearse(base)
    assert sorted(tmp_path.rglob("*")) == before


def test_weights_that_are_missing_are_said(tmp_path: Path) -> None:
    base = tiny_folder(tmp_path / "base")
    weights = load_file(base / "model.safetensors")
    del weights["encoder.layer.0.attention.self.query.weight"]
    save_file(weights, base / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"cannot be loaded.*lack encoder\.layer\.0"):
        rehearse(base)


@pytest.mark.slow
def test_it_runs_before_the_corpus_is_read_and_the_path_is_kept_in_full(tmp_path: Path) -> None:
    base = tiny_folder(tmp_path / "base", head=("Dense",))
    change_json(base / "2_Dense/config.json", in_features=31)
    (tmp_path / "mail").mkdir()
    (tmp_path / "mail/note.txt").write_text("The mill turns all night.")
    command = ["ingest", "mail", "--out", "out", "--embedder", "./base"]
    done = subprocess.run(
        [sys.executable, "-m", "customir", *command],
        cwd=tmp_path, capture_output=True, text=True, env={**os.environ, "NO_COLOR": "1"},
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "2_Dense: takes vectors of 31 dimensions, and is given 32" in done.stderr
    assert "read:" not in done.stderr
    assert f'embedder = "{base}"' in (tmp_path / "out/customir.toml").read_text()
