"""The definition of the loss, over the whole matrix of logits, for testing the streamed sweeps."""

import torch
from torch import Tensor

from .inputs import NegativeMask


def info_nce(
    queries: Tensor,
    passages: Tensor,
    positives: Tensor,
    temperature: float,
    *,
    symmetric: bool = False,
    mask: NegativeMask | None = None,
    margin: float | None = None,
) -> Tensor:
    """Like `loss.info_nce`, in O(queries x passages) memory."""
    products = queries @ passages.T
    own = products[torch.arange(len(queries)), positives]
    negative = torch.ones_like(products, dtype=torch.bool)
    negative[torch.arange(len(queries)), positives] = False
    if margin is not None:
        negative &= products <= own[:, None] + margin
    if mask is not None:
        same = mask.query_labels[:, None] == mask.passage_labels[None]
        numbers = torch.arange(len(passages), device=queries.device)
        excluded = mask.excluded[:, :, None] == numbers[None, None, :]
        negative &= ~same.any(2) & ~excluded.any(1)
    logits = (products / temperature).masked_fill(~negative, -torch.inf)
    own = own / temperature
    loss = (torch.logaddexp(logits.logsumexp(1), own) - own).mean()
    if not symmetric:
        return loss
    inverse = (torch.logaddexp(logits.logsumexp(0)[positives], own) - own).mean()
    return (loss + inverse) / 2
