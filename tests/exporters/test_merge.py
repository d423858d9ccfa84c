import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from customir.exporters import merge
from customir.exporters.merge import merge_adapter
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file
from sentence_transformers import SentenceTransformer
from torch import Tensor
from transformers import AutoModel, MPNetConfig, MPNetModel

from customir.errors import UserError


def test_nothing_of_the_adapter_is_the_base_to_the_byte(
    minilm: Path, adapter: Path, tmp_path: Path, texts: list[str]
) -> None:
    merged = merge_adapter(minilm, adapter, 0.0, tmp_path / "merged")

    assert (merged / "model.safetensors").read_bytes() == (
        minilm / "model.safetensors"
    ).read_bytes()
    base_vectors = SentenceTransformer(str(minilm), device="cpu").encode(texts)
    assert np.array_equal(
        SentenceTransformer(str(merged), device="cpu").encode(texts), base_vectors
    )


def test_all_of_the_adapter_is_what_peft_merges(
    minilm: Path, adapter: Path, tmp_path: Path
) -> None:
    merged = load_file(
        merge_adapter(minilm, adapter, 1.0, tmp_path / "merged") / "model.safetensors"
    )

    model = PeftModel.from_pretrained(AutoModel.from_pretrained(minilm), str(adapter))
    expected = model.merge_and_unload().state_dict()
    assert expected.keys() <= merged.keys()
    for name, weight in of_vectors(expected):
        torch.testing.assert_close(merged[name], weight, rtol=0, atol=1e-6)


def of_vectors(weights: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """All weights but the pooler's, which no sentence embedding uses and which stay the base's."""
    return ((name, each) for name, each in weights.items() if not name.startswith("pooler."))


def test_half_of_the_adapter_lies_halfway(minilm: Path, adapter: Path, tmp_path: Path) -> None:
    base = load_file(minilm / "model.safetensors")
    half = load_file(merge_adapter(minilm, adapter, 0.5, tmp_path / "half") / "model.safetensors")
    full = load_file(merge_adapter(minilm, adapter, 1.0, tmp_path / "full") / "model.safetensors")

    changed = [name for name in base if not torch.equal(base[name], full[name])]
    assert len(changed) == 6 * 5  # query, value and three dense matrices in each layer
    for name in changed:
        torch.testing.assert_close(half[name], (base[name] + full[name]) / 2, rtol=0, atol=1e-6)


def test_mpnet_is_merged_too(minilm: Path, tmp_path: Path) -> None:
    torch.manual_seed(1)
    small = MPNetConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64
    )
    base = tmp_path / "base"
    shutil.copytree(minilm, base)
    MPNetModel(small).save_pretrained(base)
    lora = get_peft_model(
        AutoModel.from_pretrained(base), LoraConfig(r=2, target_modules="all-linear")
    )
    with torch.no_grad():
        for name, parameter in lora.named_parameters():
            if "lora_B" in name:
                parameter.normal_()
    lora.save_pretrained(tmp_path / "adapter")

    merged = load_file(
        merge_adapter(base, tmp_path / "adapter", 1.0, tmp_path / "out") / "model.safetensors"
    )

    for name, weight in of_vectors(lora.merge_and_unload().state_dict()):
        torch.testing.assert_close(merged[name], weight, rtol=0, atol=1e-6)


def test_the_folder_is_private_and_replaced_as_a_whole(
    minilm: Path, adapter: Path, tmp_path: Path
) -> None:
    out = tmp_path / "model"
    out.mkdir()
    (out / "stale").write_text("of another model")
    (tmp_path / "model.part").mkdir()
    (tmp_path / "model.part" / "model.safetensors").write_text("half written by a killed run")

    merge_adapter(minilm, adapter, 0.5, out)

    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert not (out / "stale").exists()
    assert out.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in out.rglob("*") if path.is_file()} == {0o600}


def test_a_failed_merge_leaves_what_was_there(
    minilm: Path, adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "model"
    out.mkdir()
    (out / "whole").touch()

    def full_disk(*arguments: object, **keywords: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(merge, "save_file", full_disk)
    with pytest.raises(OSError, match="No space"):
        merge_adapter(minilm, adapter, 0.5, out)
    assert [path.name for path in out.iterdir()] == ["whole"]


def test_wrong_folders_are_named(minilm: Path, adapter: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no sentence-transformers model"):
        merge_adapter(adapter, adapter, 0.5, tmp_path / "out")
    with pytest.raises(UserError, match=r"no adapter_model\.safetensors"):
        merge_adapter(minilm, minilm, 0.5, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_adapter_of_another_size_or_kind_or_a_cut_one_is_named(
    minilm: Path, adapter: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(adapter, other)
    config = json.loads((other / "adapter_config.json").read_text())
    (other / "adapter_config.json").write_text(json.dumps(config | {"r": 8}))
    with pytest.raises(UserError, match="not a LoRA adapter for"):
        merge_adapter(minilm, other, 0.5, tmp_path / "out")

    (other / "adapter_config.json").write_text(json.dumps(config | {"use_dora": True}))
    with pytest.raises(UserError, match="more than plain LoRA"):
        merge_adapter(minilm, other, 0.5, tmp_path / "out")

    (other / "adapter_config.json").write_text(json.dumps(config))
    weights = (other / "adapter_model.safetensors").read_bytes()
    (other / "adapter_model.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(UserError, match="not a LoRA adapter for"):
        merge_adapter(minilm, other, 0.5, tmp_path / "out")
