"""Attention within each of several packed texts on a CPU, by the C++ of kernels/attention.cpp.

It is compiled when the package is installed, if there is a C++ compiler; without one, attention is
torch's (kernels/attention.py), over texts that are padded and put side by side.
"""

import ctypes
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from customir.compiled import load_compiled

from .results import once

MULTIPLE = 16  # of which a head's width has to be one
TYPES = (torch.float32, torch.bfloat16)


def best_kernel(dtype: torch.dtype = torch.float32, width: int = 32) -> str | None:
    """Name of the fastest kernel here for such a type and width of a head; None: none was compiled."""
    library = _library()
    if library is None:
        return None
    name: bytes = library.customir_attention_kernel(None, dtype == torch.bfloat16, width)
    return name.decode()


def has_kernel(name: str, dtype: torch.dtype = torch.float32, width: int = 32) -> bool:
    """Whether this processor can run a kernel for such a type and width of a head.

    avx512, avx2 and portable are for all of them; tiles (AMX) for bfloat16 and multiples of 32.
    """
    library = _library()
    return bool(
        library and library.customir_attention_kernel(name.encode(), dtype == torch.bfloat16, width)
    )


def takes(rows: Tensor, width: int, bias: Tensor | None) -> bool:
    """Whether `packed_attention` can be had for such rows and heads of such a width.

    It makes no gradient for a bias.
    """
    return (
        best_kernel() is not None
        and rows.device.type == "cpu"
        and rows.dtype in TYPES
        and width % MULTIPLE == 0
        and not (bias is not None and bias.requires_grad)
    )


def packed_attention(
    joint: Tensor, lengths: Tensor, heads: int, bias: Tensor | None, kernel: str | None = None
) -> Tensor:
    """softmax(queries keys^T / sqrt(width) + bias) values, within each text and head.

    Computed in float32; for bfloat16, by a processor's tiles where it has them (AMX), which multiply
    bfloat16 and add up in float32. The gradient computes a text's scores again, a block at a time (Dao et al.
    2022, arXiv 2205.14135, section 3.1), so only `joint` is kept for it.

    Args:
        joint: Queries, keys and values beside each other, float32 or bfloat16, shape (rows,
            3 * heads * width), width a multiple of 16; the texts one after the other, then rows
            that nobody reads.
        lengths: int64, shape (texts,): rows of each text, in their order.
        bias: float32, shape (1, heads, n, n), n as long as the longest text at least.
        kernel: None: the fastest.

    Returns:
        Shape (rows, heads * width), of `joint`'s type; rows that nobody reads are 0.

    Raises:
        ValueError: `takes` says no, or a shape or a type is not what it should be.
        RuntimeError: this processor can't run `kernel`, or memory ran out.
    """
    if joint.shape[1] % (3 * heads) or not takes(joint, joint.shape[1] // (3 * heads), bias):
        raise ValueError(f"no attention of {heads} heads for {joint.dtype} {tuple(joint.shape)}")
    if int(lengths.sum()) > len(joint) or lengths.dtype != torch.int64 or int(lengths.min()) < 0:
        raise ValueError(f"{len(joint)} rows do not hold texts of {lengths.tolist()}")
    if bias is not None:
        bias = bias.float().contiguous()
        longest = int(lengths.max())
        if bias.shape != (1, heads, bias.shape[-1], bias.shape[-1]) or bias.shape[-1] < longest:
            raise ValueError(f"no bias {tuple(bias.shape)} for {heads} heads of {longest} rows")
    found: Tensor = _PackedAttention.apply(joint.contiguous(), lengths, heads, bias, kernel)
    return found


class _PackedAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        joint: Tensor,
        lengths: Tensor,
        heads: int,
        bias: Tensor | None,
        kernel: str | None,
    ) -> Tensor:
        ctx.save_for_backward(joint, lengths, bias)
        ctx.heads, ctx.kernel = heads, kernel

        def attend() -> Tensor:
            context = _empty(joint, joint.shape[1] // 3, lengths)
            _call(kernel, joint, lengths, heads, bias, context=context)
            return context

        return once(attend)

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        joint, lengths, bias = ctx.saved_tensors
        to_joint = _empty(joint, joint.shape[1], lengths)
        gradient = gradients[0].contiguous()
        _call(ctx.kernel, joint, lengths, ctx.heads, bias, gradient=gradient, to_joint=to_joint)
        return to_joint, None, None, None, None


def _empty(joint: Tensor, width: int, lengths: Tensor) -> Tensor:
    """Room for what is written to the texts' rows; the others are 0."""
    room = joint.new_empty(len(joint), width)
    room[int(lengths.sum()) :] = 0
    return room


def _call(
    kernel: str | None,
    joint: Tensor,
    lengths: Tensor,
    heads: int,
    bias: Tensor | None,
    context: Tensor | None = None,
    gradient: Tensor | None = None,
    to_joint: Tensor | None = None,
) -> None:
    library = _library()
    assert library is not None
    status = library.customir_attention(
        kernel.encode() if kernel else None,
        lengths.data_ptr(),
        len(lengths),
        heads,
        joint.shape[1] // (3 * heads),
        None if bias is None else bias.data_ptr(),
        0 if bias is None else bias.shape[-1],
        joint.dtype == torch.bfloat16,
        joint.data_ptr(),
        None if context is None else context.data_ptr(),
        None if gradient is None else gradient.data_ptr(),
        None if to_joint is None else to_joint.data_ptr(),
        torch.get_num_threads(),
    )
    if status:
        raise RuntimeError(f"the attention kernel {kernel or ''} failed with status {status}")


@cache
def _library() -> ctypes.CDLL | None:
    functions = ("customir_attention_kernel", "customir_attention")
    library = load_compiled(Path(__file__).parent, "_attention", *functions)
    if library is None:
        return None
    attention = library.customir_attention
    pointer, size = ctypes.c_void_p, ctypes.c_int64
    library.customir_attention_kernel.argtypes = [ctypes.c_char_p, ctypes.c_int32, size]
    library.customir_attention_kernel.restype = ctypes.c_char_p
    attention.argtypes = [
        *(ctypes.c_char_p, pointer, size, size, size, pointer, size, ctypes.c_int32),
        *(pointer, pointer, pointer, pointer, ctypes.c_int32),
    ]
    attention.restype = ctypes.c_int32
    return library
