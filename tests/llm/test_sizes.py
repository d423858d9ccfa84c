"""Sizes of a context: from what a cell takes, what memory is free, and the device."""

import pytest

from customir.llm.sizes import (
    CACHE_SHARE,
    ON_GPU,
    SCORING_ON_CPU,
    SMALLEST_CONTEXT,
    WRITING_ON_CPU,
    Sizes,
    choose_sizes,
)
from customir.processors import free_memory

CELL = 12_288  # of Qwen2.5-0.5B: keys and values, 24 layers, 2 heads of 64, float16


def test_with_memory_enough_it_is_the_device_s() -> None:
    assert choose_sizes(CELL, 8 * 2**30, on_gpu=False, writing=True) == WRITING_ON_CPU
    assert choose_sizes(CELL, None, on_gpu=False, writing=True) == WRITING_ON_CPU
    assert choose_sizes(CELL, None, on_gpu=False, writing=False) == SCORING_ON_CPU
    assert choose_sizes(CELL, None, on_gpu=True, writing=True) == ON_GPU
    assert choose_sizes(CELL, None, on_gpu=True, writing=False) == ON_GPU
    assert ON_GPU.sequences > WRITING_ON_CPU.sequences
    assert ON_GPU.batch_tokens > WRITING_ON_CPU.batch_tokens


@pytest.mark.parametrize(("share", "sequences"), [(1.0, 16), (0.9, 8), (0.5, 4), (0.1, 1)])
def test_the_cache_takes_its_share_of_the_memory_and_no_more(share: float, sequences: int) -> None:
    whole = WRITING_ON_CPU.context_tokens * CELL / CACHE_SHARE
    made = choose_sizes(CELL, int(share * whole), on_gpu=False, writing=True)
    assert made.sequences == sequences
    assert made.longest_prompt == WRITING_ON_CPU.longest_prompt
    assert made.batch_tokens == WRITING_ON_CPU.batch_tokens
    if sequences > 1:
        assert made.context_tokens <= share * WRITING_ON_CPU.context_tokens


def test_own_cells_are_given_up_with_their_sequences() -> None:
    sizes: Sizes | None = WRITING_ON_CPU
    seen = []
    while sizes:
        seen.append((sizes.sequences, sizes.context_tokens, sizes.longest_prompt))
        sizes = sizes.smaller()
    assert seen == [(n, (n + 1) * 1024, 1024) for n in (16, 8, 4, 2, 1)]


def test_shared_cells_are_halved_down_to_the_smallest() -> None:
    sizes: Sizes | None = ON_GPU
    seen = []
    while sizes:
        seen.append(sizes.context_tokens)
        assert sizes.longest_prompt == sizes.context_tokens
        sizes = sizes.smaller()
    assert seen == [32768, 16384, 8192, 4096, 2048, SMALLEST_CONTEXT]


def test_free_memory_is_some_or_unknown() -> None:
    free = free_memory()
    assert free is None or free > 10_000_000
