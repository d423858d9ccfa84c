"""A linear with a LoRA branch as one operation, by the processor's fastest matrix product."""

from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ..activation_cache import record_or_replay
from .matmul import product


class FastLinear(nn.Linear):
    """A linear that uses `product`, in the type of its input, whatever the type of its weight."""

    def forward(self, input: Tensor) -> Tensor:
        if torch.is_autocast_enabled(input.device.type):
            return super().forward(input)
        if torch.is_grad_enabled() and (input.requires_grad or self.weight.requires_grad):
            result: Tensor = _Linear.apply(input, self.weight, self.bias)
            return result
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
    """weight x + bias + scale * up (down x) as one product with `merged`, weight + scale * up down.

    Hu et al. 2021 (arXiv 2106.09685), section 4.1, use the merged weight for inference. In
    training, only the gradients of `down` and `up` need low-rank products. No gradient is computed
    for `merged` and `bias`, and only the inputs are saved between forward and backward.

    Args:
        inputs: Shape (..., in).
        merged: Shape (out, in); float32 or bfloat16, which is the type of the computation.
        bias: Frozen, shape (out,).
        down: LoRA's A, float32, shape (rank, in).
        up: LoRA's B, float32, shape (out, rank).

    Returns:
        Shape (..., out), of `merged`'s type.
    """
    result: Tensor = _MergedLinear.apply(inputs, merged, bias, down, up, scale)
    return result


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
            result = record_or_replay(multiply) if narrower else multiply()
            ctx.save_for_backward(flat, merged, down, up)
            return result.reshape(*inputs.shape[:-1], len(merged))

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
    """weight x + bias + scale * up (down branch), for a branch with dropout on its input.

    The rest is as in `merged_linear`.

    Args:
        branch: `inputs` after dropout, of the same shape.
        weight: Frozen, shape (out, in); float32 or bfloat16, which is the type of the computation.
    """
    result: Tensor = _LoRALinear.apply(inputs, branch, weight, bias, down, up, scale)
    return result


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
            result = product(flat, weight, None if bias is None else bias.to(weight.dtype))
            narrow = product(dropped, down.to(weight.dtype))
            result.addmm_(narrow, up.T.to(weight.dtype), alpha=scale)
            ctx.save_for_backward(dropped, weight, down, up)
            return result.reshape(*inputs.shape[:-1], len(weight))

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
                result = product(to_narrow, down.T.to(weight.dtype))
                to_branch = result.reshape(wide).to(ctx.types[1])
            return to_inputs, to_branch, None, None, to_down, to_up, None


def _without_autocast(device: str) -> AbstractContextManager[Any]:
    """Turn autocast off, unless it is off already, because turning it off takes time."""
    if torch.is_autocast_enabled(device):
        return torch.autocast(device, enabled=False)
    return nullcontext()


def _to_branch_weights(
    gradient: Tensor, branch: Tensor, down: Tensor, up: Tensor, scale: float
) -> tuple[Tensor, Tensor]:
    """The gradients of A and B, from the result's gradient (rows, out) and the branch's input."""
    to_narrow = product(gradient, up.T.to(gradient.dtype))
    narrow = product(branch, down.to(branch.dtype))
    to_down = product(to_narrow.T, branch.T).to(down.dtype) * scale
    to_up = product(gradient.T, narrow.T).to(up.dtype) * scale
    return to_down, to_up
