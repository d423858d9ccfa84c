"""Attention in torch over padded texts, and the functions that pad packed rows.

It is used on a GPU, and on a CPU if attention.cpp was not compiled.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


def padded_attention(
    queries: Tensor, keys: Tensor, values: Tensor, missing: Tensor | None, bias: Tensor | None
) -> Tensor:
    """softmax(queries keys^T / sqrt(width) + bias) values.

    This uses torch's fused attention. If a gradient is needed in bfloat16 on a CPU, it uses plain
    products instead, because the backward pass of torch's attention is several times slower there.

    Args:
        queries: Shape (texts, heads, tokens, width), like `keys` and `values`.
        missing: Which keys are padding; bool, shape (texts, 1, 1, tokens).
        bias: Shape (1, heads, tokens, tokens).
    """
    mask = None if bias is None else bias.to(queries.dtype)
    if missing is not None:
        hidden = torch.zeros_like(missing, dtype=queries.dtype).masked_fill_(missing, -torch.inf)
        mask = hidden if mask is None else mask + hidden
    learning = queries.requires_grad and torch.is_grad_enabled()
    if queries.device.type == "cuda" or queries.dtype != torch.bfloat16 or not learning:
        found: Tensor = functional.scaled_dot_product_attention(queries, keys, values, mask)
        return found
    scores = (queries * queries.shape[-1] ** -0.5) @ keys.transpose(-1, -2)
    if mask is not None:
        scores += mask  # in place, without a copy; the backward pass needs nothing of it
    return scores.softmax(-1) @ values


def scatter(rows: Tensor, order: Tensor, gaps: Tensor, places: Tensor) -> Tensor:
    """rows[order], with a gradient without a scattered sum, since each row is used at most once.

    Args:
        rows: Shape (rows, ...).
        order: int64, shape (n,).
        gaps: The positions in `order` that are padding, int64.
        places: The position of each row in `order`, int64, shape (rows,). Unused rows come last.
    """
    found: Tensor = _Scatter.apply(rows, order, gaps, places)
    return found


def gather(scattered: Tensor, order: Tensor, gaps: Tensor, places: Tensor) -> Tensor:
    """The inverse of `scatter`: take each row from its position."""
    found: Tensor = _Gather.apply(scattered, order, gaps, places)
    return found


class _Scatter(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, order: Tensor, gaps: Tensor, places: Tensor) -> Tensor:
        ctx.save_for_backward(places)
        ctx.read = len(order) - len(gaps)
        return rows.index_select(0, order)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (places,) = ctx.saved_tensors
        found = gradients[0].index_select(0, places)
        found[ctx.read :] = 0  # unused rows come last
        return found, None, None, None


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, scattered: Tensor, order: Tensor, gaps: Tensor, places: Tensor) -> Tensor:
        ctx.save_for_backward(order, gaps)
        return scattered.index_select(0, places)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        order, gaps = ctx.saved_tensors
        found = gradients[0].index_select(0, order)
        found[gaps] = 0  # padding has no gradient
        return found, None, None, None
