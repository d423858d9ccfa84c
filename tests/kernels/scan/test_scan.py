"""The C++ scan kernel: every instruction set against numpy's integers."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from customir.kernels import native
from customir.kernels.scan import (
    STEP_WIDTH,
    DamagedVectorError,
    Scanner,
    best_kernel,
    binding,
    checksums,
    has_kernel,
    quantize_2bit,
    quantize_int8,
    reference,
    top_k,
)

from customir.runtime.cache import VectorCache, build

ROOT = Path(__file__).parent.parent.parent.parent

pytestmark = pytest.mark.skipif(best_kernel() is None, reason="no scan kernel was compiled")

KERNELS = ("avx512_vnni", "avx2", "neon", "portable")


def numbers(seed: int, *shape: int, low: int = -128, high: int = 128) -> np.ndarray:
    return np.random.default_rng(seed).integers(low, high, shape, dtype=np.int8)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize(
    ("rows", "width", "queries", "k"),
    [(1, 64, 1, 1), (63, 384, 1, 10), (64, 384, 5, 64), (1001, 384, 7, 40), (500, 4096, 2, 600)],
)
def test_every_kernel_gives_the_exact_order(
    kernel: str, threads: int, rows: int, width: int, queries: int, k: int
) -> None:
    if not has_kernel(kernel):
        pytest.skip(f"this processor has no {kernel}")
    matrix, asked = numbers(rows, rows, width), numbers(rows + 1, queries, width)
    found = top_k(asked, matrix, k, threads, kernel)
    for ours, expected in zip(found, reference.top_k(asked, matrix, k), strict=True):
        assert np.array_equal(ours, expected)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize(
    ("rows", "width", "queries", "k"),
    [(1, 32, 1, 1), (63, 96, 1, 10), (64, 96, 5, 64), (1001, 96, 7, 40), (500, 1024, 2, 600)],
)
def test_every_kernel_gives_the_exact_order_of_2_bits(
    kernel: str, threads: int, rows: int, width: int, queries: int, k: int
) -> None:
    if not has_kernel(kernel):
        pytest.skip(f"this processor has no {kernel}")
    matrix, asked = numbers(rows, rows, width).view(np.uint8), numbers(rows + 1, queries, 4 * width)
    found = top_k(asked, matrix, k, threads, kernel)
    for ours, expected in zip(found, reference.top_k(asked, matrix, k), strict=True):
        assert np.array_equal(ours, expected)


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_extremes_of_2_bits_do_not_overflow(kernel: str) -> None:
    if not has_kernel(kernel):
        pytest.skip(f"this processor has no {kernel}")
    matrix = np.full((40, 16384), 255, dtype=np.uint8)
    for extreme in (-128, 127):
        asked = np.full((5, 65536), extreme, dtype=np.int8)
        rows, scores = top_k(asked, matrix, 7, 2, kernel)
        assert rows.tolist() == [list(range(7))] * 5
        assert set(scores.ravel().tolist()) == {3 * extreme * 65536}


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_extremes_do_not_overflow_and_ties_go_by_row(kernel: str) -> None:
    if not has_kernel(kernel):
        pytest.skip(f"this processor has no {kernel}")
    matrix = np.full((40, 65536), -128, dtype=np.int8)
    rows, scores = top_k(matrix[:1], matrix, 7, 2, kernel)
    assert rows[0].tolist() == list(range(7))
    assert set(scores[0].tolist()) == {2**30}
    few = numbers(0, 900, 64, low=-1, high=2)  # small numbers: ties everywhere
    for ours, expected in zip(
        top_k(few[:3], few, 50, 3, kernel), reference.top_k(few[:3], few, 50), strict=True
    ):
        assert np.array_equal(ours, expected)


def test_no_rows_and_no_queries() -> None:
    assert top_k(numbers(0, 3, 64), numbers(0, 0, 64), 5)[0].shape == (3, 0)
    assert top_k(numbers(0, 0, 64), numbers(0, 4, 64), 5)[0].shape == (0, 4)


def test_what_it_cannot_scan_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot scan"):
        top_k(numbers(0, 1, 60), numbers(0, 4, 60), 5)
    with pytest.raises(ValueError, match="cannot scan"):
        top_k(numbers(0, 1, 64), numbers(0, 4, 128), 5)
    with pytest.raises(ValueError, match="cannot scan"):
        top_k(numbers(0, 1, 64), numbers(0, 4, 64), 0)
    with pytest.raises(ValueError, match="cannot scan"):
        top_k(numbers(0, 1, 64), numbers(0, 4, 64).view(np.uint8), 1)
    with pytest.raises(ValueError, match="expected int8"):
        top_k(numbers(0, 1, 64), numbers(0, 4, 64).astype(np.float32), 1)  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="no scan kernel abacus"):
        top_k(numbers(0, 1, 64), numbers(0, 4, 64), 1, kernel="abacus")


def test_quantising_rounds_cuts_and_pads() -> None:
    vectors = np.array([[0.5, -1.0, 0.004, 2.0]], dtype=np.float32)
    held = quantize_int8(vectors, 127)
    assert held.shape == (1, 64)
    assert held[0, :4].tolist() == [64, -127, 1, 127]
    assert not held[0, 4:].any()


def test_4_bits_are_steps_around_the_mean_and_dimensions_without_any_do_no_harm() -> None:
    chance = np.random.default_rng(0)
    vectors = chance.normal(3, 0.5, (5000, 200)).astype(np.float32)
    vectors[:, 7] = 3
    steps = np.full(200, STEP_WIDTH * 0.5, dtype=np.float32)
    codes, residuals = quantize_2bit(vectors, np.full(200, 3, dtype=np.float32), steps)
    held = 4 * reference.unpack(codes) + reference.unpack(residuals)
    assert held.shape == (5000, 256)
    assert not held[:, 200:].any()
    assert set(held[:, 7]) == {8}
    assert set(held[:, :200].ravel()) == set(range(16))
    lost = vectors - (3 + (held[:, :200] - 7.5) * steps)
    # Max's table I: 16 equal steps leave .01154 of the variance.
    assert np.square(np.delete(lost, 7, axis=1)).mean() / 0.25 == pytest.approx(0.01154, rel=0.02)


def test_floats_put_in_order_what_was_found_and_damaged_ones_are_noticed() -> None:
    chance = np.random.default_rng(4)
    vectors = chance.normal(size=(300, 77)).astype(np.float32)
    vectors[5] = vectors[9]  # equal: by row
    queries = np.concatenate([vectors[9:10], chance.normal(size=(3, 77)).astype(np.float32)])
    matrix, sums = quantize_int8(vectors, 30), checksums(vectors)
    rows, products = Scanner(matrix, vectors, checksums=sums).nearest(queries, 300)
    exact = queries.astype(np.float64) @ vectors.T.astype(np.float64)
    assert np.array_equal(rows, np.argsort(-exact, axis=1, kind="stable"))
    np.testing.assert_allclose(products, -np.sort(-exact, axis=1), atol=1e-5)
    for row, number in ((0, 0), (150, 40), (299, 76)):
        spoilt = vectors.copy()
        spoilt.view(np.uint32)[row, number] ^= 1
        assert (checksums(spoilt) != sums).nonzero()[0].tolist() == [row]
        with pytest.raises(DamagedVectorError):
            Scanner(matrix, spoilt, checksums=sums).nearest(queries, 300)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("count", [1, 3, 4, 6])
def test_2_bits_choose_among_whom_4_bits_choose(count: int, kernel: str) -> None:
    if not has_kernel(kernel):
        pytest.skip(f"this processor has no {kernel}")
    chance = np.random.default_rng(5)
    vectors = chance.normal(size=(2000, 77)).astype(np.float32)
    queries = chance.normal(size=(count, 77)).astype(np.float32)
    steps = np.full(77, STEP_WIDTH, dtype=np.float32)
    codes, residuals = quantize_2bit(vectors, np.zeros(77, dtype=np.float32), steps)
    rows, products = Scanner(codes, vectors, residuals, steps).nearest(
        queries, 20, 150, kernel=kernel
    )
    asked = quantize_int8(queries, 127 / np.abs(queries).max(axis=1, keepdims=True), 128)
    for query, code, ours, scores in zip(queries, asked, rows, products, strict=True):
        by_two = code.astype(np.int32) @ reference.unpack(codes).astype(np.int32).T
        among = np.sort(np.argsort(-by_two, kind="stable")[:150])
        if count > 3:  # by both at once
            among = np.arange(2000)
        by_four = (
            4 * by_two + code.astype(np.int32) @ reference.unpack(residuals).astype(np.int32).T
        )
        chosen = among[np.argsort(-by_four[among], kind="stable")[:20]]
        assert sorted(ours.tolist()) == sorted(chosen.tolist())
        np.testing.assert_allclose(scores, -np.sort(-(vectors[chosen] @ query)), atol=1e-4)
    with pytest.raises(ValueError, match="cannot find 20 of 19"):
        Scanner(codes, vectors, residuals, steps).nearest(queries, 20, 19)
    with pytest.raises(ValueError, match="residual bits of"):
        Scanner(codes, vectors, residuals[1:], steps)


def cache_of(vectors: np.ndarray, folder: Path) -> VectorCache:
    """Of passages with even numbers."""
    rows = [(2 * row, vector.tobytes()) for row, vector in enumerate(vectors)]
    return build(folder / "vectors", "stamp", vectors.shape[1], lambda: rows)


@pytest.mark.slow
def test_the_ten_best_of_float_search_are_found(tmp_path: Path) -> None:
    chance = np.random.default_rng(1)
    centres = chance.normal(size=(200, 384))  # neighbours, as real vectors have them
    vectors = centres[chance.integers(0, 200, 20_000)] + 0.7 * chance.normal(size=(20_000, 384))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    queries = vectors[:400] + 0.02 * chance.normal(size=(400, 384)).astype(np.float32)
    same = 0
    ids, cosines = cache_of(vectors, tmp_path).nearest(queries, 40, 160)
    for query, found, scores in zip(queries, ids, cosines, strict=True):
        expected = np.argsort(-(vectors @ query), kind="stable")[:10]
        same += (2 * expected).tolist() == found[:10].tolist()
        np.testing.assert_allclose(scores, (vectors @ query)[found // 2], atol=1e-6)
    assert same / len(queries) >= 0.995


def test_among_some_passages_only(tmp_path: Path) -> None:
    vectors = np.eye(70, dtype=np.float32)
    cached = cache_of(vectors, tmp_path)
    assert cached.nearest(vectors[5:6], 3, 9)[0][0, 0] == 10
    assert cached.nearest(vectors[5:6], 3, 9, np.array([8, 12, 99]))[0].tolist() == [[8, 12]]
    assert cached.nearest(vectors[5:6], 3, 9, np.array([], dtype=np.int64))[0].tolist() == [[]]


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5])
def test_rows_that_are_not_allowed_are_as_if_they_were_not_there(kernel: str, share: float) -> None:
    if not has_kernel(kernel):
        pytest.skip(f"this processor has no {kernel}")
    matrix, asked = numbers(1, 2000, 384), numbers(2, 6, 384)
    allowed = np.random.default_rng(3).random(2000) < share
    rows, scores = top_k(asked, matrix, 30, 2, kernel, allowed)
    places = np.flatnonzero(allowed)
    expected, products = reference.top_k(asked, matrix[places], 30)
    assert np.array_equal(rows, places[expected])
    assert np.array_equal(scores, products)
    with pytest.raises(ValueError, match="expected 2000 booleans"):
        top_k(asked, matrix, 30, 2, kernel, allowed[1:])


@pytest.mark.slow
def test_without_a_compiler_the_package_installs_without_the_kernels(tmp_path: Path) -> None:
    script = "from setuptools import setup; setup()"
    folder = tmp_path / "tree"
    folder.mkdir()
    for name in ("pyproject.toml", "README.md", "customir", "kernels", "exporters"):
        (folder / name).symlink_to(ROOT / name)
    done = subprocess.run(
        [sys.executable, "-c", script, "build_ext", "--build-lib", str(tmp_path / "built")],
        cwd=folder,
        env=os.environ | {"CC": "/nowhere/cc", "CXX": "/nowhere/c++"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "_scan" in done.stderr
    assert "_attention" in done.stderr
    assert not list(tmp_path.glob("built/**/*.so"))


def test_without_the_library_there_is_no_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "EXTENSION_SUFFIXES", [".missing"])
    binding._library.cache_clear()
    try:
        assert best_kernel() is None
        assert not has_kernel("portable")
        with pytest.raises(RuntimeError, match="no scan kernel"):
            top_k(numbers(0, 1, 64), numbers(0, 4, 64), 1)
    finally:
        binding._library.cache_clear()
