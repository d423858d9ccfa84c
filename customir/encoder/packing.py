"""Packing: micro-batches of texts of different lengths, concatenated without padding."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

# The number of rows is a multiple of this, because oneDNN compiles and caches code for each shape.
ROWS_PER_STEP = 128
# torch's attention runs over groups of texts of similar length, padded to a multiple of this.
TOKENS_PER_STEP = 16

TokenIds = Sequence[int] | np.ndarray


@dataclass(frozen=True)
class Group:
    """Texts of a micro-batch whose attention torch computes together.

    Attributes:
        rows: int64, shape (texts, width): the rows of each text's tokens, padded with -1.
        missing: bool, shape (texts, 1, 1, width): the mask of the padding; None if there is none.
    """

    rows: Tensor
    missing: Tensor | None


@dataclass(frozen=True)
class Packed:
    """The tokens of a micro-batch as rows, text after text, followed by unused filler rows.

    Attributes:
        ids: int64, shape (rows,): token ids; 0 for filler rows.
        positions: int64, shape (rows,): position within the text, from 0.
        text_of: int64, shape (tokens,): the text that a row belongs to.
        lengths: int64, shape (texts,): number of tokens of each text.
        groups: The texts, grouped by length; each text is in one group.
        order: int64, shape (texts' widths,): the flattened `rows` of all groups, with 0 instead
            of -1.
        gaps: int64: the indices in `order` that stand for no row.
        places: int64, shape (rows,): the index of each row in `order`; 0 for filler rows.
    """

    ids: Tensor
    positions: Tensor
    text_of: Tensor
    lengths: Tensor
    groups: tuple[Group, ...]
    order: Tensor
    gaps: Tensor
    places: Tensor

    @property
    def tokens(self) -> int:
        """The number of tokens, which are the first rows."""
        return len(self.text_of)


def fill_by_tokens(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Divide texts into micro-batches of as nearly `budget` tokens as possible, longest first.

    Each micro-batch is filled with the longest text that still fits (best fit; Johnson 1973), so
    that similar lengths are together and short texts fill the remaining room. A text beyond the
    budget is alone in its micro-batch.

    Returns:
        Indices into `lengths`; each index occurs once.
    """
    waiting: dict[int, list[int]] = defaultdict(list)
    for position in reversed(range(len(lengths))):
        waiting[lengths[position]].append(position)
    there = sorted(waiting)
    passes: list[list[int]] = []
    while there:
        members: list[int] = []
        room = max(budget, there[-1])
        while number := bisect_right(there, room):
            length = there[number - 1]
            members.append(waiting[length].pop())
            room -= length
            if not waiting[length]:
                del there[number - 1]
        passes.append(members)
    return passes


def rows_for(tokens: int) -> int:
    """The number of rows, including filler rows, of a micro-batch of this many tokens."""
    return -(-tokens // ROWS_PER_STEP) * ROWS_PER_STEP


def pack(tokens: Sequence[TokenIds], device: torch.device) -> Packed:
    """Pack the texts with these token ids into one micro-batch.

    On a GPU its tensors are parts of a single tensor, so that one copy transfers all of them.
    """
    lengths = np.array([len(ids) for ids in tokens])
    starts = lengths.cumsum() - lengths
    count = int(lengths.sum())
    rows = rows_for(count)
    text_of = np.repeat(np.arange(len(tokens)), lengths)
    ids, positions, places = np.zeros((3, rows), np.int64)
    ids[:count] = np.concatenate(tokens)
    positions[:count] = np.arange(count) - starts[text_of]
    widths = _widths(lengths, coarse=device.type == "cuda")
    found = []
    for width in np.unique(widths).tolist():
        members = widths == width
        steps = np.arange(width)
        there = steps[None, :] < lengths[members, None]
        found.append(np.where(there, starts[members, None] + steps[None, :], -1))
    order = np.concatenate([part.ravel() for part in found])
    real = np.flatnonzero(order >= 0)
    places[order[real]] = real
    vectors = [ids, positions, text_of, lengths, order.clip(min=0), np.flatnonzero(order < 0)]
    vectors += [places, order]
    whole = torch.from_numpy(np.concatenate(vectors))
    if device.type == "cuda":  # a copy from pinned memory is asynchronous
        whole = whole.pin_memory().to(device, non_blocking=True)
    *parts, by_group = torch.split(whole, [len(vector) for vector in vectors])
    groups = []
    for part, there in zip(
        torch.split(by_group, [part.size for part in found]), found, strict=True
    ):
        group = part.view(there.shape)
        full = bool((there >= 0).all())
        groups.append(Group(group, None if full else (group < 0)[:, None, None, :]))
    return Packed(parts[0], parts[1], parts[2], parts[3], tuple(groups), *parts[4:])


def _widths(lengths: np.ndarray, coarse: bool) -> np.ndarray:
    """The length to which each text is padded for attention; few widths make few groups.

    Many small groups slow a GPU down more than padding does, so the number of steps is rounded up
    to a power of 2 there.
    """
    steps = -(-lengths // TOKENS_PER_STEP)
    if coarse:
        steps = 2 ** np.ceil(np.log2(steps)).astype(np.int64)
    return steps * TOKENS_PER_STEP
