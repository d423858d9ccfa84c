"""A forward pass that is run again replays activations: the same numbers, and less work."""

import pytest
import torch
from customir.kernels.activation_cache import (
    ActivationCache,
    record_or_replay,
    recording,
    replaying,
)
from customir.kernels.attention import is_supported, packed_attention
from customir.kernels.lora_linear import merged_linear


def test_made_once_and_taken_in_the_order_of_the_first_forward() -> None:
    made = []

    def make(number: int) -> torch.Tensor:
        made.append(number)
        return torch.tensor(number)

    cache = ActivationCache()
    with recording(cache):
        first = [record_or_replay(lambda number=number: make(number)) for number in range(3)]
    with replaying(cache):
        second = [record_or_replay(lambda number=number: make(number)) for number in range(3)]
    assert made == [0, 1, 2]
    assert all(one is other for one, other in zip(first, second, strict=True))
    assert not cache
    assert int(record_or_replay(lambda: make(3))) == 3, "outside, all is made"


def test_a_forward_that_fails_leaves_nothing_under_way() -> None:
    cache = ActivationCache()
    with pytest.raises(MemoryError), recording(cache):
        record_or_replay(lambda: (_ for _ in ()).throw(MemoryError))
    record_or_replay(lambda: torch.zeros(1))
    assert not cache


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

    cache = ActivationCache()
    with torch.no_grad(), recording(cache):
        forward()
    assert len(cache) == kept
    wanted = torch.autograd.grad(forward().square().sum(), own)
    with replaying(cache):
        found = torch.autograd.grad(forward().square().sum(), own)
    assert not cache
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_what_attention_gives() -> None:
    joint = torch.randn(7, 3 * 32, generator=torch.Generator().manual_seed(0)).requires_grad_()
    if not is_supported(joint, 16, None):
        pytest.skip("no attention kernel was compiled")

    def forward() -> torch.Tensor:
        return packed_attention(joint, torch.tensor([4, 3]), 2, None)

    cache = ActivationCache()
    with torch.no_grad(), recording(cache):
        first = forward()
    assert len(cache) == 1
    (wanted,) = torch.autograd.grad(forward().square().sum(), joint)
    with replaying(cache):
        second = forward()
    assert second.data_ptr() == first.data_ptr()
    (found,) = torch.autograd.grad(second.square().sum(), joint)
    torch.testing.assert_close(found, wanted, rtol=0, atol=0)
