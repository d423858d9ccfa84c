"""The Triton sweeps against the reference in float64: on a GPU or, without one, in the interpreter."""

import os
import subprocess
import sys
from types import ModuleType

import pytest
import torch
from customir.kernels.infonce import NegativeMask, info_nce, reference
from customir.kernels.infonce import loss as loss_module
from torch import Tensor

pytestmark = pytest.mark.slow

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
TEMPERATURE = 0.05
# Neither is a multiple of a block; the second has several blocks each way and two parts of a width.
SIZES = [(1, 1, 16), (37, 70, 24), (150, 133, 200)]
ON_A_GPU = [(700, 1300, 384), (2049, 999, 768)]
runnable = pytest.mark.skipif(
    DEVICE == "cpu" and not INTERPRETED, reason="run by test_in_the_interpreter"
)
on_a_gpu = pytest.mark.skipif(DEVICE == "cpu", reason="there is no GPU")


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


@pytest.mark.skipif(INTERPRETED, reason="the interpreter compiles nothing")
@pytest.mark.parametrize("capability", [86, 90])
@pytest.mark.parametrize("name", ["_sum_kernel", "_gradient_kernel"])
def test_compiles_for_a_gpu_that_is_not_here(name: str, capability: int) -> None:
    """Also for a consumer GPU (8.6), which gives a program 99 KB of shared memory."""
    triton = pytest.importorskip("triton", reason="Triton is not installed")
    from customir.kernels.infonce import triton_kernels
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    constants = {
        "LABELS": 2, "WIDTH": 4, "MARGIN": True, "BY_QUERY": True, "PRECISION": "tf32x3",
        "OWNED": triton_kernels.OWNED, "STEP": triton_kernels.STEP, "PART": triton_kernels.PART,
        "OTHER": triton_kernels.SUM_COLUMNS if name == "_sum_kernel" else triton_kernels.GRADIENT_COLUMNS,
    }  # fmt: skip
    kernel = getattr(triton_kernels, name)
    kinds = {
        **dict.fromkeys(("positives", "query_labels", "passage_labels", "excluded"), "*i64"),
        **dict.fromkeys(("owns", "others", "dimensions"), "i32"),
        **dict.fromkeys(("margin", "inverse_temperature"), "fp32"),
        **dict.fromkeys(constants, "constexpr"),
    }
    signature = {argument: kinds.get(argument, "*fp32") for argument in kernel.arg_names}
    made = triton.compile(
        ASTSource(
            kernel, signature, {key: constants[key] for key in constants if key in signature}
        ),
        target=GPUTarget("cuda", capability, 32),
        options={"num_warps": triton_kernels.WARPS, "num_stages": triton_kernels.STAGES},
    )
    assert made.asm["cubin"]
    assert made.metadata.shared <= 99 * 1024


@pytest.fixture
def through_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    from customir.kernels.infonce import triton_kernels

    def sweeps_for(device: torch.device) -> ModuleType:
        return triton_kernels

    monkeypatch.setattr(loss_module, "sweeps_for", sweeps_for)


def a_batch(queries: int, passages: int, width: int) -> tuple[list[Tensor], Tensor, NegativeMask]:
    generator = torch.Generator().manual_seed(queries)
    vectors = [
        torch.nn.functional.normalize(torch.randn(count, width, generator=generator), dim=1)
        for count in (queries, passages)
    ]
    positives = torch.randint(0, passages, (queries,), generator=generator)
    labels = torch.stack([torch.arange(passages) // 2, torch.arange(passages)], 1)
    excluded = torch.randint(-1, passages, (queries, 3), generator=generator)
    return vectors, positives, NegativeMask(labels[positives], labels, excluded)


def by_definition(
    vectors: list[Tensor],
    positives: Tensor,
    mask: NegativeMask | None,
    symmetric: bool,
    margin: float | None,
) -> list[Tensor]:
    """Loss and gradients by the reference, in float64."""
    own = [part.double().requires_grad_() for part in vectors]
    settings = {"symmetric": symmetric, "mask": mask, "margin": margin}
    found = reference.info_nce(*own, positives, TEMPERATURE, **settings)
    return [found.detach(), *torch.autograd.grad(found, own)]


def check(
    size: tuple[int, int, int],
    masked: bool,
    symmetric: bool,
    margin: float | None,
    dtype: torch.dtype = torch.float32,
) -> None:
    vectors, positives, mask = a_batch(*size)
    own = [part.to(DEVICE, dtype).requires_grad_() for part in vectors]
    positives, mask = positives.to(DEVICE), mask.to(torch.device(DEVICE))
    chosen = mask if masked else None
    wanted = by_definition([part.detach() for part in own], positives, chosen, symmetric, margin)
    loss = info_nce(*own, positives, TEMPERATURE, symmetric=symmetric, mask=chosen, margin=margin)
    loss.backward()
    torch.testing.assert_close(loss.detach().double(), wanted[0], rtol=1e-5, atol=1e-5)
    for ours, exact in zip(own, wanted[1:], strict=True):
        assert ours.grad is not None
        # bfloat16 rounds the gradient when all is done.
        apart = 1e-4 if dtype == torch.float32 else 2**-8
        assert (ours.grad.double() - exact).norm() <= apart * exact.norm() + 1e-9


@runnable
@pytest.mark.usefixtures("through_triton")
@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("margin", [None, 0.1])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_equals_the_definition(
    symmetric: bool, margin: float | None, masked: bool, size: tuple[int, int, int]
) -> None:
    check(size, masked, symmetric, margin)


@on_a_gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("size", ON_A_GPU)
def test_equals_the_definition_on_a_gpu(
    dtype: torch.dtype, symmetric: bool, masked: bool, size: tuple[int, int, int]
) -> None:
    check(size, masked, symmetric, 0.1 if masked else None, dtype)


@on_a_gpu
def test_memory_is_that_of_the_vectors() -> None:
    """A batch whose logits would take 4 GB."""
    vectors, positives, _ = a_batch(32_768, 32_768, 128)
    own = [part.to(DEVICE).requires_grad_() for part in vectors]
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    info_nce(*own, positives.to(DEVICE), TEMPERATURE, symmetric=True).backward()
    assert torch.cuda.max_memory_allocated() - before < 12 * own[0].nbytes
