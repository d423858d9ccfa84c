"""Attention over several texts against the formula in float64."""

import pytest
import torch
from customir.kernels.attention import padded_attention
from torch import Tensor

HEADS, TOKENS, WIDTH = 2, 16, 8


def parts(texts: int, dtype: torch.dtype) -> list[Tensor]:
    """Queries, keys, values, laid out as a packed batch has them: not contiguous."""
    generator = torch.Generator().manual_seed(texts)
    together = torch.randn(texts, TOKENS, 3, HEADS, WIDTH, generator=generator)
    return [part.to(dtype).requires_grad_() for part in together.permute(2, 0, 3, 1, 4)]


def exact(wanted: list[Tensor], mask: Tensor) -> Tensor:
    queries, keys, values = wanted
    scores = queries @ keys.transpose(-1, -2) / WIDTH**0.5 + mask
    return scores.softmax(-1) @ values


@pytest.mark.parametrize("texts", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)], ids=str
)
def test_value_and_gradients(
    texts: int, masked: bool, biased: bool, dtype: torch.dtype, tolerance: float
) -> None:
    ours = parts(texts, dtype)
    wanted = [part.detach().double().requires_grad_() for part in ours]
    lengths = torch.arange(texts) % (TOKENS - 1) + 2
    missing = (torch.arange(TOKENS) >= lengths[:, None])[:, None, None, :] if masked else None
    bias = torch.linspace(-1, 1, HEADS * TOKENS**2).view(1, HEADS, TOKENS, TOKENS)
    mask = bias.to(dtype).double() if biased else torch.zeros(1, 1, 1, 1, dtype=torch.float64)
    if missing is not None:
        mask = mask.masked_fill(missing, -torch.inf)
    found = padded_attention(*ours, missing, bias if biased else None)
    expected = exact(wanted, mask)
    (found.double() ** 2).sum().backward()
    (expected**2).sum().backward()
    assert found.shape == expected.shape
    pairs = [(found, expected), *((a.grad, b.grad) for a, b in zip(ours, wanted, strict=True))]
    for one, other in pairs:
        assert one is not None
        assert other is not None
        assert (one.double() - other).norm() < tolerance * other.norm()
