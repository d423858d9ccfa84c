"""Token budgets of a device: how many tokens a micro-batch has, and how many are cached."""

import torch
from peft.tuners.lora import Linear

from customir.encoder.torch_encoder import Encoder
from customir.settings import TrainingSettings

# On a CPU: tokens per micro-batch, and the limits of the cached graphs in tokens and in bytes.
CPU_TOKENS, CPU_CACHED_TOKENS = 1024, 4096
CPU_GRAPH_BYTES = 768 * 2**20
GPU_MAX_TOKENS = 65_536  # a GPU is no faster with more
GPU_MEMORY_SHARE = 0.5
# Memory that a layer needs per token for the backward pass, in vectors of the model's width.
VECTORS_PER_LAYER = 20
# The recorded activations of a token take 1 / RECORDED_FRACTION of its graph's memory.
RECORDED_FRACTION = 8
OPTIMIZER_VECTORS = 3  # for each trained weight: its gradient and Adam's two moments
PROCESS_BYTES = 800 * 2**20  # libraries, texts and all else, on a CPU


def with_budget(settings: TrainingSettings, encoder: Encoder) -> TrainingSettings:
    """The settings with `mini_batch_num_tokens` and `cached_tokens` filled in where they are 0.

    On a CPU the cached graphs take at most 768 MB, or the memory of one micro-batch if that is
    more. On a GPU they take half of the total memory. The free memory plays no part, so that a
    continued run has the same budget.
    """
    tokens = CPU_TOKENS
    cached = min(CPU_CACHED_TOKENS, max(tokens, CPU_GRAPH_BYTES // bytes_per_token(encoder)))
    if encoder.device.type == "cuda":
        memory = torch.cuda.get_device_properties(encoder.device).total_memory
        tokens, cached = gpu_budget(memory, encoder)
    return settings.model_copy(
        update={
            "mini_batch_num_tokens": settings.mini_batch_num_tokens or tokens,
            "cached_tokens": settings.cached_tokens or cached,
        }
    )


def activation_cache(
    batch_tokens: int, settings: TrainingSettings, device: torch.device
) -> tuple[int, int]:
    """How many micro-batches of a batch keep their graph, and how many others are recorded.

    Together they take the memory of the graphs of `cached_tokens` tokens, whatever the size of the
    batch. Recording saves more time per byte than keeping a graph, so graphs get the memory that
    recording leaves. The graph of one micro-batch is always kept. On a GPU only graphs are kept,
    because recording was not measured there.

    Args:
        batch_tokens: Tokens of the batch, or of this process's part of it.
    """
    cached, tokens = settings.cached_tokens, settings.mini_batch_num_tokens
    if device.type == "cuda":
        return max(1, cached // tokens), 0
    in_graphs = min(cached, (RECORDED_FRACTION * cached - batch_tokens) // (RECORDED_FRACTION - 1))
    graphs = max(1, in_graphs // tokens)
    return graphs, max(0, RECORDED_FRACTION * (cached - graphs * tokens)) // tokens


def gpu_budget(memory: int, encoder: Encoder) -> tuple[int, int]:
    """Tokens per micro-batch and cached tokens, on a GPU with `memory` bytes."""
    cached = int(GPU_MEMORY_SHARE * memory) // bytes_per_token(encoder)
    return min(GPU_MAX_TOKENS, max(CPU_TOKENS, 2 ** (max(1, cached).bit_length() - 1))), cached


def estimated_bytes(encoder: Encoder, settings: TrainingSettings) -> int:
    """Approximate peak memory of training, in bytes; on a GPU, of the GPU.

    It is the sum of the weights, of the merged weights that each LoRA layer keeps, of the gradients
    and Adam's two moments, and of the cached graphs. bench/base_memory.py compares it with the peak
    that is measured.

    Args:
        encoder: With the trainable weights attached.
        settings: As `with_budget` returned them.
    """
    weights = list(encoder.model.parameters())
    trained = sum(weight.numel() for weight in weights if weight.requires_grad)
    merged = sum(
        module.weight.numel() for module in encoder.model.modules() if isinstance(module, Linear)
    )
    tokens = max(settings.cached_tokens, settings.mini_batch_num_tokens)
    return (
        (PROCESS_BYTES if encoder.device.type == "cpu" else 0)
        + sum(weight.numel() * weight.element_size() for weight in weights)
        + merged * encoder.dtype.itemsize
        + OPTIMIZER_VECTORS * trained * torch.float32.itemsize
        + tokens * bytes_per_token(encoder)
    )


def bytes_per_token(encoder: Encoder) -> int:
    """Approximate memory of one token's graph, in bytes."""
    return len(encoder.layers) * encoder.width * VECTORS_PER_LAYER * encoder.dtype.itemsize
