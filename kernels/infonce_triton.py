# mypy: disable-error-code="no-untyped-def, untyped-decorator, type-arg"
# ruff: noqa: N803 (constants of a kernel are upper-case arguments, as Triton writes them)
"""The two sweeps of InfoNCE over the logits as Triton kernels, after FlashAttention's scheme.

A program owns a block of queries (or of passages) and streams the other side past it (Dao et al.
2022, arXiv 2205.14135, section 3.1), so the logits never reach memory. Both directions are one
kernel each: `BY_QUERY` says which side is owned.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from .contrast import Contrast

OWNED = 32
OTHER = 32


@triton.jit
def _logits(
    own, other, own_at, other_at, owns, others, dimensions, positives, scores,
    query_labels, passage_labels, excluded, margin, inverse_temperature,
    LABELS: tl.constexpr, WIDTH: tl.constexpr, MARGIN: tl.constexpr,
    BY_QUERY: tl.constexpr, OWNED: tl.constexpr, OTHER: tl.constexpr, DIMENSIONS: tl.constexpr,
):  # fmt: skip
    """Logits of a block, -inf where the cell is no negative; and the other side's vectors."""
    axis = tl.arange(0, DIMENSIONS)
    right = tl.load(
        other + other_at[:, None] * dimensions + axis[None, :],
        mask=(other_at[:, None] < others) & (axis[None, :] < dimensions),
        other=0.0,
    )
    products = tl.dot(own, tl.trans(right), input_precision="ieee")
    if BY_QUERY:
        query, passage = own_at[:, None], other_at[None, :]
        queries, passages = owns, others
    else:
        query, passage = other_at[None, :], own_at[:, None]
        queries, passages = others, owns
    asked, there = query < queries, passage < passages
    positive = tl.load(positives + query, mask=asked, other=-1)
    hidden = (positive == passage) | (query >= queries) | (passage >= passages)
    if MARGIN:
        hidden = hidden | (products > tl.load(scores + query, mask=asked, other=0.0) + margin)
    for label in tl.static_range(LABELS):
        mine = tl.load(query_labels + query * LABELS + label, mask=asked, other=-1)
        theirs = tl.load(passage_labels + passage * LABELS + label, mask=there, other=-2)
        hidden = hidden | (mine == theirs)
    for place in tl.static_range(WIDTH):
        hidden = hidden | (
            tl.load(excluded + query * WIDTH + place, mask=asked, other=-1) == passage
        )
    return tl.where(hidden, float("-inf"), products * inverse_temperature), right


@triton.jit
def _sum_kernel(
    owned, other, sums, owns, others, dimensions, positives, scores,
    query_labels, passage_labels, excluded, margin, inverse_temperature,
    LABELS: tl.constexpr, WIDTH: tl.constexpr, MARGIN: tl.constexpr,
    BY_QUERY: tl.constexpr, OWNED: tl.constexpr, OTHER: tl.constexpr, DIMENSIONS: tl.constexpr,
):  # fmt: skip
    """log sum exp over the other side, with a running maximum."""
    own_at = tl.program_id(0) * OWNED + tl.arange(0, OWNED)
    axis = tl.arange(0, DIMENSIONS)
    own = tl.load(
        owned + own_at[:, None] * dimensions + axis[None, :],
        mask=(own_at[:, None] < owns) & (axis[None, :] < dimensions),
        other=0.0,
    )
    highest = tl.full((OWNED,), float("-inf"), tl.float32)
    total = tl.zeros((OWNED,), tl.float32)
    for start in range(0, others, OTHER):
        logits, _ = _logits(
            own, other, own_at, start + tl.arange(0, OTHER), owns, others, dimensions, positives,
            scores, query_labels, passage_labels, excluded, margin, inverse_temperature,
            LABELS, WIDTH, MARGIN, BY_QUERY, OWNED, OTHER, DIMENSIONS,
        )  # fmt: skip
        now = tl.maximum(highest, tl.max(logits, 1))
        base = tl.where(now == float("-inf"), 0.0, now)  # no negative yet: exp(-inf - 0) is 0
        total = total * tl.exp(highest - base) + tl.sum(tl.exp(logits - base[:, None]), 1)
        highest = now
    base = tl.where(highest == float("-inf"), 0.0, highest)
    logs = tl.log(tl.where(total > 0, total, 1.0)) + base
    tl.store(sums + own_at, tl.where(total > 0, logs, float("-inf")), mask=own_at < owns)


@triton.jit
def _pull_kernel(
    owned, other, by_query, inverse, pulled, owns, others, dimensions, positives, scores,
    query_labels, passage_labels, excluded, margin, inverse_temperature,
    LABELS: tl.constexpr, WIDTH: tl.constexpr, MARGIN: tl.constexpr,
    BY_QUERY: tl.constexpr, OWNED: tl.constexpr, OTHER: tl.constexpr, DIMENSIONS: tl.constexpr,
):  # fmt: skip
    """Sum of the other side's vectors with the weights exp(logit - by_query) + exp(logit + inverse)."""
    own_at = tl.program_id(0) * OWNED + tl.arange(0, OWNED)
    axis = tl.arange(0, DIMENSIONS)
    inside = (own_at[:, None] < owns) & (axis[None, :] < dimensions)
    own = tl.load(owned + own_at[:, None] * dimensions + axis[None, :], mask=inside, other=0.0)
    found = tl.zeros((OWNED, DIMENSIONS), tl.float32)
    for start in range(0, others, OTHER):
        other_at = start + tl.arange(0, OTHER)
        logits, right = _logits(
            own, other, own_at, other_at, owns, others, dimensions, positives,
            scores, query_labels, passage_labels, excluded, margin, inverse_temperature,
            LABELS, WIDTH, MARGIN, BY_QUERY, OWNED, OTHER, DIMENSIONS,
        )  # fmt: skip
        if BY_QUERY:
            sums = tl.load(by_query + own_at, mask=own_at < owns, other=0.0)[:, None]
            inverses = tl.load(inverse + other_at, mask=other_at < others, other=0.0)[None, :]
        else:
            sums = tl.load(by_query + other_at, mask=other_at < others, other=0.0)[None, :]
            inverses = tl.load(inverse + own_at, mask=own_at < owns, other=0.0)[:, None]
        weights = tl.exp(logits - sums) + tl.exp(logits + inverses)
        found += tl.dot(weights, right, input_precision="ieee")
    tl.store(pulled + own_at[:, None] * dimensions + axis[None, :], found, mask=inside)


def negative_sums(contrast: Contrast, symmetric: bool) -> tuple[Tensor, Tensor]:
    """As `infonce_blocked.negative_sums`."""
    by_query = torch.empty_like(contrast.scores)
    by_passage = torch.full_like(contrast.passages[:, 0], -torch.inf)
    _launch(_sum_kernel, contrast, True, (), by_query)
    if symmetric:
        _launch(_sum_kernel, contrast, False, (), by_passage)
    return by_query, by_passage


def pulls(contrast: Contrast, by_query: Tensor, inverse: Tensor) -> tuple[Tensor, Tensor]:
    """As `infonce_blocked.pulls`."""
    to_queries = torch.empty_like(contrast.queries, memory_format=torch.contiguous_format)
    to_passages = torch.empty_like(contrast.passages, memory_format=torch.contiguous_format)
    sums = (by_query.contiguous(), inverse.contiguous())
    _launch(_pull_kernel, contrast, True, sums, to_queries)
    _launch(_pull_kernel, contrast, False, sums, to_passages)
    return to_queries, to_passages


def _launch(
    kernel: "triton.JITFunction", contrast: Contrast, by_query: bool, sums: tuple, found: Tensor
) -> None:
    owned, other = contrast.queries.contiguous(), contrast.passages.contiguous()
    if not by_query:
        owned, other = other, owned
    mask = contrast.mask
    nothing = contrast.positives  # a pointer that is not read where there is no mask
    labels = (mask.query_labels.shape[1], mask.excluded.shape[1]) if mask else (0, 0)
    kernel[(triton.cdiv(len(owned), OWNED),)](
        owned,
        other,
        *sums,
        found,
        len(owned),
        len(other),
        owned.shape[1],
        contrast.positives,
        contrast.scores,
        mask.query_labels.contiguous() if mask else nothing,
        mask.passage_labels.contiguous() if mask else nothing,
        mask.excluded.contiguous() if mask else nothing,
        contrast.margin or 0.0,
        1 / contrast.temperature,
        LABELS=labels[0],
        WIDTH=labels[1],
        MARGIN=contrast.margin is not None,
        BY_QUERY=by_query,
        OWNED=OWNED,
        OTHER=OTHER,
        DIMENSIONS=max(16, triton.next_power_of_2(owned.shape[1])),
    )
