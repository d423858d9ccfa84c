"""The C++ attention over packed texts: every instruction set against the formula in float64."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from customir.kernels.attention import best_kernel, has_kernel, is_supported, packed_attention
from customir.kernels.attention.reference import attention
from torch import Tensor

pytestmark = pytest.mark.skipif(best_kernel() is None, reason="no attention kernel was compiled")

# Of a block of queries, of a register and of a tile: less, as many, one more.
LENGTHS = (150, 64, 65, 63, 33, 17, 16, 15, 9, 8, 7, 5, 2, 1)
UNREAD = 7
TOLERANCES = {torch.float32: 2e-6, torch.bfloat16: 4e-3}


def given(heads: int, width: int, dtype: torch.dtype, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    rows = sum(LENGTHS) + UNREAD
    joint = 2 * torch.randn(rows, 3 * heads * width, generator=generator)
    return joint.to(dtype), torch.randn(rows, heads * width, generator=generator).to(dtype)


@contextmanager
def threads_of_torch(threads: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("kernel", ["amx", "avx512", "avx2", "portable", None])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("width", [16, 32, 64])
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("threads", [1, 2])
def test_value_and_gradient(
    kernel: str | None, dtype: torch.dtype, width: int, biased: bool, threads: int
) -> None:
    if kernel == "amx" and (dtype == torch.float32 or width == 16):
        assert not has_kernel(kernel, dtype, width)
        return
    if kernel and not has_kernel(kernel, dtype, width):
        pytest.skip(f"this processor can't run {kernel}")
    heads, tokens = 3, sum(LENGTHS)
    joint, gradient = given(heads, width, dtype)
    bias = torch.linspace(-3, 3, heads * 160**2).view(1, heads, 160, 160) if biased else None
    ours, wanted = joint.clone().requires_grad_(), joint[:tokens].double().requires_grad_()
    with threads_of_torch(threads):
        found = packed_attention(ours, torch.tensor(LENGTHS), heads, bias, kernel)
        found.backward(gradient)
    expected = attention(wanted, LENGTHS, heads, bias)
    expected.backward(gradient[:tokens].double())
    assert ours.grad is not None
    assert wanted.grad is not None
    assert found.dtype == ours.grad.dtype == dtype
    for one, other in ((found, expected), (ours.grad, wanted.grad)):
        assert (one[:tokens].double() - other).norm() < TOLERANCES[dtype] * other.norm()
        assert not one[tokens:].any(), "rows that nobody reads"


def test_a_text_does_not_depend_on_its_neighbours_or_on_threads() -> None:
    joint, _ = given(2, 32, torch.float32)
    with threads_of_torch(2):
        together = packed_attention(joint, torch.tensor(LENGTHS), 2, None)
    with threads_of_torch(1):
        alone = packed_attention(joint[150:214], torch.tensor([64]), 2, None)
    assert torch.equal(together[150:214], alone)


def test_large_scores_neither_overflow_nor_vanish() -> None:
    joint, _ = given(2, 32, torch.float32)
    found = packed_attention(joint * 100, torch.tensor(LENGTHS), 2, None)[: sum(LENGTHS)]
    expected = attention(joint[: sum(LENGTHS)] * 100, LENGTHS, 2, None)
    assert (found.double() - expected).norm() < 1e-4 * expected.norm()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_what_is_no_number_stays_none(dtype: torch.dtype) -> None:
    joint, _ = given(2, 32, dtype)
    joint[3, 0] = torch.nan  # a query's
    joint[151, 64] = torch.nan  # a key's
    found = packed_attention(joint, torch.tensor(LENGTHS), 2, None)
    assert found[3, :32].isnan().all()
    assert found[150:214, :32].isnan().all()
    assert not found[214:].isnan().any()


def test_gradient_agrees_with_finite_differences() -> None:
    joint, gradient = given(1, 16, torch.float32)
    lengths = torch.tensor([5])
    joint, gradient = joint[:5].requires_grad_(), gradient[:5]
    (packed_attention(joint, lengths, 1, None) * gradient).sum().backward()
    assert joint.grad is not None
    towards = torch.randn(joint.shape, generator=torch.Generator().manual_seed(1))
    step = 1e-2
    with torch.no_grad():
        up, down = (
            (packed_attention(joint + sign * step * towards, lengths, 1, None) * gradient).sum()
            for sign in (1, -1)
        )
    assert (up - down).item() / (2 * step) == pytest.approx(
        (joint.grad * towards).sum().item(), rel=1e-2
    )


def test_what_it_cannot_take_is_refused() -> None:
    joint, _ = given(2, 16, torch.float32)
    lengths = torch.tensor(LENGTHS)
    learnt = torch.zeros(1, 2, 160, 160, requires_grad=True)
    assert not is_supported(joint, 24, None)
    assert not is_supported(joint.double(), 16, None)
    assert not is_supported(joint, 16, learnt)
    for rows, by, bias in (
        (joint[:, :-1], lengths, None),
        (joint.double(), lengths, None),
        (joint, lengths * 2, None),
        (joint, lengths.int(), None),
        (joint, lengths, learnt),
        (joint, lengths, torch.zeros(1, 2, 100, 100)),
        (joint, lengths, torch.zeros(1, 3, 160, 160)),
    ):
        with pytest.raises(ValueError, match=r"no attention|no bias|do not hold"):
            packed_attention(rows, by, 2, bias)
    with pytest.raises(RuntimeError, match="failed"):
        packed_attention(joint, lengths, 2, None, "neon")
