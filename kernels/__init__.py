"""The hot loops: the loss over a whole batch, and the attention and the linear under it."""

from .attention import attention, collect, spread
from .contrast import NegativeMask
from .distillation import listwise_kl
from .infonce import info_nce
from .linear import FastLinear, lora_linear, merged_linear
from .packed_attention import packed_attention, takes
from .results import Results, kept_in, taken_from

__all__ = [
    "FastLinear",
    "NegativeMask",
    "Results",
    "attention",
    "collect",
    "info_nce",
    "kept_in",
    "listwise_kl",
    "lora_linear",
    "merged_linear",
    "packed_attention",
    "spread",
    "taken_from",
    "takes",
]
