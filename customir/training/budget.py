"""How many tokens a micro-batch holds, and how many keep their graph, on a device."""

import torch

from customir.encoder.torch_encoder import Encoder
from customir.settings import TrainingSettings

# On a CPU: tokens of a micro-batch, and the most that keep their graph; its bytes at most.
ON_A_CPU = (1024, 4096)
GRAPHS_ON_A_CPU = 768 * 2**20
MOST_A_PASS = 65_536  # a GPU is no faster with more
# What a layer keeps of a token for the backward pass, in vectors of the model's width.
VECTORS_A_LAYER = 20
SHARE_OF_MEMORY = 0.5
# The results that are kept of a token in part (kernels/results.py) take an eighth of its graph's room.
IN_PART = 8


def with_budget(settings: TrainingSettings, encoder: Encoder) -> TrainingSettings:
    """The settings with `mini_batch_num_tokens` and `cached_tokens` filled in where they are 0.

    On a CPU the graphs of `cached_tokens` take 768 MB at most, or what one micro-batch takes. On a
    GPU they follow from its whole memory (not from what is free, so that a continued run has the
    same): half of it holds them.
    """
    per_pass, most = ON_A_CPU
    kept = min(most, max(per_pass, GRAPHS_ON_A_CPU // bytes_a_token(encoder)))
    if encoder.device.type == "cuda":
        memory = torch.cuda.get_device_properties(encoder.device).total_memory
        per_pass, kept = on_a_gpu(memory, encoder)
    return settings.model_copy(
        update={
            "mini_batch_num_tokens": settings.mini_batch_num_tokens or per_pass,
            "cached_tokens": settings.cached_tokens or kept,
        }
    )


def passes_kept(tokens: int, settings: TrainingSettings, device: torch.device) -> tuple[int, int]:
    """How many micro-batches of a batch keep their graph, and how many others some results.

    All in the room of `settings.cached_tokens` graphs, however large the batch is. Results save more
    for their room than graphs do, so what they leave of it is for graphs; those of one micro-batch
    are kept anyway. On a GPU that was not measured, and only graphs are kept.

    Args:
        tokens: Of the batch, or of one process' part of it.
    """
    kept, per_pass = settings.cached_tokens, settings.mini_batch_num_tokens
    if device.type == "cuda":
        return max(1, kept // per_pass), 0
    graphs = max(1, min(kept, (IN_PART * kept - tokens) // (IN_PART - 1)) // per_pass)
    return graphs, max(0, IN_PART * (kept - graphs * per_pass)) // per_pass


def on_a_gpu(memory: int, encoder: Encoder) -> tuple[int, int]:
    """Tokens of a micro-batch, and the most that keep their graph, on a GPU of so many bytes."""
    kept = int(SHARE_OF_MEMORY * memory) // bytes_a_token(encoder)
    return min(MOST_A_PASS, max(ON_A_CPU[0], 2 ** (max(1, kept).bit_length() - 1))), kept


def bytes_a_token(encoder: Encoder) -> int:
    """About what the graph of one token takes, in bytes."""
    return len(encoder.layers) * encoder.width * VECTORS_A_LAYER * encoder.dtype.itemsize
