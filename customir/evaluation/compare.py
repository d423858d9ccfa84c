"""Base, interpolations and BM25 on the held-out queries: the numbers that the gate decides on."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from customir.corpus.document import Passage
from customir.embeddings import embed
from customir.encoder import Encoder
from customir.evaluation.gate import Metrics, Verdict, choose_alpha, decide
from customir.evaluation.metrics import DEPTH, Qrels, by_query
from customir.exporters.merge import merge_adapter
from customir.progress import Reporter
from customir.retrieval.bm25 import Bm25
from customir.retrieval.dense import top_k
from customir.settings import Settings
from customir.workspace import Workspace
from customir.workspace.queries import Query


@dataclass(frozen=True)
class Comparison:
    """Metrics of each query of a split, by system, and the verdict.

    Attributes:
        dev: By alpha; 0 is the base.
        test: By system: "BM25", "base" and, where it is not the base, "adapted".
        threads: Of each test query.
    """

    dev: Mapping[float, Metrics]
    test: Mapping[str, Metrics]
    threads: Sequence[str]
    verdict: Verdict


def qrels_of(queries: Sequence[Query], passages: Sequence[Passage]) -> Qrels:
    """Relevant to a query are the passage that it was written for and its near-duplicates."""
    groups: dict[str, list[str]] = {}
    for passage in passages:
        groups.setdefault(passage.duplicates, []).append(passage.key)
    group_of = {passage.key: passage.duplicates for passage in passages}
    return {query.key: dict.fromkeys(groups[group_of[query.passage]], 1) for query in queries}


def compare(
    workspace: Workspace,
    stage: str,
    base: Path,
    adapter: Path | None,
    passages: Sequence[Passage],
    dev: Sequence[Query],
    test: Sequence[Query],
    settings: Settings,
    reporter: Reporter,
) -> Comparison:
    """Measure every candidate on dev, and the best of them against the base on test.

    What is measured is what would be exported: each candidate is merged, loaded and run over all
    passages.

    Args:
        base: The base embedder's folder.
        adapter: The trained adapter's folder; None where there was nothing to train on.
    """
    queries = [*dev, *test]
    qrels = qrels_of(queries, passages)

    def measure(model: Path, name: str) -> tuple[Metrics, Metrics]:
        encoder = Encoder.load(
            model, settings.device, settings.training.max_tokens, settings.training.precision
        )
        corpus = embed(
            workspace, stage, encoder, [p.content for p in passages], "passage", reporter,
            f"embedding passages, {name}",
        )  # fmt: skip
        asked = embed(
            workspace, stage, encoder, [q.text for q in queries], "query", reporter,
            f"embedding queries, {name}",
        )  # fmt: skip
        rows = top_k(asked, corpus, DEPTH)[0] if queries else np.empty((0, DEPTH), np.int64)
        return _split(rows, dev, test, qrels, passages)

    on_dev: dict[float, Metrics] = {}
    on_test: dict[float, Metrics] = {}
    on_dev[0.0], on_test[0.0] = measure(base, "base")
    folder = workspace.folder / "candidates"
    for alpha in settings.evaluation.alphas if adapter and queries else ():
        model = merge_adapter(base, adapter, alpha, folder / f"alpha-{alpha:g}")
        on_dev[alpha], on_test[alpha] = measure(model, f"alpha {alpha:g}")
    shutil.rmtree(folder, ignore_errors=True)
    thread_of = {passage.key: passage.thread for passage in passages}
    threads = [thread_of[query.passage] for query in test]
    if adapter is None:
        alpha, verdict = 0.0, Verdict(0.0, "There were too few pairs to train on.", {})
    elif not dev:
        alpha, verdict = 0.0, Verdict(0.0, "There were no dev queries to choose by.", {})
    else:
        alpha = choose_alpha(on_dev)
        verdict = decide(
            alpha, on_test[alpha], on_test[0.0], threads, settings.evaluation, settings.seed
        )
    systems = {"BM25": _bm25(test, passages, qrels), "base": on_test[0.0]}
    if alpha:
        systems["adapted"] = on_test[alpha]
    return Comparison(on_dev, systems, threads, verdict)


def _split(
    rows: np.ndarray,
    dev: Sequence[Query],
    test: Sequence[Query],
    qrels: Qrels,
    passages: Sequence[Passage],
) -> tuple[Metrics, Metrics]:
    keys = [passage.key for passage in passages]
    return (
        by_query(qrels, [query.key for query in dev], keys, rows[: len(dev)]),
        by_query(qrels, [query.key for query in test], keys, rows[len(dev) :]),
    )


def _bm25(test: Sequence[Query], passages: Sequence[Passage], qrels: Qrels) -> Metrics:
    keys = [passage.key for passage in passages]
    asked = [query.key for query in test]
    if not test:
        return by_query(qrels, asked, keys, np.empty((0, DEPTH), np.int64))
    rows, _ = Bm25([passage.content for passage in passages]).top([q.text for q in test], DEPTH)
    return by_query(qrels, asked, keys, rows)
