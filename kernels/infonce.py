"""InfoNCE in memory of O(batch x dimensions): the logits exist one block at a time."""

from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from . import infonce_blocked
from .contrast import Contrast, NegativeMask


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
    """The contrastive loss, mean over the queries (van den Oord et al. 2018, arXiv 1807.03748, eq. 4).

    With s_ij = queries_i . passages_j / temperature, p(i) the positive of query i, and the sum over
    the unmasked negatives of i and p(i) itself:

        loss = mean_i( log sum_j exp(s_ij) - s_ip(i) )

    Symmetric: the mean of that and of the same from each positive to the queries, where query k
    counts for passage p(i) if p(i) is an unmasked negative of k, or k = i.

    Args:
        queries: Shape (queries, dimensions); L2-normalised for cosine similarity. float32; what
            is in half precision is computed in float32 and gets its gradient in half.
        passages: As `queries`, (passages, dimensions): positives and hard negatives of all.
        positives: int64, shape (queries,): positions in `passages`; several may be equal.
        margin: Drop negatives whose dot product exceeds the positive's by more than this; they are
            likely relevant (NV-Retriever, arXiv 2407.15831, and GISTEmbed, 2402.16829, do the like).

    Returns:
        A scalar, differentiable in `queries` and `passages`.
    """
    if queries.dtype.itemsize < 4:
        queries, passages = queries.float(), passages.float()
    loss: Tensor = _InfoNCE.apply(
        queries, passages, positives, temperature, symmetric, mask, margin
    )
    return loss


def sweeps_for(device: torch.device) -> ModuleType:
    """Where the two sweeps over the logits are done: Triton on a GPU, blocks in torch elsewhere."""
    if device.type == "cuda":
        from . import infonce_triton  # Triton comes with torch's GPU builds alone

        return infonce_triton
    return infonce_blocked


class _InfoNCE(torch.autograd.Function):
    """Forward keeps a log-sum-exp a query (and a positive); backward makes the blocks again."""

    @staticmethod
    def forward(
        ctx: Any,
        queries: Tensor,
        passages: Tensor,
        positives: Tensor,
        temperature: float,
        symmetric: bool,
        mask: NegativeMask | None,
        margin: float | None,
    ) -> Tensor:
        scores = (queries * passages[positives]).sum(1)
        contrast = Contrast(queries, passages, positives, scores, temperature, mask, margin)
        negatives = sweeps_for(queries.device).negative_sums(contrast, symmetric)
        own = scores / temperature
        by_query = torch.logaddexp(own, negatives[0])
        by_positive = torch.logaddexp(own, negatives[1][positives])
        ctx.contrast, ctx.symmetric = contrast, symmetric
        ctx.sums = (by_query, by_positive)
        loss = (by_query - own).mean()
        return (loss + (by_positive - own).mean()) / 2 if symmetric else loss

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        contrast, (by_query, by_positive) = ctx.contrast, ctx.sums
        own = contrast.scores / contrast.temperature
        pull = torch.exp(own - by_query) - 1
        inverse = torch.full_like(contrast.passages[:, 0], -torch.inf)
        if ctx.symmetric:
            pull = pull + torch.exp(own - by_positive) - 1
            # A passage may be the positive of several queries, each with a sum of its own over the
            # same negatives: sum_i exp(-by_positive_i) = exp(inverse).
            inverse = _scattered_logsumexp(-by_positive, contrast.positives, len(contrast.passages))
        sweeps = sweeps_for(contrast.queries.device)
        to_queries, to_passages = sweeps.pulls(contrast, by_query, inverse)
        to_queries += pull[:, None] * contrast.passages[contrast.positives]
        to_passages.index_add_(0, contrast.positives, pull[:, None] * contrast.queries)
        arms = 2 if ctx.symmetric else 1
        scale = gradients[0] / (contrast.temperature * len(contrast.queries) * arms)
        return to_queries * scale, to_passages * scale, None, None, None, None, None


def _scattered_logsumexp(values: Tensor, places: Tensor, size: int) -> Tensor:
    """log sum exp of the values that share a place; -inf where there is none."""
    highest = torch.full((size,), -torch.inf, dtype=values.dtype, device=values.device)
    highest = highest.scatter_reduce(0, places, values, "amax")
    sums = torch.zeros_like(highest).index_add(0, places, torch.exp(values - highest[places]))
    return torch.log(sums) + highest
