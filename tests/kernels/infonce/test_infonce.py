"""The streaming loss against the reference in float64, block edges included."""

import subprocess
import sys

import pytest
import torch
from customir.kernels.infonce import NegativeMask, blocked, info_nce, reference
from torch import Tensor

DIMENSIONS = 16
TEMPERATURE = 0.05


def a_batch(queries: int, passages: int, seed: int) -> tuple[Tensor, Tensor, Tensor, NegativeMask]:
    generator = torch.Generator().manual_seed(seed)

    def vectors(count: int) -> Tensor:
        made = torch.randn(count, DIMENSIONS, generator=generator, dtype=torch.float64)
        return torch.nn.functional.normalize(made, dim=1)

    positives = torch.randint(0, passages, (queries,), generator=generator)
    labels = torch.stack([torch.arange(passages), torch.arange(passages) // 3 + passages], 1)
    excluded = torch.randint(-1, passages, (queries, 2), generator=generator)
    mask = NegativeMask(labels[positives], labels, excluded)
    return vectors(queries), vectors(passages), positives, mask


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("margin", [None, 0.1])
@pytest.mark.parametrize(("queries", "passages"), [(1, 1), (5, 5), (7, 23), (12, 8)])
def test_equals_the_definition(
    monkeypatch: pytest.MonkeyPatch,
    symmetric: bool,
    masked: bool,
    margin: float | None,
    queries: int,
    passages: int,
) -> None:
    monkeypatch.setattr(blocked, "ROWS_PER_BLOCK", 4)
    monkeypatch.setattr(blocked, "COLUMNS_PER_BLOCK", 5)
    left, right, positives, mask = a_batch(queries, passages, seed=queries)
    chosen = mask if masked else None
    exact = [left.clone().requires_grad_(), right.clone().requires_grad_()]
    settings = {"symmetric": symmetric, "mask": chosen, "margin": margin}
    wanted = reference.info_nce(*exact, positives, TEMPERATURE, **settings)
    wanted.backward()
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 2e-5)):
        ours = [vectors.clone().to(dtype).requires_grad_() for vectors in (left, right)]
        loss = info_nce(*ours, positives, TEMPERATURE, **settings)
        loss.backward()
        assert loss.item() == pytest.approx(wanted.item(), rel=tolerance, abs=tolerance)
        for mine, theirs in zip(ours, exact, strict=True):
            torch.testing.assert_close(
                mine.grad.double(), theirs.grad, rtol=tolerance, atol=tolerance * 10
            )


def test_a_query_without_negatives_costs_nothing() -> None:
    """All masked: the loss and its gradient are 0, not NaN."""
    left, right, positives, _ = a_batch(4, 4, seed=1)
    one = torch.zeros(4, 1, dtype=torch.int64)
    mask = NegativeMask(one, one, torch.empty(4, 0, dtype=torch.int64))
    left.requires_grad_()
    loss = info_nce(left, right, positives, TEMPERATURE, symmetric=True, mask=mask)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-12)
    assert left.grad.abs().max() < 1e-9


@pytest.mark.slow
def test_memory_is_that_of_the_vectors() -> None:
    """A batch whose logits would take 1 GB; in a process of its own, to see its peak."""
    script = """
import resource, torch
from customir.kernels.infonce import info_nce
own = [torch.randn(16_384, 16).requires_grad_() for _ in range(2)]
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
few = [part[:16] for part in own]
info_nce(*few, torch.arange(16), 1.0, symmetric=True).backward()
before = peak()
info_nce(*own, torch.arange(len(own[0])), 1.0, symmetric=True).backward()
print(peak() - before)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 200, "MB"
