"""Every system on the held-out queries: the numbers that the gate decides on."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from customir.corpus.document import Passage
from customir.embeddings import embed, load_encoder
from customir.evaluation.gate import Metrics, Verdict, choose_alpha, decide
from customir.evaluation.metrics import Qrels, Rankings, by_query
from customir.evaluation.systems import (
    ADAPTED,
    BASE,
    BM25,
    SystemResult,
    fuse,
    hybrid,
    larger_embedder,
    measure,
    rank_by_vectors,
    rank_by_words,
)
from customir.exporters.merge import merge_adapter
from customir.progress import Reporter
from customir.runtime.embedder import Embedder, passage_model
from customir.settings import Settings
from customir.workspace import Workspace
from customir.workspace.queries import Query


@dataclass(frozen=True)
class Comparison:
    """Metrics of each query of a split, by system, and the verdict.

    Attributes:
        dev: By alpha; 0 is the base.
        test: Of every system; "adapted" only where the dev queries chose another than the base.
        rankings: Of base and adapted on the test queries.
        threads: Of each test query.
    """

    dev: Mapping[float, Metrics]
    test: Sequence[SystemResult]
    rankings: Mapping[str, Rankings]
    threads: Sequence[str]
    verdict: Verdict


def qrels_of(queries: Sequence[Query], passages: Sequence[Passage]) -> Qrels:
    """Relevant to a query are the passage that it was written for and its near-duplicates."""
    groups: dict[str, list[str]] = {}
    for passage in passages:
        groups.setdefault(passage.duplicates, []).append(passage.key)
    group_of = {passage.key: passage.duplicates for passage in passages}
    return {query.key: dict.fromkeys(groups[group_of[query.passage]], 1) for query in queries}


def answers_and_others(passages: Sequence[Passage], qrels: Qrels, most: int) -> list[Passage]:
    """All that is relevant to some query and, up to `most` in all, others in their order."""
    wanted = {key for grades in qrels.values() for key in grades}
    answers = [passage for passage in passages if passage.key in wanted]
    others = [passage for passage in passages if passage.key not in wanted]
    return answers + others[: max(0, most - len(answers))]


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
    keys = [passage.key for passage in passages]

    def rank(model: Path, name: str, for_passages: Path | None = None) -> tuple[Rankings, Rankings]:
        """The dev and the test queries' rankings; passages by `for_passages`, if that is given."""
        encoder = load_encoder(model, settings)
        corpus = embed(
            workspace, stage, load_encoder(for_passages, settings) if for_passages else encoder,
            [p.content for p in passages], "passage", reporter,
            f"embedding passages, {name}",
        )  # fmt: skip
        asked = embed(
            workspace, stage, encoder, [q.text for q in queries], "query", reporter,
            f"embedding queries, {name}",
        )  # fmt: skip
        rows = rank_by_vectors(asked, corpus)
        return rows[: len(dev)], rows[len(dev) :]

    def on_dev(rankings: Rankings) -> Metrics:
        return by_query(qrels, [query.key for query in dev], keys, rankings)

    def on_test(rankings: Rankings) -> Metrics:
        return by_query(qrels, [query.key for query in test], keys, rankings)

    dev_rows, base_rows = rank(base, BASE)
    by_alpha, candidates = {0.0: on_dev(dev_rows)}, {0.0: base_rows}
    folder = workspace.folder / "candidates"
    for alpha in settings.evaluation.alphas if adapter and queries else ():
        model = merge_adapter(base, adapter, alpha, folder / f"alpha-{alpha:g}")
        for_passages = base if settings.training.query_only else None
        dev_rows, candidates[alpha] = rank(model, f"alpha {alpha:g}", for_passages)
        by_alpha[alpha] = on_dev(dev_rows)
    shutil.rmtree(folder, ignore_errors=True)
    threads = threads_of(test, passages)
    if adapter is None:
        alpha, verdict = 0.0, Verdict(0.0, "There were too few pairs to train on.", {})
    elif not dev:
        alpha, verdict = 0.0, Verdict(0.0, "There were no dev queries to choose by.", {})
    else:
        alpha = choose_alpha(by_alpha)
        verdict = decide(
            alpha, on_test(candidates[alpha]), on_test(base_rows), threads,
            settings.evaluation, settings.seed,
        )  # fmt: skip
    by_words = rank_by_words([q.text for q in test], [p.content for p in passages])
    runs: dict[str, Rankings] = {BM25: by_words, BASE: base_rows}
    runs[hybrid(BASE)] = fuse(by_words, base_rows)
    if test and (larger := larger_embedder(settings.evaluation)):
        name, larger_folder = larger
        _, runs[name] = rank(larger_folder, name)
    if alpha:
        runs[ADAPTED] = candidates[alpha]
        runs[hybrid(ADAPTED)] = fuse(by_words, candidates[alpha])
    results = measure(
        runs, qrels, [query.key for query in test], keys, threads,
        settings.evaluation, settings.seed,
    )  # fmt: skip
    shown = {name: runs[name] for name in (BASE, ADAPTED) if name in runs}
    return Comparison(by_alpha, results, shown, threads, verdict)


def measure_int8(
    workspace: Workspace,
    stage: str,
    base: Path,
    model: Path,
    name: str,
    passages: Sequence[Passage],
    test: Sequence[Query],
    settings: Settings,
    reporter: Reporter,
) -> SystemResult:
    """The ONNX INT8 export in `model` against the base on the test queries, all passages."""
    encoder = load_encoder(base, settings)
    runtime = Embedder(model)
    corpus, asked = [passage.content for passage in passages], [query.text for query in test]
    with_base = rank_by_vectors(
        embed(workspace, stage, encoder, asked, "query", reporter, "embedding queries, base"),
        embed(workspace, stage, encoder, corpus, "passage", reporter, "embedding passages, base"),
    )
    runs: dict[str, Rankings] = {
        BASE: with_base,
        name: rank_by_vectors(
            runtime.encode(asked, "query"),
            Embedder(passage_model(model)).encode(corpus, "passage"),
        ),
    }
    _, result = measure(
        runs, qrels_of(test, passages), [query.key for query in test],
        [passage.key for passage in passages], threads_of(test, passages),
        settings.evaluation, settings.seed,
    )  # fmt: skip
    return result


def threads_of(queries: Sequence[Query], passages: Sequence[Passage]) -> list[str]:
    """The thread of each query's passage."""
    thread = {passage.key: passage.thread for passage in passages}
    return [thread[query.passage] for query in queries]
