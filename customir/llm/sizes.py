"""How much goes into a context at once: from the model, the memory and the device."""

from dataclasses import dataclass, replace
from pathlib import Path

# Where less fits, not even the examples and one passage do.
SMALLEST_CONTEXT = 1024
# The cache of keys and values takes at most this share of the memory that is free.
CACHE_SHARE = 0.25
MEMORY_FILE = Path("/proc/meminfo")


@dataclass(frozen=True)
class Sizes:
    """Of an engine's context.

    Attributes:
        sequences: Answers under way at once, at the most; one more holds what all prompts share.
        context_tokens: Cells of the cache, in all.
        batch_tokens: Tokens that one llama_decode computes, at the most.
        own_cells: Each sequence has an equal part of the cells; else they share them.
    """

    sequences: int
    context_tokens: int
    batch_tokens: int
    own_cells: bool

    @property
    def longest_prompt(self) -> int:
        """Cells that one sequence can have."""
        return self.context_tokens // (self.sequences + 1 if self.own_cells else 1)

    def smaller(self) -> "Sizes | None":
        """With half the sequences where these have their own cells, else with half the cells.

        None where that would be too little.
        """
        if self.own_cells:
            if self.sequences == 1:
                return None
            fewer = self.sequences // 2
            cells = (fewer + 1) * self.longest_prompt
            return replace(self, sequences=fewer, context_tokens=cells)
        if self.context_tokens // 2 < SMALLEST_CONTEXT:
            return None
        return replace(self, context_tokens=self.context_tokens // 2)


# Writing: a batch has twice the tokens of a mail, so that answers are written beside prompts that are
# read, not after them, where a few sequences alone make poor use of a CPU.
WRITING_ON_CPU = Sizes(sequences=16, context_tokens=17 * 1024, batch_tokens=256, own_cells=True)
SCORING_ON_CPU = Sizes(sequences=32, context_tokens=4096, batch_tokens=256, own_cells=False)
# A GPU reads its weights once a batch: the more tokens, the better, until it is full.
ON_GPU = Sizes(sequences=128, context_tokens=32768, batch_tokens=2048, own_cells=False)


def choose_sizes(cell_bytes: int, free_bytes: int | None, *, on_gpu: bool, writing: bool) -> Sizes:
    """The device's sizes, made smaller while the cache would take too much memory.

    Args:
        cell_bytes: Of one token's keys and values.
        free_bytes: Memory of this machine; None: unknown, which is taken for enough.
        writing: Answers are written; else logits are read after prompts.
    """
    sizes = WRITING_ON_CPU if writing else SCORING_ON_CPU
    if on_gpu:
        sizes = ON_GPU
    while free_bytes is not None and sizes.context_tokens * cell_bytes > CACHE_SHARE * free_bytes:
        smaller = sizes.smaller()
        if smaller is None:
            break
        sizes = smaller
    return sizes


def free_memory() -> int | None:
    """Bytes that can be had without swapping; None where the system doesn't say."""
    try:
        lines = MEMORY_FILE.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    for line in lines:
        name, _, value = line.partition(":")
        if name == "MemAvailable":
            return int(value.split()[0]) * 1024
    return None
