"""The Triton sweeps against the blocked ones, on a GPU or, without one, in Triton's interpreter."""

import os
import subprocess
import sys
from types import ModuleType

import pytest
import torch
from customir.kernels import NegativeMask, info_nce, infonce
from torch import Tensor

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
runnable = pytest.mark.skipif(
    DEVICE == "cpu" and not INTERPRETED, reason="run by test_in_the_interpreter"
)


@pytest.mark.skipif(DEVICE == "cuda" or INTERPRETED, reason="runs here, without a detour")
def test_in_the_interpreter() -> None:
    """Triton reads its switch when it is imported, which other tests may have done already."""
    pytest.importorskip("triton", reason="Triton is not installed")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", __file__, "-p", "no:cacheprovider"],
        env={**os.environ, "TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    assert "24 passed" in done.stdout, done.stdout


@pytest.fixture(scope="module")
def triton_sweeps() -> ModuleType:
    from customir.kernels import infonce_triton

    return infonce_triton


def run(
    vectors: list[Tensor], positives: Tensor, mask: NegativeMask | None, **options: object
) -> list[Tensor]:
    own = [part.clone().requires_grad_() for part in vectors]
    loss = info_nce(*own, positives, 0.05, mask=mask, **options)  # type: ignore[arg-type]
    loss.backward()
    return [loss.detach(), *(part.grad for part in own)]


@runnable
@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("margin", [None, 0.1])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(("queries", "passages", "width"), [(1, 1, 16), (37, 70, 24), (64, 33, 40)])
def test_equals_the_blocked_version(
    triton_sweeps: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    symmetric: bool,
    margin: float | None,
    masked: bool,
    queries: int,
    passages: int,
    width: int,
) -> None:
    generator = torch.Generator().manual_seed(queries)
    vectors = [
        torch.nn.functional.normalize(torch.randn(count, width, generator=generator), dim=1)
        for count in (queries, passages)
    ]
    positives = torch.randint(0, passages, (queries,), generator=generator)
    labels = torch.stack([torch.arange(passages) // 2, torch.arange(passages)], 1)
    excluded = torch.randint(-1, passages, (queries, 2), generator=generator)
    mask = NegativeMask(labels[positives], labels, excluded) if masked else None
    wanted = run(
        [part.double() for part in vectors], positives, mask, symmetric=symmetric, margin=margin
    )
    monkeypatch.setattr(infonce, "sweeps_for", lambda device: triton_sweeps)
    if mask:
        mask = mask.to(torch.device(DEVICE))
    found = run(
        [part.to(DEVICE) for part in vectors],
        positives.to(DEVICE),
        mask,
        symmetric=symmetric,
        margin=margin,
    )
    for ours, exact in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours.cpu().double(), exact, rtol=2e-5, atol=2e-4)
