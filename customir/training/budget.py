"""How many tokens a micro-batch holds, and how many keep their graph, on a device."""

import torch

from customir.encoder import Encoder
from customir.settings import Training

# On a CPU: tokens of a micro-batch, the most that keep their graph, and the most of the others that keep
# some results; the bytes that either may take.
ON_A_CPU = (1024, 2048, 40_960)
BYTES_ON_A_CPU = 768 * 2**20
MOST_A_PASS = 65_536  # a GPU is no faster with more
# What a layer keeps of a token for the backward pass, in vectors of the model's width: its graph, and
# the results that are kept in part (kernels/results.py).
VECTORS_A_LAYER = 20
RESULTS_A_LAYER = 2
SHARE_OF_MEMORY = 0.5


def with_budget(settings: Training, encoder: Encoder) -> Training:
    """The settings with `tokens_per_pass`, `tokens_kept` and `tokens_kept_in_part` where they are 0.

    On a CPU the graphs of `tokens_kept` take 768 MB at most, or what one micro-batch takes, and so do
    the results of `tokens_kept_in_part`. On a GPU they follow from its whole memory (not from what
    is free, so that a continued run has the same): half of it holds graphs.
    """
    per_pass, most, most_in_part = ON_A_CPU
    kept = min(most, max(per_pass, BYTES_ON_A_CPU // bytes_a_token(encoder, VECTORS_A_LAYER)))
    in_part = min(most_in_part, BYTES_ON_A_CPU // bytes_a_token(encoder, RESULTS_A_LAYER))
    if encoder.device.type == "cuda":
        memory = torch.cuda.get_device_properties(encoder.device).total_memory
        per_pass, kept = on_a_gpu(memory, encoder)
        in_part = 0
    return settings.model_copy(
        update={
            "tokens_per_pass": settings.tokens_per_pass or per_pass,
            "tokens_kept": settings.tokens_kept or kept,
            "tokens_kept_in_part": settings.tokens_kept_in_part or in_part,
        }
    )


def on_a_gpu(memory: int, encoder: Encoder) -> tuple[int, int]:
    """Tokens of a micro-batch, and the most that keep their graph, on a GPU of so many bytes."""
    kept = int(SHARE_OF_MEMORY * memory) // bytes_a_token(encoder, VECTORS_A_LAYER)
    return min(MOST_A_PASS, max(ON_A_CPU[0], 2 ** (max(1, kept).bit_length() - 1))), kept


def bytes_a_token(encoder: Encoder, vectors: int) -> int:
    """What one token takes that keeps so many vectors in each layer, in bytes."""
    return len(encoder.layers) * encoder.dimensions * vectors * encoder.dtype.itemsize
