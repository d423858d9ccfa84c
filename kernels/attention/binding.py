"""Attention within each of several packed texts on a CPU: the Python interface of attention.cpp.

The library is compiled when the package is installed, if there is a C++ compiler. Without it, torch
computes attention over padded texts (padded.py).
"""

import ctypes
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..activation_cache import record_or_replay
from ..native import load_library

MULTIPLE = 16  # the width of a head has to be a multiple of it
TYPES = (torch.float32, torch.bfloat16)


def best_kernel(dtype: torch.dtype = torch.float32, width: int = 32) -> str | None:
    """The fastest kernel of this processor for a type and head width; None if none was compiled."""
    library = _library()
    if library is None:
        return None
    name: bytes = library.customir_attention_kernel(None, dtype == torch.bfloat16, width)
    return name.decode()


def has_kernel(name: str, dtype: torch.dtype = torch.float32, width: int = 32) -> bool:
    """Whether this processor can run a kernel for a type and a head width.

    avx512, avx2 and portable support all types and widths; amx supports bfloat16 and widths that
    are multiples of 32.
    """
    library = _library()
    return bool(
        library and library.customir_attention_kernel(name.encode(), dtype == torch.bfloat16, width)
    )


def is_supported(rows: Tensor, width: int, bias: Tensor | None) -> bool:
    """Whether `packed_attention` supports these rows, with heads of this width, and this bias.

    It computes no gradient for a bias.
    """
    return (
        best_kernel() is not None
        and rows.device.type == "cpu"
        and rows.dtype in TYPES
        and width % MULTIPLE == 0
        and not (bias is not None and bias.requires_grad)
    )


def packed_attention(
    qkv: Tensor, lengths: Tensor, heads: int, bias: Tensor | None, kernel: str | None = None
) -> Tensor:
    """softmax(queries keys^T / sqrt(width) + bias) values, within each text and head.

    It is computed in float32 or, for bfloat16 on a processor with AMX, from products of bfloat16
    that are accumulated in float32. The backward pass computes a text's scores again, one block at
    a time (Dao et al. 2022, arXiv 2205.14135, section 3.1), so only `qkv` is saved for it.

    Args:
        qkv: Queries, keys and values, concatenated; float32 or bfloat16, shape (rows,
            3 * heads * width), width a multiple of 16. The texts follow each other, and unused rows
            come last.
        lengths: The number of rows of each text, in order; int64, shape (texts,).
        bias: float32, shape (1, heads, n, n), n at least the length of the longest text.
        kernel: Name of the kernel; None for the fastest one.

    Returns:
        Shape (rows, heads * width), of `qkv`'s type. Unused rows are 0.

    Raises:
        ValueError: `is_supported` returns False, or a shape or type is wrong.
        RuntimeError: this processor cannot run `kernel`, or memory ran out.
    """
    if qkv.shape[1] % (3 * heads) or not is_supported(qkv, qkv.shape[1] // (3 * heads), bias):
        raise ValueError(f"no attention of {heads} heads for {qkv.dtype} {tuple(qkv.shape)}")
    if int(lengths.sum()) > len(qkv) or lengths.dtype != torch.int64 or int(lengths.min()) < 0:
        raise ValueError(f"{len(qkv)} rows do not hold texts of {lengths.tolist()}")
    if bias is not None:
        bias = bias.float().contiguous()
        longest = int(lengths.max())
        if bias.shape != (1, heads, bias.shape[-1], bias.shape[-1]) or bias.shape[-1] < longest:
            raise ValueError(f"no bias {tuple(bias.shape)} for {heads} heads of {longest} rows")
    context: Tensor = _PackedAttention.apply(qkv.contiguous(), lengths, heads, bias, kernel)
    return context


class _PackedAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        qkv: Tensor,
        lengths: Tensor,
        heads: int,
        bias: Tensor | None,
        kernel: str | None,
    ) -> Tensor:
        ctx.save_for_backward(qkv, lengths, bias)
        ctx.heads, ctx.kernel = heads, kernel

        def attend() -> Tensor:
            context = _empty(qkv, qkv.shape[1] // 3, lengths)
            _call(kernel, qkv, lengths, heads, bias, context=context)
            return context

        return record_or_replay(attend)

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        qkv, lengths, bias = ctx.saved_tensors
        grad_qkv = _empty(qkv, qkv.shape[1], lengths)
        grad_context = gradients[0].contiguous()
        _call(
            ctx.kernel, qkv, lengths, ctx.heads, bias, grad_context=grad_context, grad_qkv=grad_qkv
        )
        return grad_qkv, None, None, None, None


def _empty(qkv: Tensor, width: int, lengths: Tensor) -> Tensor:
    """A matrix in which the texts' rows are uninitialised and the unused rows are 0."""
    room = qkv.new_empty(len(qkv), width)
    room[int(lengths.sum()) :] = 0
    return room


def _call(
    kernel: str | None,
    qkv: Tensor,
    lengths: Tensor,
    heads: int,
    bias: Tensor | None,
    context: Tensor | None = None,
    grad_context: Tensor | None = None,
    grad_qkv: Tensor | None = None,
) -> None:
    library = _library()
    assert library is not None
    status = library.customir_attention(
        kernel.encode() if kernel else None,
        lengths.data_ptr(),
        len(lengths),
        heads,
        qkv.shape[1] // (3 * heads),
        None if bias is None else bias.data_ptr(),
        0 if bias is None else bias.shape[-1],
        qkv.dtype == torch.bfloat16,
        qkv.data_ptr(),
        None if context is None else context.data_ptr(),
        None if grad_context is None else grad_context.data_ptr(),
        None if grad_qkv is None else grad_qkv.data_ptr(),
        torch.get_num_threads(),
    )
    if status:
        raise RuntimeError(f"the attention kernel {kernel or ''} failed with status {status}")


@cache
def _library() -> ctypes.CDLL | None:
    library = load_library(Path(__file__).parent, "_attention")
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
