"""The hot loops: losses over a whole batch in memory that does not grow with its square."""

from .infonce import NegativeMask, info_nce

__all__ = ["NegativeMask", "info_nce"]
