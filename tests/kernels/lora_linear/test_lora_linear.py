"""The fused LoRA linear against plain autograd in float64."""

import pytest
import torch
from customir.kernels.lora_linear import FastLinear, lora_linear, merged_linear
from torch import Tensor, nn


def parts(dtype: torch.dtype) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = [(3, 7, 24), (40, 24), (40,), (4, 24), (40, 4)]
    made = [torch.randn(shape, generator=generator) for shape in shapes]
    inputs, weight, bias, down, up = made
    return [inputs, weight.to(dtype), bias.to(dtype), down, up]


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)], ids=str
)
@pytest.mark.parametrize("dropped", [False, True])
@pytest.mark.parametrize("with_bias", [False, True])
def test_value_and_gradients(
    dtype: torch.dtype, tolerance: float, dropped: bool, with_bias: bool
) -> None:
    inputs, weight, bias, down, up = parts(dtype)
    added = bias if with_bias else None
    kept = (torch.arange(24) % 3 > 0).float() * 1.5

    def run(fused: bool, wide: torch.dtype) -> list[Tensor]:
        own = [value.detach().clone().to(wide).requires_grad_() for value in (inputs, down, up)]
        x, a, b = own
        branch = x * kept.to(wide) if dropped else x
        if fused and dropped:
            found = lora_linear(x, branch, weight, added, a, b, 2.0)
        elif fused:
            merged = (weight.float() + 2.0 * b.detach() @ a.detach()).to(dtype)
            found = merged_linear(x, merged, added, a, b, 2.0)
        else:
            found = x @ weight.to(wide).T + 2.0 * (branch @ a.T) @ b.T
            found = found + bias.to(wide) if with_bias else found
        (found.to(wide) ** 2).sum().backward()
        return [found.detach(), *(value.grad for value in own)]

    for ours, exact in zip(run(True, torch.float32), run(False, torch.float64), strict=True):
        assert (ours.double() - exact).norm() / exact.norm() < tolerance


def test_inference_linear_is_a_linear() -> None:
    plain = nn.Linear(24, 40)
    inputs = torch.randn(3, 7, 24)
    wanted = plain(inputs)
    plain.__class__ = FastLinear
    with torch.no_grad():
        torch.testing.assert_close(plain(inputs), wanted)
    inputs.requires_grad_()
    plain(inputs).sum().backward()
    assert inputs.grad is not None
    assert plain.weight.grad is not None
