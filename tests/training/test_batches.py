"""Batches keep threads apart, and the mask catches what they can't."""

from customir.training.batches import collate, cut_epoch
from customir.training.examples import Example, TrainingPassage


def passage(key: str, thread: str = "", duplicates: str = "") -> TrainingPassage:
    return TrainingPassage(key, f"text of {key}", thread or f"t-{key}", duplicates or key)


def pairs(count: int, threads: int) -> list[Example]:
    return [Example(f"q{n}", passage(f"p{n}", thread=f"t{n % threads}")) for n in range(count)]


def test_an_epoch_holds_each_pair_once_in_batches_of_like_size() -> None:
    batches = cut_epoch(pairs(130, 130), size=64, seed=0, epoch=0)
    assert sorted(index for batch in batches for index in batch) == list(range(130))
    assert sorted(map(len, batches)) == [42, 44, 44]


def test_order_follows_from_seed_and_epoch_alone() -> None:
    examples = pairs(50, 50)
    assert cut_epoch(examples, 10, seed=3, epoch=1) == cut_epoch(examples, 10, seed=3, epoch=1)
    assert cut_epoch(examples, 10, seed=3, epoch=1) != cut_epoch(examples, 10, seed=3, epoch=2)
    assert cut_epoch(examples, 10, seed=3, epoch=1) != cut_epoch(examples, 10, seed=4, epoch=1)


def test_one_pair_a_thread_where_possible() -> None:
    examples = pairs(40, 10)
    for batch in cut_epoch(examples, size=10, seed=0, epoch=0):
        threads = [examples[index].positive.thread for index in batch]
        assert len(threads) - len(set(threads)) <= 2, "the greedy cut leaves a few at the end"
    loose = cut_epoch(examples, size=8, seed=0, epoch=0)
    assert [len({examples[index].positive.thread for index in batch}) for batch in loose[:3]] == [
        8,
        8,
        8,
    ]


def test_all_pairs_of_one_thread_still_make_batches() -> None:
    batches = cut_epoch(pairs(9, 1), size=4, seed=0, epoch=0)
    assert sorted(map(len, batches)) == [3, 3, 3]


def test_every_text_is_there_once_and_the_mask_says_why() -> None:
    a, b = passage("a", thread="t1"), passage("b", thread="t1")
    c, d = passage("c", duplicates="g"), passage("d", duplicates="g")
    e, f = passage("e"), passage("f")
    examples = [
        Example("qa", a, (c, f)),
        Example("qb", b, (a,)),  # a positive as someone's negative
        Example("qc", c),
        Example("qd", d, relevant=frozenset({"f", "elsewhere"})),
        Example("same", e),
        Example("same", f),
    ]
    batch = collate(examples)
    keys = [made.key for made in batch.passages]
    assert sorted(keys) == ["a", "b", "c", "d", "e", "f"]
    assert batch.queries == ("qa", "qb", "qc", "qd", "same")
    assert batch.asked.tolist() == [0, 1, 2, 3, 4, 4]
    masked = {}
    for number, example in enumerate(examples):
        same = (batch.mask.query_labels[number] == batch.mask.passage_labels).any(1).tolist()
        hidden = {key for key, equal in zip(keys, same, strict=True) if equal}
        hidden |= {keys[place] for place in batch.mask.excluded[number].tolist() if place >= 0}
        masked[number] = hidden - {example.positive.key}
    assert masked == {0: {"b"}, 1: {"a"}, 2: {"d"}, 3: {"c", "f"}, 4: {"f"}, 5: {"e"}}


def test_passages_without_a_thread_are_not_one_thread() -> None:
    loose = [TrainingPassage(key, key, "", "") for key in "ab"]
    batch = collate([Example("q1", loose[0]), Example("q2", loose[1])])
    assert not (batch.mask.query_labels[0] == batch.mask.passage_labels[1]).any()
