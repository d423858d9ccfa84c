"""A BERT-like encoder with INT8 weights, from token ids to unit vectors (README.md)."""

from .binding import FORMAT, KERNELS, METADATA_KEY, MULTIPLE, Encoder, has_kernel, is_compiled

__all__ = ["FORMAT", "KERNELS", "METADATA_KEY", "MULTIPLE", "Encoder", "has_kernel", "is_compiled"]
