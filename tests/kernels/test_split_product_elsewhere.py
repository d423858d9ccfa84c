"""Where a processor has no tiles for bfloat16, products are torch's."""

from pathlib import Path

import pytest
import torch
from arm64 import on_arm64, run_on_arm64
from customir.kernels import split_product
from customir.kernels.linear import product

MAIN = """
int main() {
  if (customir_has_tiles()) return 1;
  return customir_split_product(nullptr, 0, 0, 0, nullptr, 0, 0, 0, nullptr, nullptr, 1) == -1 ? 0 : 2;
}
"""


@on_arm64
def test_it_compiles_for_arm64_and_says_no(tmp_path: Path) -> None:
    assert run_on_arm64("split_product.cpp", MAIN, tmp_path).returncode == 0


def test_without_a_compiler_products_are_torchs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(split_product, "_library", lambda: None)
    left, right = torch.ones(256, 32), torch.ones(64, 32)
    assert not split_product.has_tiles()
    assert not split_product.takes(left, right)
    assert torch.equal(product(left, right), left @ right.T)
