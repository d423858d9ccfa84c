"""Attention within each of several packed texts (README.md)."""

from .binding import best_kernel, has_kernel, is_supported, packed_attention
from .padded import gather, padded_attention, scatter

__all__ = [
    "best_kernel",
    "gather",
    "has_kernel",
    "is_supported",
    "packed_attention",
    "padded_attention",
    "scatter",
]
