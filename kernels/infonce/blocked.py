"""The two sweeps of InfoNCE over the logits in torch, one block at a time."""

from collections.abc import Iterator

import torch
from torch import Tensor

from .inputs import ContrastiveInputs

# A block of 1 MB stays in a core's own cache while it is processed.
ROWS_PER_BLOCK = 256
COLUMNS_PER_BLOCK = 1024


def negative_sums(inputs: ContrastiveInputs, symmetric: bool) -> tuple[Tensor, Tensor]:
    """log sum exp of the negatives' logits, per query and, if symmetric, per passage.

    It is -inf without negatives.
    """
    by_query = torch.full_like(inputs.scores, -torch.inf)
    by_passage = torch.full_like(inputs.passages[:, 0], -torch.inf)
    for rows, columns, logits in _blocks(inputs):
        by_query[rows] = torch.logaddexp(by_query[rows], logits.logsumexp(1))
        if symmetric:
            by_passage[columns] = torch.logaddexp(by_passage[columns], logits.logsumexp(0))
    return by_query, by_passage


def gradient_sums(
    inputs: ContrastiveInputs, by_query: Tensor, inverse: Tensor
) -> tuple[Tensor, Tensor]:
    """Sums over negatives with the weight exp(logit - by_query) + exp(logit + inverse).

    Args:
        by_query: Shape (queries,).
        inverse: Shape (passages,); -inf if a passage has no such term.

    Returns:
        The sum over passages for each query, and the sum over queries for each passage.
    """
    to_queries = torch.zeros_like(inputs.queries)
    to_passages = torch.zeros_like(inputs.passages)
    for rows, columns, logits in _blocks(inputs):
        weights = torch.exp(logits - by_query[rows, None])
        weights += logits.add_(inverse[None, columns]).exp_()
        to_queries[rows] += weights @ inputs.passages[columns]
        to_passages[columns] += weights.T @ inputs.queries[rows]
    return to_queries, to_passages


def _blocks(inputs: ContrastiveInputs) -> Iterator[tuple[slice, slice, Tensor]]:
    """Blocks of logits, with -inf for every pair that is not a negative."""
    rows_there, columns_there = len(inputs.queries), len(inputs.passages)
    for top in range(0, rows_there, ROWS_PER_BLOCK):
        rows = slice(top, min(top + ROWS_PER_BLOCK, rows_there))
        for left in range(0, columns_there, COLUMNS_PER_BLOCK):
            columns = slice(left, min(left + COLUMNS_PER_BLOCK, columns_there))
            products = inputs.queries[rows] @ inputs.passages[columns].T
            hidden = _hidden(inputs, rows, columns, products)
            yield (
                rows,
                columns,
                products.div_(inputs.temperature).masked_fill_(hidden, -torch.inf),
            )


def _hidden(inputs: ContrastiveInputs, rows: slice, columns: slice, products: Tensor) -> Tensor:
    numbers = torch.arange(columns.start, columns.stop, device=products.device)
    hidden = inputs.positives[rows, None] == numbers[None, :]
    if inputs.margin is not None:
        hidden |= products > inputs.scores[rows, None] + inputs.margin
    mask = inputs.mask
    if mask is not None:
        for label in range(mask.query_labels.shape[1]):
            mine = mask.query_labels[rows, label, None]
            hidden |= mine == mask.passage_labels[None, columns, label]
        for place in range(mask.excluded.shape[1]):
            hidden |= mask.excluded[rows, place, None] == numbers[None, :]
    return hidden
