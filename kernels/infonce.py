"""InfoNCE in memory of O(batch x dimensions): the logits exist one block at a time."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

ROWS_A_BLOCK = 1024
COLUMNS_A_BLOCK = 4096


@dataclass(frozen=True)
class NegativeMask:
    """Which passages are no negatives of which queries, in memory of O(batch).

    Passage j is masked for query i where any label of theirs is equal, or j is among `excluded[i]`.
    The positive itself is never masked.

    Attributes:
        query_labels: int64, shape (queries, labels): the positive's thread and near-duplicate group.
        passage_labels: int64, shape (passages, labels).
        excluded: int64, shape (queries, width): passage positions, filled up with -1.
    """

    query_labels: Tensor
    passage_labels: Tensor
    excluded: Tensor


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
        queries: float32, shape (queries, dimensions); L2-normalised for cosine similarity.
        passages: float32, shape (passages, dimensions): positives and hard negatives of all.
        positives: int64, shape (queries,): positions in `passages`; several may be equal.
        margin: Drop negatives whose dot product exceeds the positive's by more than this; they are
            likely relevant (NV-Retriever, arXiv 2407.15831, and GISTEmbed, 2402.16829, do the like).

    Returns:
        A scalar, differentiable in `queries` and `passages`.
    """
    loss: Tensor = _InfoNCE.apply(
        queries, passages, positives, temperature, symmetric, mask, margin
    )
    return loss


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
        blocks = _Blocks(queries, passages, positives, scores, temperature, mask, margin)
        # Both sums start at the positive's logit, which the blocks leave out.
        by_query = scores / temperature
        negatives = torch.full_like(passages[:, 0], -torch.inf)
        for rows, columns, logits in blocks:
            by_query[rows] = torch.logaddexp(by_query[rows], logits.logsumexp(1))
            if symmetric:
                negatives[columns] = torch.logaddexp(negatives[columns], logits.logsumexp(0))
        by_positive = torch.logaddexp(scores / temperature, negatives[positives])
        loss = (by_query - scores / temperature).mean()
        if symmetric:
            loss = (loss + (by_positive - scores / temperature).mean()) / 2
        ctx.save_for_backward(queries, passages, positives, scores, by_query, by_positive)
        ctx.arguments = (temperature, symmetric, mask, margin)
        return loss

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        queries, passages, positives, scores, by_query, by_positive = ctx.saved_tensors
        temperature, symmetric, mask, margin = ctx.arguments
        blocks = _Blocks(queries, passages, positives, scores, temperature, mask, margin)
        to_queries, to_passages = torch.zeros_like(queries), torch.zeros_like(passages)
        own = torch.exp(scores / temperature - by_query) - 1
        if symmetric:
            own = own + torch.exp(scores / temperature - by_positive) - 1
            # Passage j is the positive of every query in P(j); each has a sum of its own, and all
            # of them share the negatives: sum_i exp(-by_positive_i) = exp(inverse_j).
            inverse = _scattered_logsumexp(-by_positive, positives, len(passages))
        for rows, columns, logits in blocks:
            weights = torch.exp(logits - by_query[rows, None])
            if symmetric:
                weights += torch.exp(logits + inverse[None, columns])
            to_queries[rows] += weights @ passages[columns]
            to_passages[columns] += weights.T @ queries[rows]
        to_queries += own[:, None] * passages[positives]
        to_passages.index_add_(0, positives, own[:, None] * queries)
        scale = gradients[0] / (temperature * len(queries) * (2 if symmetric else 1))
        return to_queries * scale, to_passages * scale, None, None, None, None, None


class _Blocks:
    """Blocks of logits with everything that is no negative at -inf."""

    def __init__(
        self,
        queries: Tensor,
        passages: Tensor,
        positives: Tensor,
        scores: Tensor,
        temperature: float,
        mask: NegativeMask | None,
        margin: float | None,
    ) -> None:
        self._queries, self._passages = queries, passages
        self._positives, self._scores = positives, scores
        self._temperature, self._mask, self._margin = temperature, mask, margin

    def __iter__(self) -> Iterator[tuple[slice, slice, Tensor]]:
        for top in range(0, len(self._queries), ROWS_A_BLOCK):
            rows = slice(top, min(top + ROWS_A_BLOCK, len(self._queries)))
            for left in range(0, len(self._passages), COLUMNS_A_BLOCK):
                columns = slice(left, min(left + COLUMNS_A_BLOCK, len(self._passages)))
                products = self._queries[rows] @ self._passages[columns].T
                hidden = self._hidden(rows, columns, products)
                yield rows, columns, (products / self._temperature).masked_fill_(hidden, -torch.inf)

    def _hidden(self, rows: slice, columns: slice, products: Tensor) -> Tensor:
        numbers = torch.arange(columns.start, columns.stop, device=products.device)
        hidden = self._positives[rows, None] == numbers[None, :]
        if self._margin is not None:
            hidden |= products > self._scores[rows, None] + self._margin
        if self._mask is not None:
            for label in range(self._mask.query_labels.shape[1]):
                mine = self._mask.query_labels[rows, label, None]
                hidden |= mine == self._mask.passage_labels[None, columns, label]
            for place in range(self._mask.excluded.shape[1]):
                hidden |= self._mask.excluded[rows, place, None] == numbers[None, :]
        return hidden


def _scattered_logsumexp(values: Tensor, places: Tensor, size: int) -> Tensor:
    """log sum exp of the values that share a place; -inf where there is none."""
    highest = torch.full((size,), -torch.inf, dtype=values.dtype, device=values.device)
    highest = highest.scatter_reduce(0, places, values, "amax")
    sums = torch.zeros_like(highest).index_add(0, places, torch.exp(values - highest[places]))
    return torch.log(sums) + highest
