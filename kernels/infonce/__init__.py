"""The InfoNCE loss, streamed (loss.py has the formula): `blocked` on a CPU, `triton_kernels` on a GPU."""

from .inputs import NegativeMask
from .loss import info_nce

__all__ = ["NegativeMask", "info_nce"]
