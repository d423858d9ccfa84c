"""A frozen linear with a LoRA branch as one operation, through the fastest product there is."""

import os
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from .results import once
from .split_product import split_product, takes


def product(left: Tensor, right: Tensor, bias: Tensor | None = None) -> Tensor:
    """left @ right.T + bias, as `torch.nn.functional.linear`, without a gradient.

    In float32 on a CPU, torch goes through MKL, which leaves half of the vector width unused where
    the processor isn't Intel's; oneDNN, which torch brings too, does not. In bfloat16 torch uses
    oneDNN itself, but first spreads the bias over the result; oneDNN adds it as it multiplies.
    A processor with tiles for bfloat16 multiplies float32 by these, as exactly (`split_product`).
    """
    if takes(left, right):
        return split_product(left, right, bias)
    worth = left.dtype == torch.float32 or bias is not None
    if left.device.type == "cpu" and left.dtype in ONEDNN and worth:
        found: Tensor = torch.ops.mkldnn._linear_pointwise(left, right, bias, "none", [], "")
        return found
    return functional.linear(left, right, bias)


def _in_onednn(dtype: torch.dtype) -> bool:
    """Whether torch's linear of oneDNN is there for this type, gives what it should, and is worth it."""
    if not torch.backends.mkldnn.is_available() or (dtype == torch.float32 and _by_intel()):
        return False
    left, right = torch.arange(6.0).reshape(2, 3), torch.arange(12.0).reshape(4, 3)
    left, right, bias = left.to(dtype), right.to(dtype), torch.arange(4.0).to(dtype)
    try:
        found = torch.ops.mkldnn._linear_pointwise(left, right, bias, "none", [], "")
    except (AttributeError, RuntimeError):
        return False
    return torch.equal(found, left @ right.T + bias)


def _by_intel() -> bool:
    about = Path("/proc/cpuinfo")
    return about.exists() and "GenuineIntel" in about.read_text(encoding="utf-8")


# oneDNN keeps the code that it compiles for each shape, by default for 1,024 of them. Torch's attention,
# where ours was not compiled, meets ever new shapes, and memory would grow with a batch. It reads
# this when it is first used.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "128")
ONEDNN = {dtype for dtype in (torch.float32, torch.bfloat16) if _in_onednn(dtype)}


class FastLinear(nn.Linear):
    """A linear that multiplies by `product`, in the type of its input, whatever its weight's."""

    def forward(self, input: Tensor) -> Tensor:
        if torch.is_autocast_enabled(input.device.type):
            return super().forward(input)
        if torch.is_grad_enabled() and (input.requires_grad or self.weight.requires_grad):
            found: Tensor = _Linear.apply(input, self.weight, self.bias)
            return found
        bias = None if self.bias is None else self.bias.to(input.dtype)
        return product(input, self.weight.to(input.dtype), bias)


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(inputs, weight)
        cast = None if bias is None else bias.to(inputs.dtype)
        return product(inputs, weight.to(inputs.dtype), cast)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        inputs, weight = ctx.saved_tensors
        to_inputs = to_weight = to_bias = None
        if ctx.needs_input_grad[0]:
            to_inputs = product(gradients[0], weight.T.to(inputs.dtype))
        gradient = gradients[0].reshape(-1, len(weight))
        if ctx.needs_input_grad[1]:
            flat = inputs.reshape(-1, inputs.shape[-1])
            to_weight = product(gradient.T, flat.T).to(weight.dtype)
        if ctx.needs_input_grad[2]:
            to_bias = gradient.sum(0, dtype=torch.float32).to(weight.dtype)
        return to_inputs, to_weight, to_bias


def merged_linear(
    inputs: Tensor, merged: Tensor, bias: Tensor | None, down: Tensor, up: Tensor, scale: float
) -> Tensor:
    """weight x + bias + scale * up (down x) as one product, by `merged`: weight + scale * up down.

    Hu et al. 2021 (arXiv 2106.09685), section 4.1: the merged weight that they infer with. To learn,
    only the gradients of `down` and `up` need products with the rank. No gradient is made for
    `merged` and `bias`; between forward and backward only the inputs are kept.

    Args:
        inputs: Shape (..., in).
        merged: Shape (out, in); float32 or bfloat16, which is what is computed in.
        bias: Frozen, shape (out,).
        down: LoRA's A, float32, shape (rank, in).
        up: LoRA's B, float32, shape (out, rank).

    Returns:
        Shape (..., out), of `merged`'s type.
    """
    found: Tensor = _MergedLinear.apply(inputs, merged, bias, down, up, scale)
    return found


class _MergedLinear(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        inputs: Tensor,
        merged: Tensor,
        bias: Tensor | None,
        down: Tensor,
        up: Tensor,
        scale: float,
    ) -> Tensor:
        with _without_autocast(inputs.device.type):
            ctx.scale, ctx.type = scale, inputs.dtype
            flat = inputs.reshape(-1, inputs.shape[-1]).to(merged.dtype)
            cast = None if bias is None else bias.to(merged.dtype)
            narrower = len(merged) < merged.shape[1]
            multiply = partial(product, flat, merged, cast)
            made = once(multiply) if narrower else multiply()
            ctx.save_for_backward(flat, merged, down, up)
            return made.reshape(*inputs.shape[:-1], len(merged))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        flat, merged, down, up = ctx.saved_tensors
        with _without_autocast(merged.device.type):
            gradient = gradients[0].reshape(-1, len(merged)).to(merged.dtype)
            to_down, to_up = _to_branch_weights(gradient, flat, down, up, ctx.scale)
            to_inputs = None
            if ctx.needs_input_grad[0]:
                wide = (*gradients[0].shape[:-1], merged.shape[1])
                to_inputs = product(gradient, merged.T).reshape(wide).to(ctx.type)
            return to_inputs, None, None, to_down, to_up, None


def lora_linear(
    inputs: Tensor,
    branch: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    down: Tensor,
    up: Tensor,
    scale: float,
) -> Tensor:
    """weight x + bias + scale * up (down dropped), where dropout gives the branch another input.

    As `merged_linear` otherwise.

    Args:
        branch: `inputs` after dropout, of the same shape.
        weight: Frozen, shape (out, in); float32 or bfloat16, which is what is computed in.
    """
    found: Tensor = _LoRALinear.apply(inputs, branch, weight, bias, down, up, scale)
    return found


class _LoRALinear(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        inputs: Tensor,
        branch: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        down: Tensor,
        up: Tensor,
        scale: float,
    ) -> Tensor:
        with _without_autocast(inputs.device.type):
            ctx.scale, ctx.types = scale, (inputs.dtype, branch.dtype)
            flat = inputs.reshape(-1, inputs.shape[-1]).to(weight.dtype)
            dropped = branch.reshape(flat.shape).to(weight.dtype)
            made = product(flat, weight, None if bias is None else bias.to(weight.dtype))
            narrow = product(dropped, down.to(weight.dtype))
            made.addmm_(narrow, up.T.to(weight.dtype), alpha=scale)
            ctx.save_for_backward(dropped, weight, down, up)
            return made.reshape(*inputs.shape[:-1], len(weight))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        dropped, weight, down, up = ctx.saved_tensors
        with _without_autocast(weight.device.type):
            gradient = gradients[0].reshape(-1, len(weight)).to(weight.dtype)
            to_down, to_up = _to_branch_weights(gradient, dropped, down, up, ctx.scale)
            to_inputs = to_branch = None
            wide = (*gradients[0].shape[:-1], weight.shape[1])
            if ctx.needs_input_grad[0]:
                to_inputs = product(gradient, weight.T).reshape(wide).to(ctx.types[0])
            if ctx.needs_input_grad[1]:
                to_narrow = product(gradient, up.T.to(weight.dtype)) * ctx.scale
                made = product(to_narrow, down.T.to(weight.dtype))
                to_branch = made.reshape(wide).to(ctx.types[1])
            return to_inputs, to_branch, None, None, to_down, to_up, None


def _without_autocast(device: str) -> AbstractContextManager[Any]:
    """Products in the types given. Where autocast is off already, nothing: to turn it off takes time."""
    if torch.is_autocast_enabled(device):
        return torch.autocast(device, enabled=False)
    return nullcontext()


def _to_branch_weights(
    gradient: Tensor, branch: Tensor, down: Tensor, up: Tensor, scale: float
) -> tuple[Tensor, Tensor]:
    """The gradients of A and B from that of the result, (rows, out), and the branch's input."""
    to_narrow = product(gradient, up.T.to(gradient.dtype))
    narrow = product(branch, down.to(branch.dtype))
    to_down = product(to_narrow.T, branch.T).to(down.dtype) * scale
    to_up = product(gradient.T, narrow.T).to(up.dtype) * scale
    return to_down, to_up
