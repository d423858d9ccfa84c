"""Batches: which pairs share one, which passages are its columns, which of them are negatives."""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from customir.kernels.infonce import NegativeMask
from customir.training.examples import Example, TrainingPassage


@dataclass(frozen=True)
class Batch:
    """A batch of pairs in which every text occurs once.

    Attributes:
        queries: Unique query texts.
        passages: Unique passages by key: positives and hard negatives of all pairs.
        asked: int64, shape (pairs,): each pair's query, a position in `queries`.
        positives: int64, shape (pairs,): each pair's positive, a position in `passages`.
        mask: Which passages are not negatives of each pair's query.
    """

    queries: tuple[str, ...]
    passages: tuple[TrainingPassage, ...]
    asked: Tensor
    positives: Tensor
    mask: NegativeMask

    def to(self, device: torch.device) -> "Batch":
        """The same batch with its tensors on `device`."""
        return replace(
            self,
            asked=self.asked.to(device),
            positives=self.positives.to(device),
            mask=self.mask.to(device),
        )


def cut_epoch(examples: Sequence[Example], size: int, seed: int, epoch: int) -> list[list[int]]:
    """The batches of an epoch as positions in `examples`, shuffled by `seed` and `epoch`.

    Batches have nearly equal sizes, at most `size`. A pair goes to the first batch with room that
    has no pair of its thread, near-duplicate group or query text. If no batch qualifies, the pair
    goes to the batch with the most room, and the false-negative mask hides what conflicts.
    """
    order = np.random.default_rng([seed, epoch]).permutation(len(examples)).tolist()
    count = -(-len(examples) // size)
    capacity = -(-len(examples) // count)
    batches: list[list[int]] = [[] for _ in range(count)]
    taken: list[set[Hashable]] = [set() for _ in range(count)]
    left: list[int] = []
    first = 0  # every batch before this one is full
    for index in order:
        labels = _labels(examples[index])
        while first < count and len(batches[first]) == capacity:
            first += 1
        for number in range(first, count):
            if len(batches[number]) < capacity and taken[number].isdisjoint(labels):
                batches[number].append(index)
                taken[number] |= labels
                break
        else:
            left.append(index)
    for index in left:
        min(batches, key=len).append(index)
    return batches


def collate(examples: Sequence[Example]) -> Batch:
    """Build the batch of `examples`: its unique texts and the mask over them.

    Passage j is not a negative of query i if j and i's positive are in the same thread or
    near-duplicate group, if j is the positive of another pair with the same query text, or if the
    judge called j relevant to i. A positive that is also a hard negative of another pair is one
    column.
    """
    queries = _positions(example.query for example in examples)
    passages: dict[str, TrainingPassage] = {}
    for example in examples:
        for passage in (example.positive, *example.negatives):
            passages.setdefault(passage.key, passage)
    columns = _positions(passages)
    answers: dict[str, set[str]] = defaultdict(set)
    for example in examples:
        answers[example.query].add(example.positive.key)
    excluded = [
        sorted(
            columns[key]
            for key in (answers[example.query] | example.relevant) - {example.positive.key}
            if key in columns
        )
        for example in examples
    ]
    positives = torch.tensor([columns[example.positive.key] for example in examples])
    labels = _passage_labels(list(passages.values()))
    return Batch(
        queries=tuple(queries),
        passages=tuple(passages.values()),
        asked=torch.tensor([queries[example.query] for example in examples]),
        positives=positives,
        mask=NegativeMask(
            query_labels=labels[positives],
            passage_labels=labels,
            excluded=_padded(excluded),
        ),
    )


def _padded(rows: Sequence[Sequence[int]]) -> Tensor:
    """Rows of different lengths as one int64 tensor, padded with -1 on the right."""
    width = max(map(len, rows), default=0)
    padded = [[*row, *([-1] * (width - len(row)))] for row in rows]
    return torch.tensor(padded, dtype=torch.int64).reshape(len(rows), width)


def _labels(example: Example) -> set[Hashable]:
    labels: set[Hashable] = {
        ("query", example.query),
        ("duplicates", example.positive.duplicates or example.positive.key),
    }
    if example.positive.thread:
        labels.add(("thread", example.positive.thread))
    return labels


def _passage_labels(passages: Sequence[TrainingPassage]) -> Tensor:
    """The numbers of each passage's thread and near-duplicate group: int64, shape (passages, 2)."""
    threads = [passage.thread or ("none", passage.key) for passage in passages]
    groups = [passage.duplicates or ("none", passage.key) for passage in passages]
    names = (_positions(threads), _positions(groups))
    return torch.tensor(
        [[names[0][thread], names[1][group]] for thread, group in zip(threads, groups, strict=True)]
    )


def _positions(values: Iterable[Hashable]) -> dict:
    """Map each distinct value to its position in the order of first occurrence."""
    return {value: place for place, value in enumerate(dict.fromkeys(values))}
