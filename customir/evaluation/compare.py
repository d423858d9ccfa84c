"""Every system on the held-out queries: the numbers that the gate decides on."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from customir.corpus.document import Passage
from customir.embeddings import embed, load_encoder
from customir.encoder import Kind
from customir.evaluation.free import rank_free
from customir.evaluation.gate import Held, Metrics, Verdict, choose_alpha, decide
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
from customir.workspace.queries import FreeQuery, Query, Split

HELD_OUT: tuple[Split, ...] = ("dev", "test")


@dataclass(frozen=True)
class Comparison:
    """Metrics of each query of a split, by system, and the verdict.

    Attributes:
        dev: By alpha, on the LLM's queries; 0 is the base.
        free_dev: The same on the free queries; empty where there are none.
        test: Of every system; "adapted" only where the dev queries chose another than the base.
        free_test: Of base and adapted on the free queries; empty where there are none.
        rankings: Of base and adapted on the test queries.
        threads: Of each test query.
    """

    dev: Mapping[float, Metrics]
    free_dev: Mapping[float, Metrics]
    test: Sequence[SystemResult]
    free_test: Sequence[SystemResult]
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


@dataclass(frozen=True)
class _Ranked:
    """One candidate's rankings: for the LLM's queries of each split, and for the free ones."""

    written: Mapping[Split, Rankings]
    free: Mapping[Split, Rankings]


def compare(
    workspace: Workspace,
    stage: str,
    base: Path,
    adapter: Path | None,
    passages: Sequence[Passage],
    queries: Sequence[Query],
    free: Sequence[FreeQuery],
    settings: Settings,
    reporter: Reporter,
) -> Comparison:
    """Measure every candidate on dev, and the best of them against the base on test.

    What is measured is what would be exported: each candidate is merged, loaded and run over all
    passages. The free queries choose where there are some, else the LLM's.

    Args:
        base: The base embedder's folder.
        adapter: The trained adapter's folder; None where there was nothing to train on.
        queries: The LLM's, of dev and test.
        free: Of dev and test as well.
    """
    qrels = {
        **qrels_of(queries, passages),
        **{query.key: {passages[query.row].key: 1} for query in free},
    }
    keys = [passage.key for passage in passages]
    written_of = {split: [q for q in queries if q.split == split] for split in HELD_OUT}
    free_of = {split: [q for q in free if q.split == split] for split in HELD_OUT}

    def rank(model: Path, name: str, for_passages: Path | None = None) -> _Ranked:
        """Passages are embedded by `for_passages`, if that is given."""
        encoder = load_encoder(model, settings)
        passage_encoder = load_encoder(for_passages, settings) if for_passages else encoder

        def vectors(texts: Sequence[str], kind: Kind, what: str) -> np.ndarray:
            return embed(
                workspace, stage, encoder if kind == "query" else passage_encoder, texts, kind,
                reporter, f"embedding {what}, {name}",
            )  # fmt: skip

        corpus = vectors([p.content for p in passages], "passage", "passages")
        written, own = {}, {}
        for split in HELD_OUT:
            asked = vectors([q.text for q in written_of[split]], "query", "queries")
            written[split] = rank_by_vectors(asked, corpus)
            own[split] = rank_free(
                free_of[split],
                vectors([q.text for q in free_of[split]], "query", "free queries"),
                vectors([q.answer for q in free_of[split]], "passage", "their passages"),
                corpus,
                passages,
            )
        return _Ranked(written, own)

    def measured(
        asked: Mapping[Split, Sequence[Query | FreeQuery]], split: Split, rows: Rankings
    ) -> Metrics:
        return by_query(qrels, [query.key for query in asked[split]], keys, rows)

    candidates = {0.0: rank(base, BASE)}
    folder = workspace.folder / "candidates"
    for alpha in settings.evaluation.alphas if adapter and queries else ():
        model = merge_adapter(base, adapter, alpha, folder / f"alpha-{alpha:g}")
        for_passages = base if settings.training.query_only else None
        candidates[alpha] = rank(model, f"alpha {alpha:g}", for_passages)
    shutil.rmtree(folder, ignore_errors=True)
    dev = {
        alpha: measured(written_of, "dev", found.written["dev"])
        for alpha, found in candidates.items()
    }
    free_dev = {
        alpha: measured(free_of, "dev", found.free["dev"])
        for alpha, found in candidates.items()
        if free
    }
    threads = threads_of(written_of["test"], passages)
    free_threads = [passages[query.row].thread for query in free_of["test"]]
    if adapter is None:
        alpha, verdict = 0.0, Verdict(0.0, "There were too few pairs to train on.", {})
    elif not written_of["dev"]:
        alpha, verdict = 0.0, Verdict(0.0, "There were no dev queries to choose by.", {})
    else:
        alpha = choose_alpha(free_dev or dev)

        def on_test(share: float, own: bool) -> Metrics:
            found = candidates[share]
            if own:
                return measured(free_of, "test", found.free["test"])
            return measured(written_of, "test", found.written["test"])

        written, by_people = (
            Held(on_test(alpha, own), on_test(0.0, own), clusters)
            for own, clusters in ((False, threads), (True, free_threads))
        )
        verdict = decide(
            alpha, written, by_people if free else None, settings.evaluation, settings.seed
        )
    test = written_of["test"]
    by_words = rank_by_words([q.text for q in test], [p.content for p in passages])
    base_rows = candidates[0.0].written["test"]
    runs: dict[str, Rankings] = {BM25: by_words, BASE: base_rows}
    runs[hybrid(BASE)] = fuse(by_words, base_rows)
    if test and (larger := larger_embedder(settings.evaluation)):
        name, larger_folder = larger
        runs[name] = rank(larger_folder, name).written["test"]
    free_runs = {BASE: candidates[0.0].free["test"]}
    if alpha:
        runs[ADAPTED] = candidates[alpha].written["test"]
        runs[hybrid(ADAPTED)] = fuse(by_words, runs[ADAPTED])
        free_runs[ADAPTED] = candidates[alpha].free["test"]
    results, free_results = (
        measure(
            each, qrels, [query.key for query in asked["test"]], keys, clusters,
            settings.evaluation, settings.seed,
        )
        for each, asked, clusters in ((runs, written_of, threads), (free_runs, free_of, free_threads))
    )  # fmt: skip
    shown = {name: runs[name] for name in (BASE, ADAPTED) if name in runs}
    return Comparison(dev, free_dev, results, free_results if free else [], shown, threads, verdict)


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
        [passage.key for passage in passages],
        threads_of(test, passages),
        settings.evaluation, settings.seed,
    )  # fmt: skip
    return result


def threads_of(queries: Sequence[Query], passages: Sequence[Passage]) -> list[str]:
    """The thread of each query's passage."""
    thread = {passage.key: passage.thread for passage in passages}
    return [thread[query.passage] for query in queries]
