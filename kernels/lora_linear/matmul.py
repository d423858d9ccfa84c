"""Matrix products by the fastest of torch's libraries for the processor."""

import os
from functools import cache
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

ONEDNN_CACHE = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"


def product(left: Tensor, right: Tensor, bias: Tensor | None = None) -> Tensor:
    """left @ right.T + bias, like `torch.nn.functional.linear`, without a gradient.

    For float32 on a CPU, torch uses MKL, which leaves half of the vector width unused on processors
    of other vendors than Intel. oneDNN, which torch also contains, uses all of it. For bfloat16,
    torch uses oneDNN, but copies the bias to every row of the result first; oneDNN can add it while
    it multiplies.
    """
    gains = left.dtype == torch.float32 or bias is not None
    if left.device.type == "cpu" and gains and uses_onednn(left.dtype):
        result: Tensor = torch.ops.mkldnn._linear_pointwise(left, right, bias, "none", [], "")
        return result
    return functional.linear(left, right, bias)


def limit_onednn_cache() -> None:
    """Let oneDNN cache the compiled code of 128 shapes instead of 1,024.

    If our attention was not compiled, torch's attention sees ever new shapes, and memory would grow
    with every batch. Call this before the first product, because oneDNN reads the environment once.
    """
    os.environ.setdefault(ONEDNN_CACHE, "128")


@cache
def uses_onednn(dtype: torch.dtype) -> bool:
    """Whether torch's oneDNN linear exists for this type, is correct, and is faster."""
    if dtype not in (torch.float32, torch.bfloat16) or not torch.backends.mkldnn.is_available():
        return False
    if dtype == torch.float32 and _is_intel():
        return False
    left, right = torch.arange(6.0).reshape(2, 3), torch.arange(12.0).reshape(4, 3)
    left, right, bias = left.to(dtype), right.to(dtype), torch.arange(4.0).to(dtype)
    try:
        result = torch.ops.mkldnn._linear_pointwise(left, right, bias, "none", [], "")
    except (AttributeError, RuntimeError):
        return False
    return torch.equal(result, left @ right.T + bias)


def _is_intel() -> bool:
    about = Path("/proc/cpuinfo")
    return about.exists() and "GenuineIntel" in about.read_text(encoding="utf-8")
