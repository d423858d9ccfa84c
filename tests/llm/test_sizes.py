"""Sizes of a context: from what a cell takes, what memory is free, and the device."""

import pytest

from customir.llm.sizes import (
    CACHE_SHARE,
    ON_CPU,
    ON_GPU,
    SMALLEST_CONTEXT,
    Sizes,
    choose_sizes,
    free_memory,
)

CELL = 12_288  # of Qwen2.5-0.5B: keys and values, 24 layers, 2 heads of 64, float16


def test_with_memory_enough_it_is_the_device_s() -> None:
    assert choose_sizes(CELL, 8 * 2**30, on_gpu=False) == ON_CPU
    assert choose_sizes(CELL, None, on_gpu=False) == ON_CPU
    assert choose_sizes(CELL, None, on_gpu=True) == ON_GPU
    assert ON_GPU.sequences > ON_CPU.sequences
    assert ON_GPU.batch_tokens > ON_CPU.batch_tokens


@pytest.mark.parametrize(("share", "halvings"), [(1.0, 0), (0.9, 1), (0.5, 1), (0.3, 2), (0.01, 2)])
def test_the_cache_takes_its_share_of_the_memory_and_no_more(share: float, halvings: int) -> None:
    whole = ON_CPU.context_tokens * CELL / CACHE_SHARE
    made = choose_sizes(CELL, int(share * whole), on_gpu=False)
    assert made.context_tokens == ON_CPU.context_tokens >> halvings
    assert made.context_tokens >= SMALLEST_CONTEXT
    assert (made.sequences, made.batch_tokens) == (ON_CPU.sequences, ON_CPU.batch_tokens)


def test_a_context_is_halved_down_to_the_smallest() -> None:
    sizes: Sizes | None = ON_CPU
    seen = []
    while sizes:
        seen.append(sizes.context_tokens)
        sizes = sizes.halved()
    assert seen == [4096, 2048, 1024]


def test_free_memory_is_some_or_unknown() -> None:
    free = free_memory()
    assert free is None or free > 10_000_000
