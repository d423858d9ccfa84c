"""A second forward takes over results of the first: the same numbers, and less work."""

import pytest
import torch
from customir.kernels import Results, kept_in, merged_linear, packed_attention, taken_from, takes
from customir.kernels.results import once


def test_made_once_and_taken_in_the_order_of_the_first_forward() -> None:
    made = []

    def make(number: int) -> torch.Tensor:
        made.append(number)
        return torch.tensor(number)

    results = Results()
    with kept_in(results):
        first = [once(lambda number=number: make(number)) for number in range(3)]
    with taken_from(results):
        second = [once(lambda number=number: make(number)) for number in range(3)]
    assert made == [0, 1, 2]
    assert all(one is other for one, other in zip(first, second, strict=True))
    assert not results
    assert int(once(lambda: make(3))) == 3, "outside, all is made"


def test_a_forward_that_fails_leaves_nothing_under_way() -> None:
    results = Results()
    with pytest.raises(MemoryError), kept_in(results):
        once(lambda: (_ for _ in ()).throw(MemoryError))
    once(lambda: torch.zeros(1))
    assert not results


@pytest.mark.parametrize(("wide", "narrow", "kept"), [(24, 8, 1), (8, 24, 0), (24, 24, 0)])
def test_of_linears_those_that_narrow(wide: int, narrow: int, kept: int) -> None:
    generator = torch.Generator().manual_seed(0)
    inputs, merged, down, up = (
        torch.randn(shape, generator=generator)
        for shape in [(5, wide), (narrow, wide), (2, wide), (narrow, 2)]
    )
    own = [inputs.requires_grad_(), down.requires_grad_(), up.requires_grad_()]

    def forward() -> torch.Tensor:
        return merged_linear(inputs, merged, None, down, up, 1.0)

    results = Results()
    with torch.no_grad(), kept_in(results):
        forward()
    assert len(results) == kept
    wanted = torch.autograd.grad(forward().square().sum(), own)
    with taken_from(results):
        found = torch.autograd.grad(forward().square().sum(), own)
    assert not results
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_what_attention_gives() -> None:
    joint = torch.randn(7, 3 * 32, generator=torch.Generator().manual_seed(0)).requires_grad_()
    if not takes(joint, 16, None):
        pytest.skip("no attention kernel was compiled")

    def forward() -> torch.Tensor:
        return packed_attention(joint, torch.tensor([4, 3]), 2, None)

    results = Results()
    with torch.no_grad(), kept_in(results):
        first = forward()
    assert len(results) == 1
    (wanted,) = torch.autograd.grad(forward().square().sum(), joint)
    with taken_from(results):
        second = forward()
    assert second.data_ptr() == first.data_ptr()
    (found,) = torch.autograd.grad(second.square().sum(), joint)
    torch.testing.assert_close(found, wanted, rtol=0, atol=0)
