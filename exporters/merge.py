"""Merging a LoRA adapter into its base, with any interpolation weight."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from customir.exporters.plain_folder import write_plain_folder
from peft import LoraConfig, PeftModel
from peft.tuners.lora import Linear
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from customir.encoder.folder import WEIGHTS_NAME, read_model_folder
from customir.encoder.torch_encoder import load_transformer
from customir.errors import UserError
from customir.files import make_private_folder

FULL_NAME = "full_model.safetensors"  # the changed weights, as customir.training writes them


def merge_adapter(base: Path, adapter: Path, alpha: float, out: Path) -> Path:
    """Write a complete sentence-transformers folder with the weights base + alpha * delta.

    For a LoRA adapter, delta is scaling * B A. After full fine-tuning, it is the difference between
    the changed weights and the base's.

    alpha interpolates linearly between the base (0: bit-identical weights) and the adapted model
    (1): Wortsman et al., "Robust fine-tuning of zero-shot models" (WiSE-FT, arXiv 2109.01903);
    Xiao et al., "LM-Cocktail" (arXiv 2311.13534).

    Args:
        base: A sentence-transformers folder.
        adapter: A folder that peft saved for that base's transformer, or one with the changed
            weights in full_model.safetensors.
        alpha: The interpolation weight, usually 0 to 1.
        out: The folder to create or replace. It is never visible half-written.

    Returns:
        `out`.

    Raises:
        UserError: a folder is not usable, or the adapter is for another model.
    """
    folder = read_model_folder(base)
    transformer = load_transformer(folder)
    unfinished = out.with_name(out.name + ".part")
    if unfinished.exists():
        shutil.rmtree(unfinished)
    make_private_folder(out.parent)
    write_plain_folder(folder, transformer, unfinished)
    if alpha != 0:
        weights = load_file(unfinished / WEIGHTS_NAME)
        for name, delta in _deltas(adapter, base, transformer, weights).items():
            if name not in weights:
                raise UserError(f"{adapter}: changes {name}, which {base} does not have.")
            weight = weights[name]
            weights[name] = (weight.double() + alpha * delta).to(weight.dtype)
        save_file(weights, unfinished / WEIGHTS_NAME, metadata={"format": "pt"})
    _make_private(unfinished)
    _replace_folder(unfinished, out)
    return out


def _deltas(
    adapter: Path, base: Path, transformer: Any, weights: Mapping[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """The learned deltas, float64, by the name of the weight: scaling * B A, or the difference."""
    if (adapter / FULL_NAME).exists():
        return _differences(adapter, base, weights)
    if not (adapter / "adapter_model.safetensors").exists():
        raise UserError(f"{adapter}: no adapter_model.safetensors. Train again.")
    try:
        config = LoraConfig.from_pretrained(str(adapter))
        if config.bias != "none" or config.modules_to_save or config.use_dora:
            raise UserError(f"{adapter}: more than plain LoRA (bias, saved modules or DoRA).")
        PeftModel.from_pretrained(transformer, str(adapter), config=config).double()
    except (ValueError, TypeError, RuntimeError, KeyError, OSError, SafetensorError) as error:
        raise UserError(f"{adapter}: not a LoRA adapter for {base} ({error}).") from error
    deltas: dict[str, torch.Tensor] = {}
    for name, module in transformer.named_modules():
        if isinstance(module, Linear):
            deltas[f"{name}.weight"] = module.get_delta_weight("default").detach()
    return deltas


def _differences(
    changed: Path, base: Path, before: Mapping[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """The differences between fully fine-tuned weights and the base's."""
    try:
        after = load_file(changed / FULL_NAME)
    except SafetensorError as error:
        raise UserError(f"{changed}: damaged weights ({error}). Train again.") from error
    if unlike := [n for n, w in after.items() if n not in before or w.shape != before[n].shape]:
        raise UserError(
            f"{changed}: changes {unlike[0]}, which {base} lacks or has in another shape."
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
    """Rename `new` to `old`; an existing `old` is moved away first, so that they never mix."""
    if old.exists():
        condemned = old.with_name(old.name + ".old")
        if condemned.exists():
            shutil.rmtree(condemned)
        old.rename(condemned)
        new.rename(old)
        shutil.rmtree(condemned)
    else:
        new.rename(old)
