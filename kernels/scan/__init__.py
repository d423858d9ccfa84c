"""Search for the rows of a quantised matrix with the largest inner products (README.md)."""

from .binding import DamagedVectorError, Scanner, best_kernel, checksums, has_kernel, top_k
from .quantization import STEP_WIDTH, code_bytes, quantize_2bit, quantize_int8

__all__ = [
    "STEP_WIDTH",
    "DamagedVectorError",
    "Scanner",
    "best_kernel",
    "checksums",
    "code_bytes",
    "has_kernel",
    "quantize_2bit",
    "quantize_int8",
    "top_k",
]
