"""A LoRA adapter added to its base, in any proportion."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel
from peft.tuners.lora import Linear
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from transformers import AutoModel

from customir.encoder.folder import WEIGHTS_NAME, read_model_folder, weight_files
from customir.errors import UserError
from customir.files import make_private_folder

FULL_NAME = "full_model.safetensors"  # as customir.training writes the weights that it changed
# Made from other weights than the merged ones, or of no use to anybody who loads the folder.
LEFT_OUT = ("onnx", "openvino", "*.bin", "*.h5", "*.ot", "*.msgpack", "*.onnx", ".*")


def merge_adapter(base: Path, adapter: Path, alpha: float, out: Path) -> Path:
    """Write a complete sentence-transformers folder with weights base + alpha * what was learned.

    That is scaling * B A of a LoRA adapter; of weights that were changed themselves, the difference.

    alpha interpolates linearly between the base (0: its very bytes) and the adapted model (1):
    Wortsman et al., "Robust fine-tuning of zero-shot models" (WiSE-FT, arXiv 2109.01903);
    Xiao et al., "LM-Cocktail" (arXiv 2311.13534).

    Args:
        base: A sentence-transformers folder with model.safetensors.
        adapter: A folder that peft saved for that base's transformer, or one with the changed
            weights in full_model.safetensors.
        alpha: Share of the adapter, usually 0 to 1.
        out: Created, or replaced as a whole; never seen half-written.

    Returns:
        `out`.

    Raises:
        UserError: a folder is not what it should be, or the adapter is for another model.
    """
    (weights_path,) = weight_files(read_model_folder(base))
    unfinished = out.with_name(out.name + ".part")
    if unfinished.exists():
        shutil.rmtree(unfinished)
    make_private_folder(out.parent)
    shutil.copytree(base, unfinished, ignore=shutil.ignore_patterns(*LEFT_OUT))
    if alpha != 0:
        weights = load_file(weights_path)
        for name, delta in _deltas(base, adapter).items():
            if name not in weights:
                raise UserError(f"{adapter}: changes {name}, which {weights_path} does not have.")
            weight = weights[name]
            weights[name] = (weight.double() + alpha * delta).to(weight.dtype)
        save_file(weights, unfinished / WEIGHTS_NAME, metadata={"format": "pt"})
    _state_limit(unfinished)
    _make_private(unfinished)
    _replace_folder(unfinished, out)
    return out


def _deltas(base: Path, adapter: Path) -> dict[str, torch.Tensor]:
    """What was learned, float64, by the name of the weight: scaling * B A, or the difference."""
    if (adapter / FULL_NAME).exists():
        return _differences(base, adapter)
    if not (adapter / "adapter_model.safetensors").exists():
        raise UserError(f"{adapter}: no adapter_model.safetensors. Train again.")
    try:
        config = LoraConfig.from_pretrained(str(adapter))
        if config.bias != "none" or config.modules_to_save or config.use_dora:
            raise UserError(f"{adapter}: more than plain LoRA (bias, saved modules or DoRA).")
        transformer: Any = AutoModel.from_pretrained(
            base, local_files_only=True, trust_remote_code=False, use_safetensors=True
        )
        PeftModel.from_pretrained(transformer, str(adapter), config=config).double()
    except (ValueError, TypeError, RuntimeError, KeyError, OSError, SafetensorError) as error:
        raise UserError(f"{adapter}: not a LoRA adapter for {base} ({error}).") from error
    deltas: dict[str, torch.Tensor] = {}
    for name, module in transformer.named_modules():
        if isinstance(module, Linear):
            deltas[f"{name}.weight"] = module.get_delta_weight("default").detach()
    return deltas


def _state_limit(folder: Path) -> None:
    """Let tokenizer_config.json say where sentence-transformers cuts: others look only there."""
    path = folder / "tokenizer_config.json"
    if path.exists():
        content = json.loads(path.read_text(encoding="utf-8"))
        content["model_max_length"] = read_model_folder(folder).limits.max_tokens
        path.write_text(json.dumps(content, indent=2), encoding="utf-8")


def _differences(base: Path, changed: Path) -> dict[str, torch.Tensor]:
    """Of weights that were changed themselves from the base's."""
    before = load_file(base / WEIGHTS_NAME)
    try:
        after = load_file(changed / FULL_NAME)
    except SafetensorError as error:
        raise UserError(f"{changed}: damaged weights ({error}). Train again.") from error
    if unlike := [n for n, w in after.items() if n not in before or w.shape != before[n].shape]:
        raise UserError(
            f"{changed}: changes {unlike[0]}, which {base} has not or in another shape."
        )
    return {name: weight.double() - before[name].double() for name, weight in after.items()}


def _make_private(folder: Path) -> None:
    folder.chmod(0o700)
    for path in folder.rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())


def _replace_folder(new: Path, old: Path) -> None:
    """Rename `new` to `old`; a folder that is there goes first, so that two are never mixed."""
    if old.exists():
        condemned = old.with_name(old.name + ".old")
        if condemned.exists():
            shutil.rmtree(condemned)
        old.rename(condemned)
        new.rename(old)
        shutil.rmtree(condemned)
    else:
        new.rename(old)
