"""Linears: frozen ones with a LoRA branch for training, and ones for inference."""

from .linear import FastLinear, lora_linear, merged_linear
from .matmul import limit_onednn_cache, product, uses_onednn

__all__ = [
    "FastLinear",
    "limit_onednn_cache",
    "lora_linear",
    "merged_linear",
    "product",
    "uses_onednn",
]
