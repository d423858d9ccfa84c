"""Frozen lower layers: run once, kept on disk, and the same vectors and gradients as without."""

import resource
from pathlib import Path

import pytest
import torch

from customir.encoder.torch_encoder import Encoder
from customir.progress import Silent
from customir.settings import TrainingSettings
from customir.training import Example, TrainingPassage, adapter
from customir.training.texts import FrozenLayers, Texts

TEXTS = ["short", "a longer text of several words " * 9, "one more text, not that long"]
EXAMPLES = [
    Example(f"what about {text[:9]}", TrainingPassage(str(n), text, "", ""))
    for n, text in enumerate(TEXTS)
]
MPNET = Path("~/.local/share/customir/models/mpnet").expanduser()


def compare(base: Path, folder: Path, precision: str, cosine: float) -> None:
    settings = TrainingSettings(trainable_layers=2)
    encoder = Encoder.load(base, precision=precision)  # type: ignore[arg-type]
    model = adapter.attach(encoder, settings, seed=0)
    weights = [value for value in model.parameters() if value.requires_grad]
    assert len(weights) == 2 * 2 * 6, "A and B of six linears in each of two layers"
    with torch.no_grad():
        for value in weights:
            value.add_(torch.randn(value.shape) * 0.02)
    numbers = [4, 0, 2, 5]
    target = torch.randn(4, encoder.dimensions)
    found = []
    frozen = FrozenLayers(encoder, EXAMPLES, 2, folder, Silent())
    for texts in (Texts(encoder, EXAMPLES), frozen):
        for value in weights:
            value.grad = None
        vectors = texts.embed(numbers)
        (vectors * target).sum().backward()
        found.append([vectors.detach(), *(value.grad for value in weights)])
    for whole, upper in zip(*found, strict=True):
        assert torch.cosine_similarity(whole.flatten(), upper.flatten(), dim=0) > cosine
    assert (folder / "frozen-0.bin").stat().st_mode & 0o077 == 0
    frozen.close()
    assert not (folder / "frozen-0.bin").exists()


@pytest.mark.parametrize(("precision", "cosine"), [("fp32", 0.999999), ("bf16", 0.995)])
def test_same_vectors_and_gradients(
    minilm: Path, tmp_path: Path, precision: str, cosine: float
) -> None:
    compare(minilm, tmp_path, precision, cosine)


def test_a_full_disk_is_an_error_and_leaves_no_file(minilm: Path, tmp_path: Path) -> None:
    encoder = Encoder.load(minilm)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 12, limits[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            FrozenLayers(encoder, EXAMPLES, 2, tmp_path, Silent())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(tmp_path.iterdir())


def test_mpnet(tmp_path: Path) -> None:
    if not MPNET.exists():
        pytest.skip(f"mpnet is not in {MPNET}: fetch it to run this")
    compare(MPNET, tmp_path, "fp32", 0.999999)
