"""The hot loops: the loss over a whole batch, and the linear under it."""

from .contrast import NegativeMask
from .distillation import listwise_kl
from .infonce import info_nce
from .linear import InferenceLinear, lora_linear

__all__ = ["InferenceLinear", "NegativeMask", "info_nce", "listwise_kl", "lora_linear"]
