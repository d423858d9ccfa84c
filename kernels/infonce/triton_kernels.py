# mypy: disable-error-code="no-untyped-def, untyped-decorator, type-arg"
# ruff: noqa: N803 (constants of a kernel are upper-case arguments, as Triton writes them)
"""The two sweeps of InfoNCE over the logits as Triton kernels, after FlashAttention's scheme.

A program owns a block of queries (or of passages) and iterates over blocks of the other side (Dao
et al. 2022, arXiv 2205.14135, section 3.1), so the logits are never written to memory. Each sweep
is one kernel for both directions; `BY_QUERY` says which side is owned.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.nn import functional

from .inputs import ContrastiveInputs

# Rows of a block, and the number of their dimensions that are multiplied at a time. With these
# sizes no registers are spilled, and at most 64 KB of shared memory are used, on sm_86 and sm_90.
OWNED, STEP = 128, 32
# Columns of a block of the other side, in the sweep that sums logits and in that for gradients.
SUM_COLUMNS, GRADIENT_COLUMNS = 64, 32
# Dimensions of the gradient that one program sums. Other programs compute the same logits for the
# other dimensions.
PART = 128
WARPS, STAGES = 8, 2
# Sizes that vary between batches; the kernels are not recompiled for them.
VARYING = ("owns", "others")
# On NVIDIA's tensor cores, three products in TF32 replace one in float32.
PRECISION = "tf32x3" if torch.version.cuda else "ieee"


@triton.jit
def _logits(
    own, other, own_at, other_at, owns, others, dimensions, positives, scores,
    query_labels, passage_labels, excluded, margin, inverse_temperature,
    LABELS: tl.constexpr, WIDTH: tl.constexpr, MARGIN: tl.constexpr, BY_QUERY: tl.constexpr,
    OWNED: tl.constexpr, OTHER: tl.constexpr, STEP: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """The logits of a block, -inf for pairs that are not negatives."""
    products = tl.zeros((OWNED, OTHER), tl.float32)
    for first in range(0, dimensions, STEP):
        axis = first + tl.arange(0, STEP)
        left = tl.load(
            own + own_at[:, None] * dimensions + axis[None, :],
            mask=(own_at[:, None] < owns) & (axis[None, :] < dimensions),
            other=0.0,
        )
        right = tl.load(
            other + other_at[:, None] * dimensions + axis[None, :],
            mask=(other_at[:, None] < others) & (axis[None, :] < dimensions),
            other=0.0,
        )
        products = tl.dot(left, tl.trans(right), products, input_precision=PRECISION)
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
    return tl.where(hidden, float("-inf"), products * inverse_temperature)


@triton.jit(do_not_specialize=VARYING)
def _sum_kernel(
    owned, other, sums, owns, others, dimensions, positives, scores,
    query_labels, passage_labels, excluded, margin, inverse_temperature,
    LABELS: tl.constexpr, WIDTH: tl.constexpr, MARGIN: tl.constexpr, BY_QUERY: tl.constexpr,
    OWNED: tl.constexpr, OTHER: tl.constexpr, STEP: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """log sum exp over the other side, with a running maximum."""
    own_at = tl.program_id(0) * OWNED + tl.arange(0, OWNED)
    highest = tl.full((OWNED,), float("-inf"), tl.float32)
    total = tl.zeros((OWNED,), tl.float32)
    for start in range(0, others, OTHER):
        logits = _logits(
            owned, other, own_at, start + tl.arange(0, OTHER), owns, others, dimensions,
            positives, scores, query_labels, passage_labels, excluded, margin,
            inverse_temperature, LABELS, WIDTH, MARGIN, BY_QUERY, OWNED, OTHER, STEP, PRECISION,
        )  # fmt: skip
        now = tl.maximum(highest, tl.max(logits, 1))
        base = tl.where(now == float("-inf"), 0.0, now)  # no negative yet: exp(-inf - 0) is 0
        total = total * tl.exp(highest - base) + tl.sum(tl.exp(logits - base[:, None]), 1)
        highest = now
    base = tl.where(highest == float("-inf"), 0.0, highest)
    logs = tl.log(tl.where(total > 0, total, 1.0)) + base
    tl.store(sums + own_at, tl.where(total > 0, logs, float("-inf")), mask=own_at < owns)


@triton.jit(do_not_specialize=VARYING)
def _gradient_kernel(
    owned, other, by_query, inverse, summed, owns, others, dimensions, positives, scores,
    query_labels, passage_labels, excluded, margin, inverse_temperature,
    LABELS: tl.constexpr, WIDTH: tl.constexpr, MARGIN: tl.constexpr, BY_QUERY: tl.constexpr,
    OWNED: tl.constexpr, OTHER: tl.constexpr, STEP: tl.constexpr, PRECISION: tl.constexpr,
    PART: tl.constexpr,
):  # fmt: skip
    """Sum the other side's vectors, weighted by exp(logit - by_query) + exp(logit + inverse)."""
    own_at = tl.program_id(0) * OWNED + tl.arange(0, OWNED)
    axis = tl.program_id(1) * PART + tl.arange(0, PART)
    found = tl.zeros((OWNED, PART), tl.float32)
    for start in range(0, others, OTHER):
        other_at = start + tl.arange(0, OTHER)
        logits = _logits(
            owned, other, own_at, other_at, owns, others, dimensions,
            positives, scores, query_labels, passage_labels, excluded, margin,
            inverse_temperature, LABELS, WIDTH, MARGIN, BY_QUERY, OWNED, OTHER, STEP, PRECISION,
        )  # fmt: skip
        if BY_QUERY:
            sums = tl.load(by_query + own_at, mask=own_at < owns, other=0.0)[:, None]
            inverses = tl.load(inverse + other_at, mask=other_at < others, other=0.0)[None, :]
        else:
            sums = tl.load(by_query + other_at, mask=other_at < others, other=0.0)[None, :]
            inverses = tl.load(inverse + own_at, mask=own_at < owns, other=0.0)[:, None]
        weights = tl.exp(logits - sums) + tl.exp(logits + inverses)
        right = tl.load(
            other + other_at[:, None] * dimensions + axis[None, :],
            mask=(other_at[:, None] < others) & (axis[None, :] < dimensions),
            other=0.0,
        )
        found = tl.dot(weights, right, found, input_precision=PRECISION)
    inside = (own_at[:, None] < owns) & (axis[None, :] < dimensions)
    tl.store(summed + own_at[:, None] * dimensions + axis[None, :], found, mask=inside)


def negative_sums(inputs: ContrastiveInputs, symmetric: bool) -> tuple[Tensor, Tensor]:
    """Like `blocked.negative_sums`."""
    by_query = torch.empty_like(inputs.scores)
    by_passage = torch.full_like(inputs.passages[:, 0], -torch.inf)
    sides = ((True, by_query), (False, by_passage)) if symmetric else ((True, by_query),)
    for side, found in sides:
        rows = len(inputs.queries if side else inputs.passages)
        _launch(_sum_kernel, (triton.cdiv(rows, OWNED),), inputs, side, (found,), OTHER=SUM_COLUMNS)
    return by_query, by_passage


def gradient_sums(
    inputs: ContrastiveInputs, by_query: Tensor, inverse: Tensor
) -> tuple[Tensor, Tensor]:
    """Like `blocked.gradient_sums`."""
    to_queries = torch.empty_like(inputs.queries, memory_format=torch.contiguous_format)
    to_passages = torch.empty_like(inputs.passages, memory_format=torch.contiguous_format)
    sums = (by_query.contiguous(), inverse.contiguous())
    for side, found in ((True, to_queries), (False, to_passages)):
        grid = (triton.cdiv(len(found), OWNED), triton.cdiv(found.shape[1], PART))
        _launch(
            _gradient_kernel, grid, inputs, side, (*sums, found), OTHER=GRADIENT_COLUMNS, PART=PART
        )
    return to_queries, to_passages


def _launch(
    kernel: "triton.JITFunction",
    grid: tuple[int, ...],
    inputs: ContrastiveInputs,
    by_query: bool,
    vectors: tuple[Tensor, ...],
    **sizes: int,
) -> None:
    owned, other = inputs.queries.contiguous(), inputs.passages.contiguous()
    if not by_query:
        owned, other = other, owned
    mask = inputs.mask
    nothing = inputs.positives  # a pointer that is not read without a mask
    excluded = _pad_width(mask.excluded) if mask else nothing
    kernel[grid](
        owned,
        other,
        *vectors,
        len(owned),
        len(other),
        owned.shape[1],
        inputs.positives,
        inputs.scores,
        mask.query_labels.contiguous() if mask else nothing,
        mask.passage_labels.contiguous() if mask else nothing,
        excluded,
        inputs.margin or 0.0,
        1 / inputs.temperature,
        LABELS=mask.query_labels.shape[1] if mask else 0,
        WIDTH=excluded.shape[1] if mask else 0,
        MARGIN=inputs.margin is not None,
        BY_QUERY=by_query,
        OWNED=OWNED,
        STEP=STEP,
        PRECISION=PRECISION,
        num_warps=WARPS,
        num_stages=STAGES,
        **sizes,
    )


def _pad_width(excluded: Tensor) -> Tensor:
    """Pad with columns of -1 to a power of 2, because the kernels are compiled for each width."""
    width = excluded.shape[1]
    more = (1 << (width - 1).bit_length()) - width if width else 0
    return functional.pad(excluded, (0, more), value=-1).contiguous()
