"""Held-out queries: the passages that answer them, and each candidate's rankings for them."""

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
    """Passages, and the queries of dev and test threads that some of them answer.

    Attributes:
        queries: The queries that the LLM wrote.
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
        """The same queries with these passages, in this order. `rows` must contain all answers."""
        places = {row: place for place, row in enumerate(rows)}
        return HeldOutData(
            [self.passages[row] for row in rows],
            self.queries,
            [replace(pair, row=places[pair.row]) for pair in self.pairs],
        )

    def answer_rows(self) -> set[int]:
        """The rows of all passages that are relevant to any of the queries."""
        answers = _keys_in(qrels_of(self.queries, self.passages))
        rows = {row for row, each in enumerate(self.passages) if each.key in answers}
        return rows | {pair.row for pair in self.pairs}


@dataclass(frozen=True)
class RankedQueries:
    """Held-out queries of one origin and one split, with the rankings of several candidates.

    Attributes:
        threads: The thread of each query's passage.
        passage_keys: The keys of the passages. Rankings contain positions in this list.
        rankings: Rankings by interpolation weight; 0 is the base.
    """

    queries: Sequence[Query | SelfSupervisedQuery]
    threads: Sequence[str]
    qrels: Qrels
    passage_keys: Sequence[str]
    rankings: Mapping[float, Rankings]

    def metrics_of(self, weight: float) -> Metrics:
        """A candidate's metrics on each query."""
        keys = [query.key for query in self.queries]
        return by_query(self.qrels, keys, self.passage_keys, self.rankings[weight])

    def metrics(self) -> dict[float, Metrics]:
        """The metrics on each query, by interpolation weight."""
        return {weight: self.metrics_of(weight) for weight in self.rankings}

    def against_base(self, weight: float) -> PairedMetrics:
        """A candidate's metrics paired with the base's."""
        return PairedMetrics(self.metrics_of(weight), self.metrics_of(0.0), self.threads)

    def measure(self, runs: Mapping[str, Rankings], settings: Settings) -> list[SystemResult]:
        """Compare systems with the base."""
        keys = [query.key for query in self.queries]
        return measure(
            runs, self.qrels, keys, self.passage_keys, self.threads,
            settings.evaluation, settings.seed,
        )  # fmt: skip


def qrels_of(queries: Sequence[Query], passages: Sequence[Passage]) -> Qrels:
    """The relevant passages of each query: the one it was written for and its near-duplicates."""
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
    """All relevant passages, filled up to `at_least` with other passages in their order."""
    wanted = _keys_in(qrels)
    answers = [passage for passage in passages if passage.key in wanted]
    others = [passage for passage in passages if passage.key not in wanted]
    return answers + others[: max(0, at_least - len(answers))]


def _keys_in(qrels: Qrels) -> set[str]:
    """The keys of all passages that are relevant to any query."""
    return {key for grades in qrels.values() for key in grades}
