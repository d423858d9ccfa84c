"""Attention by torch within each of several texts whose tokens stand one after the other.

For a GPU, and for a CPU where kernels/attention.cpp was not compiled.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


def attention(
    queries: Tensor, keys: Tensor, values: Tensor, missing: Tensor | None, bias: Tensor | None
) -> Tensor:
    """softmax(queries keys^T / sqrt(width) + bias) values.

    By torch's own fused attention, but as plain products where a gradient is wanted in bfloat16 on a
    CPU: there torch's is several times slower backward.

    Args:
        queries: Shape (texts, heads, tokens, width); so are `keys` and `values`.
        missing: bool, shape (texts, 1, 1, tokens): keys that are not there.
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
        scores += mask  # in place: no copy forward, nothing backward
    return scores.softmax(-1) @ values


def spread(rows: Tensor, order: Tensor, gaps: Tensor, places: Tensor) -> Tensor:
    """rows[order], and its gradient without a scattered sum: each row is read once, or not at all.

    Args:
        rows: Shape (rows, ...).
        order: int64, shape (n,).
        gaps: int64: positions in `order` whose result nobody reads.
        places: int64, shape (rows,): the position in `order` of each row; those in none stand last.
    """
    found: Tensor = _Spread.apply(rows, order, gaps, places)
    return found


def collect(spread_rows: Tensor, order: Tensor, gaps: Tensor, places: Tensor) -> Tensor:
    """The inverse of `spread`: each row from its place."""
    found: Tensor = _Collect.apply(spread_rows, order, gaps, places)
    return found


class _Spread(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, order: Tensor, gaps: Tensor, places: Tensor) -> Tensor:
        ctx.save_for_backward(places)
        ctx.read = len(order) - len(gaps)
        return rows.index_select(0, order)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (places,) = ctx.saved_tensors
        found = gradients[0].index_select(0, places)
        found[ctx.read :] = 0  # rows that nobody reads stand last
        return found, None, None, None


class _Collect(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, spread_rows: Tensor, order: Tensor, gaps: Tensor, places: Tensor
    ) -> Tensor:
        ctx.save_for_backward(order, gaps)
        return spread_rows.index_select(0, places)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        order, gaps = ctx.saved_tensors
        found = gradients[0].index_select(0, order)
        found[gaps] = 0  # a padded query has no gradient
        return found, None, None, None
