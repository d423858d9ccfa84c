"""InfoNCE in O(batch x dimensions) memory: only one block of logits exists at a time."""

from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from . import blocked
from .inputs import ContrastiveInputs, NegativeMask


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
    """The mean contrastive loss of the queries (van den Oord et al. 2018, arXiv 1807.03748, eq. 4).

    Let s_ij = queries_i . passages_j / temperature, and let p(i) be the positive of query i. The
    sum runs over the unmasked negatives of i and p(i) itself:

        loss = mean_i( log sum_j exp(s_ij) - s_ip(i) )

    If `symmetric`, the result is the mean of this loss and of the same loss from each positive to
    the queries. There, query k counts for passage p(i) if p(i) is an unmasked negative of k, or if
    k = i.

    Args:
        queries: Shape (queries, dimensions); L2-normalised for cosine similarity. float32; half
            precision is computed in float32 and gets a gradient in half precision.
        passages: Like `queries`, (passages, dimensions): the positives and hard negatives of all
            queries.
        positives: Positions in `passages`, int64, shape (queries,); several may be equal.
        margin: Drop negatives whose dot product exceeds the positive's by more than this, because
            they are probably relevant (similar to NV-Retriever, arXiv 2407.15831, and GISTEmbed,
            arXiv 2402.16829).

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
    """The module with the two sweeps over the logits: in Triton on a GPU, otherwise in torch."""
    if device.type == "cuda":
        from . import triton_kernels  # only torch's GPU builds include Triton

        return triton_kernels
    return blocked


class _InfoNCE(torch.autograd.Function):
    """Saves a log-sum-exp per query (and per positive); backward computes the blocks again."""

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
        inputs = ContrastiveInputs(queries, passages, positives, scores, temperature, mask, margin)
        negatives = sweeps_for(queries.device).negative_sums(inputs, symmetric)
        own = scores / temperature
        by_query = torch.logaddexp(own, negatives[0])
        by_positive = torch.logaddexp(own, negatives[1][positives])
        ctx.inputs, ctx.symmetric = inputs, symmetric
        ctx.sums = (by_query, by_positive)
        loss = (by_query - own).mean()
        return (loss + (by_positive - own).mean()) / 2 if symmetric else loss

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        inputs, (by_query, by_positive) = ctx.inputs, ctx.sums
        own = inputs.scores / inputs.temperature
        weight = torch.exp(own - by_query) - 1
        inverse = torch.full_like(inputs.passages[:, 0], -torch.inf)
        if ctx.symmetric:
            weight = weight + torch.exp(own - by_positive) - 1
            # A passage may be the positive of several queries, each with a sum of its own over the
            # same negatives: sum_i exp(-by_positive_i) = exp(inverse).
            inverse = _scattered_logsumexp(-by_positive, inputs.positives, len(inputs.passages))
        sweeps = sweeps_for(inputs.queries.device)
        to_queries, to_passages = sweeps.gradient_sums(inputs, by_query, inverse)
        to_queries += weight[:, None] * inputs.passages[inputs.positives]
        to_passages.index_add_(0, inputs.positives, weight[:, None] * inputs.queries)
        directions = 2 if ctx.symmetric else 1
        scale = gradients[0] / (inputs.temperature * len(inputs.queries) * directions)
        return to_queries * scale, to_passages * scale, None, None, None, None, None


def _scattered_logsumexp(values: Tensor, places: Tensor, size: int) -> Tensor:
    """log sum exp of the values with the same place; -inf for a place without values."""
    highest = torch.full((size,), -torch.inf, dtype=values.dtype, device=values.device)
    highest = highest.scatter_reduce(0, places, values, "amax")
    sums = torch.zeros_like(highest).index_add(0, places, torch.exp(values - highest[places]))
    return torch.log(sums) + highest
