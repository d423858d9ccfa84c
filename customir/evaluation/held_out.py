"""Held-out queries: which passages answer them, and how each candidate ranks the corpus for them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from customir.evaluation.gate import Metrics, PairedMetrics
from customir.evaluation.metrics import Qrels, Rankings, by_query
from customir.evaluation.systems import SystemResult, measure
from customir.settings import Settings
from customir.workspace.passages import Passage
from customir.workspace.queries import Query, SelfSupervisedQuery, Split


@dataclass(frozen=True)
class HeldOutData:
    """The corpus and the queries of its dev and test threads.

    Attributes:
        queries: The LLM's.
        pairs: Queries that people wrote, from self-supervised pairs.
    """

    passages: Sequence[Passage]
    queries: Sequence[Query]
    pairs: Sequence[SelfSupervisedQuery]


@dataclass(frozen=True)
class RankedQueries:
    """Held-out queries of one origin, with every candidate's rankings for them.

    Attributes:
        threads: Thread of each query's passage.
        passage_keys: Keys of the corpus, which the rankings number.
        rankings: By interpolation weight; 0 is the base.
    """

    queries: Sequence[Query | SelfSupervisedQuery]
    threads: Sequence[str]
    qrels: Qrels
    passage_keys: Sequence[str]
    rankings: Mapping[float, Rankings]

    def numbers_in(self, split: Split) -> list[int]:
        """Numbers of the queries in a split."""
        return [number for number, query in enumerate(self.queries) if query.split == split]

    def threads_in(self, split: Split) -> list[str]:
        """Threads of the queries in a split."""
        return [self.threads[number] for number in self.numbers_in(split)]

    def rankings_in(self, split: Split, weight: float) -> list[np.ndarray]:
        """A candidate's rankings for the queries of a split."""
        return [self.rankings[weight][number] for number in self.numbers_in(split)]

    def metrics_in(self, split: Split, weight: float) -> Metrics:
        """A candidate's metrics of each query of a split."""
        keys = [self.queries[number].key for number in self.numbers_in(split)]
        return by_query(self.qrels, keys, self.passage_keys, self.rankings_in(split, weight))

    def dev_metrics(self) -> dict[float, Metrics]:
        """Metrics of each dev query, by interpolation weight."""
        return {weight: self.metrics_in("dev", weight) for weight in self.rankings}

    def test_pairs(self, weight: float) -> PairedMetrics:
        """A candidate beside the base on the test queries."""
        return PairedMetrics(
            self.metrics_in("test", weight), self.metrics_in("test", 0.0), self.threads_in("test")
        )

    def measure_test(self, runs: Mapping[str, Rankings], settings: Settings) -> list[SystemResult]:
        """Compare systems with the base on the test queries."""
        keys = [self.queries[number].key for number in self.numbers_in("test")]
        return measure(
            runs, self.qrels, keys, self.passage_keys, self.threads_in("test"),
            settings.evaluation, settings.seed,
        )  # fmt: skip


def qrels_of(queries: Sequence[Query], passages: Sequence[Passage]) -> Qrels:
    """Relevant to a query are the passage that it was written for and its near-duplicates."""
    groups: dict[str, list[str]] = {}
    for passage in passages:
        groups.setdefault(passage.duplicates, []).append(passage.key)
    group_of = {passage.key: passage.duplicates for passage in passages}
    return {query.key: dict.fromkeys(groups[group_of[query.passage]], 1) for query in queries}


def threads_of(queries: Sequence[Query], passages: Sequence[Passage]) -> list[str]:
    """The thread of each query's passage."""
    thread = {passage.key: passage.thread for passage in passages}
    return [thread[query.passage] for query in queries]


def subset_with_answers(passages: Sequence[Passage], qrels: Qrels, at_least: int) -> list[Passage]:
    """All relevant passages and, up to `at_least` in total, other passages in their order."""
    wanted = {key for grades in qrels.values() for key in grades}
    answers = [passage for passage in passages if passage.key in wanted]
    others = [passage for passage in passages if passage.key not in wanted]
    return answers + others[: max(0, at_least - len(answers))]
