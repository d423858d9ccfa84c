"""The hot loops: the loss over a whole batch, and the linear under it."""

from .infonce import NegativeMask, info_nce
from .linear import InferenceLinear, lora_linear

__all__ = ["InferenceLinear", "NegativeMask", "info_nce", "lora_linear"]
