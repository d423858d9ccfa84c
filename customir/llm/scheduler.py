"""The scheduler: which prompts wait, which are in the context, and in which sequence each one is.

A call's prompts are grouped by their branch. A group's branch is decoded once, in the sequence of
its first leaf, and copied from there to the other leaves' sequences.
"""

import heapq
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import takewhile

from customir.llm.sampler import Sampler


@dataclass(eq=False)
class Leaf:
    """The part of a prompt that it shares with no other, and its sequence in the cache.

    Attributes:
        index: Number of the prompt in its call.
        tokens: Tokens after the branch.
        start: Position of the first of them.
        first_requested: Number of the first token whose logits are needed; those of all later
            tokens are needed too.
        continuation: Tokens whose probability is requested; may be empty.
        fed: How many of `tokens` are in the cache.
        sequence: Its sequence in the context; -1 while it waits.
        sampler, answer: The sampler, and the tokens that it has drawn so far.
    """

    index: int
    tokens: list[int]
    start: int
    first_requested: int
    continuation: list[int]
    fed: int = 0
    sequence: int = -1
    sampler: Sampler | None = None
    answer: list[int] = field(default_factory=list)


@dataclass(eq=False)
class Branch:
    """Prompts that differ only in their leaves.

    Attributes:
        tokens: Their common tokens, computed in the first leaf's sequence.
        cells: Cells of the cache that are reserved for the branch and its leaves.
        fed: How many of `tokens` are in the cache.
        copied: Whether the other leaves' sequences have these tokens as well.
    """

    tokens: list[int]
    leaves: list[Leaf]
    cells: int
    fed: int = 0
    copied: bool = False

    @property
    def all_fed(self) -> bool:
        """Whether no prompt token is left to feed."""
        return all(leaf.fed == len(leaf.tokens) for leaf in self.leaves)


@dataclass(frozen=True)
class LogitRequest:
    """A request for the logits after one token of a leaf."""

    leaf: Leaf
    token: int

    @property
    def last(self) -> bool:
        """Whether this is the last token of the prompt."""
        return self.token == len(self.leaf.tokens) - 1


def move_common_prefix(leaves: Sequence[Leaf]) -> list[int]:
    """Remove the common prefix of all leaves, and return it for the branch.

    Tokens whose logits are requested stay with their leaf.
    """
    most = min(leaf.first_requested for leaf in leaves) if len(leaves) > 1 else 0
    alike = takewhile(
        lambda tokens: len(set(tokens)) == 1,
        zip(*(leaf.tokens[:most] for leaf in leaves), strict=True),
    )
    common = [tokens[0] for tokens in alike]
    for leaf in leaves:
        del leaf.tokens[: len(common)]
        leaf.start += len(common)
        leaf.first_requested -= len(common)
    return common


class Schedule:
    """Which prompts wait, which are in the context, and how much room is left there.

    Args:
        max_tokens: Maximum length of an answer, for which cells are reserved.
        sequences: Number of sequences of the context, without the one of the shared part.
        cells: Cells that the sequences share; None if each sequence has its own.
    """

    def __init__(self, max_tokens: int, sequences: int, cells: int | None) -> None:
        self.prefilling: list[Branch] = []
        self._max_tokens = max_tokens
        self._sequences = sequences
        self._all_cells = self._cells = float("inf") if cells is None else cells
        # The lowest are used first, because consecutive sequences share one matrix product.
        self._free = list(range(1, sequences + 1))
        self._pending: deque[Branch] = deque()
        self._of_leaf: dict[Leaf, Branch] = {}
        self._leaves_left: dict[Branch, int] = {}

    @property
    def unfinished(self) -> bool:
        """Whether a prompt is waiting or in the context."""
        return bool(self._pending or self._leaves_left)

    def queue(self, tokens: list[int], leaves: list[Leaf]) -> None:
        """Queue the leaves of a branch, in several parts if the context cannot hold them at once."""
        part: list[Leaf] = []
        cells = len(tokens)
        for leaf in leaves:
            needed = len(leaf.tokens) + self._max_tokens
            if part and (len(part) == self._sequences or cells + needed > self._all_cells):
                self._pending.append(Branch(tokens, part, cells))
                part, cells = [], len(tokens)
            part.append(leaf)
            cells += needed
        self._pending.append(Branch(tokens, part, cells))

    def admit(self) -> Branch | None:
        """Move the next branch from waiting to prefilling, if it fits now."""
        if not self._pending:
            return None
        branch = self._pending[0]
        if len(branch.leaves) > len(self._free) or branch.cells > self._cells:
            return None
        self._pending.popleft()
        self._cells -= branch.cells
        self._leaves_left[branch] = len(branch.leaves)
        for leaf in branch.leaves:
            leaf.sequence = heapq.heappop(self._free)
            self._of_leaf[leaf] = branch
        self.prefilling.append(branch)
        return branch

    def close_gaps(self) -> list[tuple[int, int]]:
        """Make the sequences in use consecutive; return source and target of each moved leaf."""
        moves = []
        for leaf in sorted(self._of_leaf, key=lambda leaf: -leaf.sequence):
            if not self._free or self._free[0] > leaf.sequence:
                break
            source = leaf.sequence
            leaf.sequence = heapq.heapreplace(self._free, source)
            moves.append((source, leaf.sequence))
        return moves

    def release(self, leaf: Leaf) -> None:
        """Free the sequence of a finished leaf, and the branch's cells after its last leaf."""
        heapq.heappush(self._free, leaf.sequence)
        branch = self._of_leaf.pop(leaf)
        self._leaves_left[branch] -= 1
        if not self._leaves_left[branch]:
            del self._leaves_left[branch]
            self._cells += branch.cells
