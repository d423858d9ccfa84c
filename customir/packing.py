"""Texts of unlike length in one micro-batch without padding: their tokens one after the other."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

# Rows are a multiple of this: oneDNN compiles and keeps code for each shape that it meets.
ROWS_A_STEP = 128
# Attention runs over texts of like length at once, padded to a multiple of this.
TOKENS_A_STEP = 16


@dataclass(frozen=True)
class Group:
    """Texts of a micro-batch whose attention is computed together.

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
    return -(-tokens // ROWS_A_STEP) * ROWS_A_STEP


def pack(tokens: Sequence[Sequence[int]], device: torch.device) -> Packed:
    """The texts with these token ids as one micro-batch."""
    lengths = torch.tensor([len(ids) for ids in tokens])
    starts = lengths.cumsum(0) - lengths
    count = int(lengths.sum())
    rows = rows_for(count)
    text_of = torch.repeat_interleave(torch.arange(len(tokens)), lengths)
    ids = torch.zeros(rows, dtype=torch.int64)
    ids[:count] = torch.tensor([number for text in tokens for number in text])
    positions = torch.zeros(rows, dtype=torch.int64)
    positions[:count] = torch.arange(count) - starts[text_of]
    groups = []
    widths = (lengths + TOKENS_A_STEP - 1) // TOKENS_A_STEP * TOKENS_A_STEP
    for width in sorted(set(widths.tolist())):
        members = (widths == width).nonzero().flatten()
        steps = torch.arange(width)
        missing = steps[None, :] >= lengths[members, None]
        found = (starts[members, None] + steps[None, :]).masked_fill(missing, -1)
        groups.append(
            Group(
                found.to(device),
                missing[:, None, None, :].to(device) if missing.any() else None,
            )
        )
    order = torch.cat([group.rows.flatten() for group in groups]).cpu()
    gaps = (order < 0).nonzero().flatten()
    places = torch.zeros(rows, dtype=torch.int64)
    real = (order >= 0).nonzero().flatten()
    places[order[real]] = real
    return Packed(
        ids=ids.to(device),
        positions=positions.to(device),
        text_of=text_of.to(device),
        lengths=lengths.to(device),
        groups=tuple(groups),
        order=order.clamp(min=0).to(device),
        gaps=gaps.to(device),
        places=places.to(device),
    )
