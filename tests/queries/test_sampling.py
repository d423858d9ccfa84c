"""Sampling: one a near-duplicate group, spread over threads, by content."""

import random

from customir.queries.sampling import MINIMUM_WORDS, sample_passages
from customir.workspace.passages import Passage

LONG = "word " * MINIMUM_WORDS
PASSAGES = [
    Passage(f"p{n:03}", f"d{n}", 0, f"{LONG} {n}", f"p{n - n % 2:03}", "", f"t{n % 7}")
    for n in range(100)
]


def test_one_of_a_group_and_threads_in_turn() -> None:
    sample = sample_passages(PASSAGES, 1000, 0)
    assert len(sample) == 50
    assert len({passage.duplicates for passage in sample}) == 50
    first = sample[:7]
    assert len({passage.thread for passage in first}) == 7


def test_a_larger_count_is_a_superset_and_order_of_input_does_not_matter() -> None:
    shuffled = PASSAGES.copy()
    random.Random(1).shuffle(shuffled)
    whole = sample_passages(PASSAGES, 1000, 3)
    for count in (0, 1, 7, 20, 50):
        assert sample_passages(shuffled, count, 3) == whole[:count]
    assert sample_passages(PASSAGES, 20, 4) != whole[:20]


def test_what_is_too_short_says_too_little() -> None:
    short = Passage("s", "d", 0, "word " * (MINIMUM_WORDS - 1), "s", "a long title " * 9, "t")
    enough = Passage("e", "d", 1, "word " * MINIMUM_WORDS, "e", "", "t")
    assert sample_passages([short, enough], 5, 0) == [enough]
    assert sample_passages([], 5, 0) == []
