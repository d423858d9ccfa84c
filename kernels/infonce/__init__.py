"""The streamed InfoNCE loss (formula in loss.py): `blocked` on CPUs, `triton_kernels` on GPUs."""

from .inputs import NegativeMask
from .loss import info_nce

__all__ = ["NegativeMask", "info_nce"]
