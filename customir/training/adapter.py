"""The trainable weights: a LoRA adapter in peft's format, or the model's own weights."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from peft.tuners.lora import Linear
from torch import Tensor, nn

from customir.encoder.torch_encoder import Encoder, encoder_layers
from customir.files import make_private_folder, write_atomically
from customir.kernels.lora_linear import lora_linear, merged_linear
from customir.settings import TrainingSettings

CONFIG_NAME = "adapter_config.json"
WEIGHTS_NAME = "adapter_model.safetensors"
FULL_NAME = "full_model.safetensors"


class FusedLinear(Linear):
    """peft's LoRA linear with a single adapter, computed as one product with the merged weight.

    The merged weight is recomputed whenever A or B changes, which is once per step. The frozen
    weight should be float32: added to a bfloat16 weight, small changes would be rounded away.
    """

    _merged: tuple[Any, Tensor, Tensor | None] | None = None

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        dropout = self.lora_dropout["default"]
        if isinstance(dropout, nn.Identity):
            return self.joined([self], x)
        base: Any = self.get_base_layer()
        down, up = (part["default"].weight for part in (self.lora_A, self.lora_B))
        return lora_linear(x, dropout(x), base.weight, base.bias, down, up, self.scaling["default"])

    def joined(self, linears: Sequence["FusedLinear"], x: Tensor) -> Tensor:
        """Compute linears that share their input as one linear, and concatenate their results.

        B of the joined linear is the block diagonal of theirs. This multiplies a few more zeros,
        but needs a third of the products, which are too narrow to be fast.
        """
        if any(not isinstance(each.lora_dropout["default"], nn.Identity) for each in linears):
            return torch.cat([each(x) for each in linears], -1)
        downs: list[Any] = [each.lora_A["default"].weight for each in linears]
        ups: list[Any] = [each.lora_B["default"].weight for each in linears]
        device = x.device.type
        cast = torch.is_autocast_enabled(device)
        merged, bias = self._merge(linears, torch.get_autocast_dtype(device) if cast else x.dtype)
        alone = len(linears) == 1
        return merged_linear(
            x,
            merged,
            bias,
            downs[0] if alone else torch.cat(downs),
            ups[0] if alone else torch.block_diag(*ups),
            self.scaling["default"],
        )

    def _merge(
        self, linears: Sequence["FusedLinear"], dtype: torch.dtype
    ) -> tuple[Tensor, Tensor | None]:
        """Weight + scale * B A of each, stacked, and the biases; cached until A or B changes."""
        parts: list[tuple[Any, Any, Any]] = [
            (each.get_base_layer(), each.lora_A["default"].weight, each.lora_B["default"].weight)
            for each in linears
        ]
        changing = [weight for _, *branch in parts for weight in branch]
        key = (dtype, *((weight.data_ptr(), weight._version) for weight in changing))
        if self._merged is None or self._merged[0] != key:
            scale = self.scaling["default"]
            with torch.no_grad(), torch.autocast(changing[0].device.type, enabled=False):
                weights = [
                    torch.addmm(base.weight.float(), up, down, alpha=scale).to(dtype)
                    for base, down, up in parts
                ]
                biases = [base.bias for base, *_ in parts]
                bias = None if biases[0] is None else torch.cat(biases).to(dtype)
                self._merged = (key, torch.cat(weights), bias)
        return self._merged[1:]


def attach(encoder: Encoder, settings: TrainingSettings, seed: int) -> PeftModel:
    """Add LoRA to every linear of the (top) layers; only the LoRA weights are trainable.

    The encoder should have been loaded with `master_weights`.

    Hu et al. 2021 (arXiv 2106.09685), section 4.1: W x + alpha / rank * B A x. B starts at zero.
    """
    root, layers = encoder_layers(encoder.model)
    linears = [name for name, module in layers.named_modules() if isinstance(module, nn.Linear)]
    below = len(layers) - (settings.trainable_layers or len(layers))
    adapted = [name for name in linears if int(name.partition(".")[0]) >= below]
    for name in linears:
        if settings.lora_dropout or name not in adapted:
            # Cast once; otherwise each forward pass would cast it again.
            layers.get_submodule(name).to(encoder.dtype)
    config = LoraConfig(
        r=settings.lora_r,
        lora_alpha=settings.lora_alpha,
        lora_dropout=settings.lora_dropout,
        # One pattern, because peft shortens a list to names that match other modules as well.
        target_modules="|".join(re.escape(f"{root}.{name}") for name in adapted),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = get_peft_model(encoder.model, config, autocast_adapter_dtype=True)
    model.eval()
    for module in model.modules():
        if isinstance(module, Linear):
            module.__class__ = FusedLinear
            module.lora_dropout.train()  # the base's own dropout stays off
    return model


def save(model: PeftModel, base: Path, folder: Path) -> Path:
    """Write the adapter in the format of peft's `PeftModel.from_pretrained`; return `folder`."""
    make_private_folder(folder)
    config = model.peft_config["default"]
    config.base_model_name_or_path = str(base)
    config.inference_mode = True
    config.save_pretrained(str(folder))
    write_atomically(folder / CONFIG_NAME, (folder / CONFIG_NAME).read_bytes())
    weights = get_peft_model_state_dict(model, save_embedding_layers=False)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    write_atomically(folder / WEIGHTS_NAME, safetensors.torch.save(tensors, {"format": "pt"}))
    return folder


def unfreeze(encoder: Encoder, trainable_layers: int) -> None:
    """Make the model's own weights trainable: those of the top `trainable_layers`, or all if 0."""
    model = encoder.model
    model.requires_grad_(trainable_layers == 0)
    if trainable_layers:
        encoder.layers[-trainable_layers:].requires_grad_(True)


def save_full(weights: Mapping[str, Tensor], folder: Path) -> Path:
    """Write the changed weights in full, under the transformer's names; return `folder`."""
    make_private_folder(folder)
    tensors = {name: weight.detach().cpu().contiguous() for name, weight in weights.items()}
    write_atomically(folder / FULL_NAME, safetensors.torch.save(tensors, {"format": "pt"}))
    return folder


@contextmanager
def without_dropout(model: nn.Module) -> Iterator[None]:
    """Turn the adapter's dropout off within the context."""
    parts = [part for part in model.modules() if isinstance(part, nn.Dropout) and part.training]
    for part in parts:
        part.eval()
    try:
        yield
    finally:
        for part in parts:
            part.train()
