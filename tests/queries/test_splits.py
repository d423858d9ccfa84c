"""Splits: disjoint by thread and near-duplicate group, close to the share asked for, stable."""

import random
from collections import Counter, defaultdict

import pytest

from customir.queries.splits import split_passages
from customir.workspace.passages import Passage


def passage(number: int, thread: str, duplicates: str) -> Passage:
    return Passage(f"p{number}", f"d{number}", 0, "text", duplicates, "", thread)


@pytest.mark.parametrize("held_out", [0.1, 0.3, 0.6])
def test_shares_are_close_to_what_was_asked_for(held_out: float) -> None:
    passages = [passage(n, f"t{n // 2}", f"p{n}") for n in range(8000)]
    counts = Counter(split_passages(passages, held_out, 0).values())
    assert counts["test"] / 8000 == pytest.approx(held_out * 2 / 3, abs=0.02)
    assert counts["dev"] / 8000 == pytest.approx(held_out / 3, abs=0.02)
    assert counts["train"] / 8000 == pytest.approx(1 - held_out, abs=0.03)


def test_no_thread_and_no_group_is_in_two_splits() -> None:
    draw = random.Random(0)
    passages = [
        passage(n, f"t{draw.randrange(300)}", f"p{n}" if n % 9 else f"g{draw.randrange(60)}")
        for n in range(700)
    ]
    splits = split_passages(passages, 0.5, 0)
    assert set(splits) == {passage.key for passage in passages}
    assert set(splits.values()) == {"train", "dev", "test"}
    for name in ("thread", "duplicates"):
        homes = defaultdict(set)
        for each in passages:
            homes[getattr(each, name)].add(splits[each.key])
        assert all(len(found) == 1 for found in homes.values())


def test_chains_hold_together() -> None:
    # Thread a meets b in a group, b meets c in another: one cluster.
    chain = [
        passage(0, "a", "g"), passage(1, "b", "g"), passage(2, "b", "h"), passage(3, "c", "h"),
    ]  # fmt: skip
    for seed in range(20):
        assert len(set(split_passages(chain, 0.5, seed).values())) == 1
    # A thread and a group of the same name have nothing to do with each other.
    apart = [passage(0, "x", "g"), passage(1, "y", "x")]
    assert any(len(set(split_passages(apart, 0.5, seed).values())) == 2 for seed in range(20))


def test_content_and_seed_alone_decide() -> None:
    passages = [passage(n, f"t{n // 3}", f"p{n - n % 2}") for n in range(300)]
    splits = split_passages(passages, 0.4, 0)
    shuffled = passages.copy()
    random.Random(1).shuffle(shuffled)
    assert split_passages(shuffled, 0.4, 0) == splits
    assert split_passages(passages, 0.4, 1) != splits
    # Other mail that comes in later moves nothing; a larger share only adds.
    later = [passage(n, f"t{n}", f"p{n}") for n in range(1000, 1100)]
    grown = split_passages(passages + later, 0.4, 0)
    assert {key: grown[key] for key in splits} == splits
    wider = split_passages(passages, 0.8, 0)
    assert all(wider[key] != "train" for key, split in splits.items() if split != "train")
    assert split_passages([], 0.4, 0) == {}


def test_splits_are_the_same_on_every_machine() -> None:
    """A change would mix what existing workspaces trained on with what they are tested on."""
    passages = [passage(n, f"t{n}", f"p{n}") for n in range(9)]
    splits = split_passages(passages, 0.5, 5)
    assert [splits[each.key] for each in passages] == [
        "test", "test", "train", "dev", "train", "dev", "dev", "test", "test",
    ]  # fmt: skip
