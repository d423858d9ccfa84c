"""Products of float32 matrices by a processor's tiles for bfloat16, as exact as float32's own.

kernels/split_product.cpp is compiled when the package is installed, if there is a C++ compiler. It
needs a processor with AMX; elsewhere, products are torch's.
"""

import ctypes
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from customir.compiled import load_compiled

MULTIPLE = 32  # of which both sides' lengths, and the right's rows, have to be one
FEWEST_ROWS = 256  # of the left: below, splitting the right takes what the tiles save


def has_tiles() -> bool:
    """Whether this processor has what is needed, and the kernel was compiled."""
    library = _library()
    return bool(library and library.customir_has_tiles())


def takes(left: Tensor, right: Tensor) -> bool:
    """Whether `split_product` can be had, and is worth it."""
    return (
        left.dtype == right.dtype == torch.float32
        and left.device.type == "cpu"
        and left.ndim == right.ndim == 2
        and len(left) >= FEWEST_ROWS
        and len(right) > 0
        and right.shape[0] % MULTIPLE == 0
        and right.shape[1] % MULTIPLE == 0
        and left.stride(1) == 1
        and 1 in right.stride()
        and has_tiles()
    )


def split_product(left: Tensor, right: Tensor, bias: Tensor | None = None) -> Tensor:
    """left @ right.T + bias, without a gradient.

    Each number is split into three bfloat16, and six of the nine products of their parts are added
    up in float32 (Henry, Tang and Heinecke 2019, arXiv 1904.06376, section 3): the result is as near
    to the exact one as a float32 product. Infinite numbers give no numbers, and parts of numbers
    below 1e-33 are lost.

    Args:
        left: float32, shape (rows, depth), its rows without gaps; 256 rows and more are worth it.
        right: float32, shape (columns, depth), either side of which may be the one without gaps;
            both multiples of 32.
        bias: float32, shape (columns,).

    Returns:
        float32, shape (rows, columns).

    Raises:
        ValueError: `takes` says no, or a shape is not what it should be.
        RuntimeError: memory ran out.
    """
    if not takes(left, right) or left.shape[1] != right.shape[1]:
        raise ValueError(f"no product of {tuple(left.shape)} and {tuple(right.shape)} by tiles")
    columns, depth = right.shape
    if bias is not None:
        bias = bias.float().contiguous()
        if bias.shape != (columns,):
            raise ValueError(f"no bias {tuple(bias.shape)} for {columns} columns")
    across = right.stride(1) != 1
    made = left.new_empty(len(left), columns)
    library = _library()
    assert library is not None
    status = library.customir_split_product(
        left.data_ptr(),
        left.stride(0),
        len(left),
        depth,
        right.data_ptr(),
        right.stride(1 if across else 0),
        columns,
        across,
        None if bias is None else bias.data_ptr(),
        made.data_ptr(),
        torch.get_num_threads(),
    )
    if status:
        raise RuntimeError(f"the product by tiles failed with status {status}")
    return made


@cache
def _library() -> ctypes.CDLL | None:
    functions = ("customir_has_tiles", "customir_split_product")
    library = load_compiled(Path(__file__).parent, "_split_product", *functions)
    if library is None:
        return None
    pointer, size, flag = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int32
    library.customir_has_tiles.restype = flag
    library.customir_split_product.argtypes = [
        *(pointer, size, size, size, pointer, size, size, flag, pointer, pointer, flag),
    ]
    library.customir_split_product.restype = flag
    return library
