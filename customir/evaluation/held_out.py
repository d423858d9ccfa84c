"""Held-out queries: which passages answer them, and how each candidate ranks passages for them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from customir.evaluation.gate import Metrics, PairedMetrics
from customir.evaluation.metrics import Qrels, Rankings, by_query
from customir.evaluation.systems import SystemResult, measure
from customir.settings import Settings
from customir.workspace.passages import Passage
from customir.workspace.queries import Query, SelfSupervisedQuery, Split


@dataclass(frozen=True)
class HeldOutData:
    """Passages, and queries of dev and test threads that are answered by some of them.

    Attributes:
        queries: The LLM's.
        pairs: Queries that people wrote, from self-supervised pairs.
    """

    passages: Sequence[Passage]
    queries: Sequence[Query]
    pairs: Sequence[SelfSupervisedQuery]

    def of(self, split: Split) -> "HeldOutData":
        """The queries of one split, with all passages."""
        return HeldOutData(
            self.passages,
            [query for query in self.queries if query.split == split],
            [pair for pair in self.pairs if pair.split == split],
        )

    def among(self, rows: Sequence[int]) -> "HeldOutData":
        """The same queries with some of the passages, in this order; `answer_rows` among them."""
        places = {row: place for place, row in enumerate(rows)}
        return HeldOutData(
            [self.passages[row] for row in rows],
            self.queries,
            [replace(pair, row=places[pair.row]) for pair in self.pairs],
        )

    def answer_rows(self) -> set[int]:
        """Rows of all passages that are relevant to one of the queries."""
        group_of = {passage.key: passage.duplicates for passage in self.passages}
        groups = {group_of[query.passage] for query in self.queries}
        rows = {row for row, each in enumerate(self.passages) if each.duplicates in groups}
        return rows | {pair.row for pair in self.pairs}


@dataclass(frozen=True)
class RankedQueries:
    """Held-out queries of one origin and one split, with the rankings of several candidates.

    Attributes:
        threads: Thread of each query's passage.
        passage_keys: Keys of the passages, which the rankings number.
        rankings: By interpolation weight; 0 is the base.
    """

    queries: Sequence[Query | SelfSupervisedQuery]
    threads: Sequence[str]
    qrels: Qrels
    passage_keys: Sequence[str]
    rankings: Mapping[float, Rankings]

    def metrics_of(self, weight: float) -> Metrics:
        """A candidate's metrics of each query."""
        keys = [query.key for query in self.queries]
        return by_query(self.qrels, keys, self.passage_keys, self.rankings[weight])

    def metrics(self) -> dict[float, Metrics]:
        """Metrics of each query, by interpolation weight."""
        return {weight: self.metrics_of(weight) for weight in self.rankings}

    def against_base(self, weight: float) -> PairedMetrics:
        """A candidate beside the base."""
        return PairedMetrics(self.metrics_of(weight), self.metrics_of(0.0), self.threads)

    def measure(self, runs: Mapping[str, Rankings], settings: Settings) -> list[SystemResult]:
        """Compare systems with the base."""
        keys = [query.key for query in self.queries]
        return measure(
            runs, self.qrels, keys, self.passage_keys, self.threads,
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
