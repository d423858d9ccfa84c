"""The formula in float64, text by text, which every kernel approximates."""

from collections.abc import Sequence

import torch
from torch import Tensor


def attention(qkv: Tensor, lengths: Sequence[int], heads: int, bias: Tensor | None) -> Tensor:
    """Like `packed_attention`, without unused rows: float64, shape (tokens, heads * width)."""
    contexts = []
    for part in qkv.double().split(list(lengths)):
        queries, keys, values = part.view(len(part), 3, heads, -1).permute(1, 2, 0, 3)
        scores = queries @ keys.mT / queries.shape[-1] ** 0.5
        if bias is not None:
            scores = scores + bias[0, :, : len(part), : len(part)]
        contexts.append((scores.softmax(-1) @ values).transpose(0, 1).reshape(len(part), -1))
    return torch.cat(contexts)
