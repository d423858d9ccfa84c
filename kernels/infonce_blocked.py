"""The two sweeps of InfoNCE over the logits, a block at a time, in torch."""

from collections.abc import Iterator

import torch
from torch import Tensor

from .contrast import Contrast

# A block of 1 MB stays in a core's own cache while it is worked on.
ROWS_A_BLOCK = 256
COLUMNS_A_BLOCK = 1024


def negative_sums(contrast: Contrast, symmetric: bool) -> tuple[Tensor, Tensor]:
    """log sum exp of the negatives' logits, a query and (where symmetric) a passage; -inf for none."""
    by_query = torch.full_like(contrast.scores, -torch.inf)
    by_passage = torch.full_like(contrast.passages[:, 0], -torch.inf)
    for rows, columns, logits in _blocks(contrast):
        by_query[rows] = torch.logaddexp(by_query[rows], logits.logsumexp(1))
        if symmetric:
            by_passage[columns] = torch.logaddexp(by_passage[columns], logits.logsumexp(0))
    return by_query, by_passage


def pulls(contrast: Contrast, by_query: Tensor, inverse: Tensor) -> tuple[Tensor, Tensor]:
    """Sums over negatives with the weight exp(logit - by_query) + exp(logit + inverse).

    Args:
        by_query: Shape (queries,).
        inverse: Shape (passages,); -inf where there is no such term.

    Returns:
        To the queries (of passages), and to the passages (of queries).
    """
    to_queries = torch.zeros_like(contrast.queries)
    to_passages = torch.zeros_like(contrast.passages)
    for rows, columns, logits in _blocks(contrast):
        weights = torch.exp(logits - by_query[rows, None])
        weights += logits.add_(inverse[None, columns]).exp_()
        to_queries[rows] += weights @ contrast.passages[columns]
        to_passages[columns] += weights.T @ contrast.queries[rows]
    return to_queries, to_passages


def _blocks(contrast: Contrast) -> Iterator[tuple[slice, slice, Tensor]]:
    """Blocks of logits with everything that is no negative at -inf."""
    rows_there, columns_there = len(contrast.queries), len(contrast.passages)
    for top in range(0, rows_there, ROWS_A_BLOCK):
        rows = slice(top, min(top + ROWS_A_BLOCK, rows_there))
        for left in range(0, columns_there, COLUMNS_A_BLOCK):
            columns = slice(left, min(left + COLUMNS_A_BLOCK, columns_there))
            products = contrast.queries[rows] @ contrast.passages[columns].T
            hidden = _hidden(contrast, rows, columns, products)
            yield (
                rows,
                columns,
                products.div_(contrast.temperature).masked_fill_(hidden, -torch.inf),
            )


def _hidden(contrast: Contrast, rows: slice, columns: slice, products: Tensor) -> Tensor:
    numbers = torch.arange(columns.start, columns.stop, device=products.device)
    hidden = contrast.positives[rows, None] == numbers[None, :]
    if contrast.margin is not None:
        hidden |= products > contrast.scores[rows, None] + contrast.margin
    mask = contrast.mask
    if mask is not None:
        for label in range(mask.query_labels.shape[1]):
            mine = mask.query_labels[rows, label, None]
            hidden |= mine == mask.passage_labels[None, columns, label]
        for place in range(mask.excluded.shape[1]):
            hidden |= mask.excluded[rows, place, None] == numbers[None, :]
    return hidden
