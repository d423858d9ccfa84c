"""The layers by the compiled attention and by torch's, against transformers itself."""

from typing import Any

import numpy as np
import pytest
import torch
from customir.kernels.attention import best_kernel
from torch import Tensor
from transformers import BertConfig, BertModel, MPNetConfig, MPNetModel

from customir.encoder import layers
from customir.encoder.packing import pack
from customir.encoder.torch_encoder import encoder_layers

SIZES = {
    "vocab_size": 90,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 96,
}
LENGTHS = (70, 33, 33, 16, 9, 2)


def small(family: str) -> Any:
    torch.manual_seed(0)
    if family == "mpnet":
        return MPNetModel(MPNetConfig(**SIZES)).eval()
    return BertModel(BertConfig(**SIZES)).eval()


def texts() -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [random.integers(3, 90, length) for length in LENGTHS]


def ours(model: Any) -> Tensor:
    """(tokens, width)."""
    packed = pack(texts(), torch.device("cpu"))
    states = layers.enter(model, packed, torch.float32)
    return layers.run_layers(model, encoder_layers(model)[1], states, packed)[: packed.tokens]


def theirs(model: Any) -> Tensor:
    found = [
        model(input_ids=torch.from_numpy(ids)[None]).last_hidden_state[0].detach()
        for ids in texts()
    ]
    return torch.cat(found)


@pytest.mark.parametrize("family", ["bert", "mpnet"])
@pytest.mark.parametrize("compiled", [True, False])
def test_states_and_gradients(family: str, compiled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if compiled and best_kernel() is None:
        pytest.skip("no attention kernel was compiled")
    if not compiled:
        monkeypatch.setattr(layers, "is_supported", lambda *_: False)
    model = small(family)
    taught = [weight for name, weight in model.named_parameters() if "layer.0." in name]
    model.requires_grad_(False)
    for weight in taught:
        weight.requires_grad_()
    found = ours(model)
    torch.testing.assert_close(found, theirs(model), atol=2e-5, rtol=1e-5)
    towards = torch.randn(found.shape, generator=torch.Generator().manual_seed(1))
    by_ours = torch.autograd.grad((found * towards).sum(), taught, allow_unused=True)
    whole = torch.cat([model(input_ids=torch.from_numpy(ids)[None])[0][0] for ids in texts()])
    by_theirs = torch.autograd.grad((whole * towards).sum(), taught, allow_unused=True)
    for one, other in zip(by_ours, by_theirs, strict=True):
        assert one is not None
        assert other is not None
        assert (one - other).norm() <= 1e-4 * other.norm() + 1e-4


@pytest.mark.skipif(best_kernel() is None, reason="no attention kernel was compiled")
def test_a_bias_that_learns_gets_its_gradient() -> None:
    model = small("mpnet")
    found = ours(model)
    found.square().sum().backward()
    gradient = model.encoder.relative_attention_bias.weight.grad
    assert gradient is not None
    assert gradient.abs().max() > 0
