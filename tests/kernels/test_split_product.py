"""Float32 products by a processor's tiles against float64, and against torch's float32."""

import subprocess
import sys

import pytest
import torch
from customir.kernels.linear import product
from customir.kernels.split_product import has_tiles, split_product, takes
from torch import Tensor

pytestmark = pytest.mark.skipif(not has_tiles(), reason="no AMX here, or no kernel was compiled")

# Of a tile, of a pair of tiles and of what is split at a time: as many, one more, less.
SHAPES = [(256, 32, 32), (257, 384, 64), (512, 416, 96), (1000, 1536, 384), (300, 768, 1152)]


def given(rows: int, depth: int, columns: int) -> tuple[Tensor, Tensor, Tensor]:
    """Numbers that differ in size a million-fold, as gradients do."""
    generator = torch.Generator().manual_seed(rows)
    left, right, bias = (
        torch.randn(shape, generator=generator)
        for shape in [(rows, depth), (columns, depth), (columns,)]
    )
    return left * 10 ** torch.linspace(-6, 0, rows)[:, None], right, bias


def error(found: Tensor, exact: Tensor) -> float:
    """Of the worst row, relative."""
    return float(((found - exact).norm(dim=1) / exact.norm(dim=1)).max())


@pytest.mark.parametrize(("rows", "depth", "columns"), SHAPES)
@pytest.mark.parametrize("across", [False, True])
@pytest.mark.parametrize("threads", [1, 3])
def test_as_exact_as_float32(
    rows: int, depth: int, columns: int, across: bool, threads: int
) -> None:
    left, right, bias = given(rows, depth, columns)
    laid = right.T.contiguous().T if across else right
    exact = left.double() @ right.double().T
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found = split_product(left, laid)
        biased = split_product(left, laid, bias)
    finally:
        torch.set_num_threads(before)
    for ours, plain, true in (
        (found, left @ right.T, exact),
        (biased, left @ right.T + bias, exact + bias.double()),
    ):
        assert error(ours.double(), true) <= 1.5 * error(plain.double(), true) < 1e-5


def test_parts_of_larger_matrices() -> None:
    left, right, _ = given(600, 128, 96)
    rows, columns = left[::2, 32:96], right[:64, 32:96]
    found = split_product(rows, columns)
    assert error(found.double(), rows.double() @ columns.double().T) < 1e-6


def test_no_number_stays_none_and_spoils_its_row_alone() -> None:
    left, right, _ = given(256, 64, 32)
    left[3, 5], left[7, 0] = torch.nan, torch.inf
    found = split_product(left, right)
    assert (~found.isfinite()).any(1).nonzero().flatten().tolist() == [3, 7]


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (torch.ones(255, 32), torch.ones(32, 32)),
        (torch.ones(256, 31), torch.ones(32, 31)),
        (torch.ones(256, 32), torch.ones(48, 32)),
        (torch.ones(256, 64)[:, ::2], torch.ones(32, 32)),
        (torch.ones(256, 32), torch.ones(64, 64)[::2, ::2]),
        (torch.ones(256, 32).bfloat16(), torch.ones(32, 32).bfloat16()),
        (torch.ones(2, 256, 32), torch.ones(32, 32)),
    ],
)
def test_what_it_does_not_take_is_torchs(left: Tensor, right: Tensor) -> None:
    assert not takes(left, right)
    with pytest.raises(ValueError, match="by tiles"):
        split_product(left, right)
    torch.testing.assert_close(product(left, right), left @ right.T)


def test_takes_turns_with_torchs_own_tiles() -> None:
    """oneDNN keeps its tiles' shapes between calls; both must find their own."""
    left, right, _ = given(512, 384, 384)
    exact = split_product(left, right)
    rough = left.bfloat16() @ right.bfloat16().T
    for _ in range(3):
        assert torch.equal(split_product(left, right), exact)
        assert torch.equal(left.bfloat16() @ right.bfloat16().T, rough)


def test_one_seed_gives_one_result_whatever_the_threads() -> None:
    code = (
        "import sys, torch; from customir.kernels.split_product import split_product;"
        "torch.set_num_threads(int(sys.argv[1])); torch.manual_seed(0);"
        "print(split_product(torch.randn(1000, 384), torch.randn(384, 384)).double().sum().item())"
    )
    runs = [
        subprocess.run([sys.executable, "-c", code, n], capture_output=True, text=True, check=True)
        for n in ("1", "2")
    ]
    assert runs[0].stdout == runs[1].stdout != ""
