"""Queries and hard negatives as rows of the workspace."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from customir.workspace.database import Workspace

Split = Literal["train", "dev", "test"]
Verdict = Literal["negative", "ambiguous", "relevant"]
# Styles of queries that people wrote: above, before or at the start of their passage.
SELF_SUPERVISED_STYLES = frozenset({"subject", "reply", "ict"})


@dataclass(frozen=True)
class Query:
    """A query and the passage that it was written for.

    Attributes:
        style: How the LLM was asked to write it (keywords, question, need, summary, attribute), or
            where it was taken from: subject (the passage's title), reply (the message that the
            passage replies to), ict (the passage's first sentence: inverse cloze task).
        rejected: The filter that dropped it; None if it was kept.
        split: By thread: no thread or near-duplicate group is in two splits.
    """

    key: str
    passage: str
    style: str
    text: str
    rejected: str | None
    split: Split

    @property
    def is_self_supervised(self) -> bool:
        """Whether it was taken from the corpus; the passage is then trained on without that part."""
        return self.style in SELF_SUPERVISED_STYLES


@dataclass(frozen=True)
class SelfSupervisedQuery:
    """A self-supervised query of a held-out thread. It is not stored: the corpus holds its text.

    Attributes:
        row: Number of its passage in the corpus.
        answer: The passage without the part that the query was taken from.
    """

    key: str
    style: str
    text: str
    row: int
    answer: str
    split: Split


@dataclass(frozen=True)
class Negative:
    """A candidate for a hard negative of `query`.

    Attributes:
        rank: From 0, hardest first.
        score: The judge's score in nats (customir/negatives/judge.py); None without a judge.
        verdict: "negative": pushed away; "relevant": masked; "ambiguous": neither.
    """

    query: str
    passage: str
    rank: int
    score: float | None
    verdict: Verdict


def write_queries(workspace: Workspace, queries: Iterable[Query]) -> None:
    """Replace all queries (and with them their negatives), in one transaction."""
    with workspace.transaction() as database:
        database.execute("DELETE FROM query")
        database.executemany(
            "INSERT INTO query VALUES (?, ?, ?, ?, ?, ?)",
            [(q.key, q.passage, q.style, q.text, q.rejected, q.split) for q in queries],
        )


def read_queries(
    workspace: Workspace, *, splits: Sequence[Split] = ("train", "dev", "test")
) -> list[Query]:
    """The kept queries of `splits`, ordered by key."""
    marks = ",".join("?" * len(splits))
    rows = workspace.database.execute(
        "SELECT key, passage, style, text, rejected, split FROM query "
        f"WHERE rejected IS NULL AND split IN ({marks}) ORDER BY key",
        list(splits),
    )
    return [Query(*row) for row in rows]


def count_queries(workspace: Workspace, split: Split) -> dict[str, int]:
    """Count the kept queries of a split by style."""
    rows = workspace.database.execute(
        "SELECT style, count(*) FROM query WHERE rejected IS NULL AND split = ? "
        "GROUP BY style ORDER BY style",
        (split,),
    )
    return dict(rows)


def write_negatives(workspace: Workspace, negatives: Iterable[Negative]) -> None:
    """Replace all negatives, in one transaction."""
    with workspace.transaction() as database:
        database.execute("DELETE FROM negative")
        database.executemany(
            "INSERT INTO negative VALUES (?, ?, ?, ?, ?)",
            [(n.query, n.passage, n.rank, n.score, n.verdict) for n in negatives],
        )


def read_negatives(workspace: Workspace) -> list[Negative]:
    """All negatives, ordered by query and rank."""
    rows = workspace.database.execute(
        "SELECT query, passage, rank, score, verdict FROM negative ORDER BY query, rank"
    )
    return [Negative(*row) for row in rows]
