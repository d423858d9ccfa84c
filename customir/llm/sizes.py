"""The sizes of a context, chosen for the model, the memory and the device."""

from dataclasses import dataclass, replace

# A smaller context would not even hold the examples and one passage.
SMALLEST_CONTEXT = 1024
# The cache of keys and values uses at most this share of the free memory.
CACHE_SHARE = 0.25


@dataclass(frozen=True)
class Sizes:
    """The sizes of an engine's context.

    Attributes:
        sequences: Maximum number of answers in progress; one more sequence holds the shared part of
            all prompts.
        context_tokens: Total number of cells of the cache.
        batch_tokens: Maximum number of tokens that one `llama_decode` computes.
        own_cells: Whether each sequence has an equal part of the cells; if not, they share them.
    """

    sequences: int
    context_tokens: int
    batch_tokens: int
    own_cells: bool

    @property
    def longest_prompt(self) -> int:
        """Maximum number of cells of one sequence."""
        return self.context_tokens // (self.sequences + 1 if self.own_cells else 1)

    def smaller(self) -> "Sizes | None":
        """Half the sequences if these have their own cells, or else half the cells.

        The result is None if that would be too little.
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


# For writing, a batch has twice the tokens of a mail, so that answers are decoded together with the
# prefill of other prompts. Decoding only a few sequences at a time would make poor use of a CPU.
WRITING_ON_CPU = Sizes(sequences=16, context_tokens=17 * 1024, batch_tokens=256, own_cells=True)
SCORING_ON_CPU = Sizes(sequences=32, context_tokens=4096, batch_tokens=256, own_cells=False)
# A GPU reads its weights once per batch, so more tokens are better until it is fully used.
ON_GPU = Sizes(sequences=128, context_tokens=32768, batch_tokens=2048, own_cells=False)


def choose_sizes(cell_bytes: int, free_bytes: int | None, *, on_gpu: bool, writing: bool) -> Sizes:
    """The sizes for the device, reduced until the cache fits into its share of the memory.

    Args:
        cell_bytes: Bytes of one token's keys and values.
        free_bytes: Free memory of this machine. None: it is unknown and assumed to be enough.
        writing: Whether answers are written; if not, only the logits after prompts are read.
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
