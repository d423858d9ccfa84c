"""Texts of unlike length in one micro-batch without padding: their tokens one after the other."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

# Rows are a multiple of this: oneDNN compiles and keeps code for each shape that it meets.
ROWS_PER_STEP = 128
# Torch's attention runs over texts of like length at once, padded to a multiple of this.
TOKENS_PER_STEP = 16

TokenIds = Sequence[int] | np.ndarray


@dataclass(frozen=True)
class Group:
    """Texts of a micro-batch whose attention torch computes together.

    Attributes:
        rows: int64, shape (texts, width): the rows of each text's tokens; -1 where it has none.
        missing: bool, shape (texts, 1, 1, width): where that is; None: nowhere.
    """

    rows: Tensor
    missing: Tensor | None


@dataclass(frozen=True)
class Packed:
    """The tokens of a micro-batch as rows, text after text; filled up with rows that nobody reads.

    Attributes:
        ids: int64, shape (rows,): token ids; 0 for the filling.
        positions: int64, shape (rows,): place within the text, from 0.
        text_of: int64, shape (tokens,): which text a row belongs to.
        lengths: int64, shape (texts,): tokens of each text.
        groups: The texts by length, each in one of them.
        order: int64, shape (texts' widths,): all groups' `rows`, flattened, 0 in place of -1.
        gaps: int64: where `order` stands for no row.
        places: int64, shape (rows,): where in `order` each row is; 0 for the filling.
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
        """How many of the rows are tokens: the first ones."""
        return len(self.text_of)


def fill_by_tokens(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Cut texts into micro-batches that hold as nearly `budget` tokens as can be, longest first.

    Each is filled with the longest text that still fits (best fit; Johnson 1973), so like lengths
    stand together and short texts fill what is left. A text beyond the budget stands alone.

    Returns:
        Positions in `lengths`, each once.
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
    """How many rows a micro-batch of so many tokens is computed in."""
    return -(-tokens // ROWS_PER_STEP) * ROWS_PER_STEP


def pack(tokens: Sequence[TokenIds], device: torch.device) -> Packed:
    """The texts with these token ids as one micro-batch.

    On a GPU its tensors are parts of one, so that one copy brings all of them there.
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
    if device.type == "cuda":  # a copy from pinned memory is not waited for
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
    """What each text is padded to where attention is computed; few widths make few groups.

    A GPU is slowed by many small groups more than by padding, so there it is the next power of 2.
    """
    steps = -(-lengths // TOKENS_PER_STEP)
    if coarse:
        steps = 2 ** np.ceil(np.log2(steps)).astype(np.int64)
    return steps * TOKENS_PER_STEP
