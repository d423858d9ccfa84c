"""Every system on the held-out queries: the numbers that the gate decides on."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from customir.embeddings import embed, load_encoder
from customir.encoder.folder import Kind
from customir.evaluation.gate import Held, Metrics, Verdict, choose_alpha, decide
from customir.evaluation.metrics import Qrels, Rankings, by_query
from customir.evaluation.self_supervised import rank_free
from customir.evaluation.systems import (
    ADAPTED,
    BASE,
    BM25,
    Fused,
    SystemResult,
    fuse_with_words,
    measure,
    rank_by_vectors,
    rank_by_words,
    reference_embedder,
)
from customir.exporters.merge import merge_adapter
from customir.progress import Reporter
from customir.runtime.embedder import Embedder, passage_model
from customir.settings import Settings
from customir.workspace import Workspace
from customir.workspace.passages import Passage
from customir.workspace.queries import FreeQuery, Query, Split


@dataclass(frozen=True)
class Comparison:
    """Metrics of each query of a split, by system, and the verdict.

    Attributes:
        dev: By alpha, on the LLM's queries; 0 is the base.
        free_dev: The same on the free queries; empty where there are none.
        test: Of every system; "adapted" only where the dev queries chose another than the base.
        free_test: Of base, adapted and the reference model on the free queries; empty where there are
            none.
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
class _Asked:
    """Held-out queries of one origin, and every candidate's rankings for them, by alpha."""

    queries: Sequence[Query | FreeQuery]
    threads: Sequence[str]
    qrels: Qrels
    passage_keys: Sequence[str]
    rankings: Mapping[float, Rankings]

    def of(self, split: Split) -> list[int]:
        """The numbers of a split's queries."""
        return [number for number, query in enumerate(self.queries) if query.split == split]

    def ranked(self, alpha: float, split: Split) -> list[np.ndarray]:
        return [self.rankings[alpha][number] for number in self.of(split)]

    def measured(self, alpha: float, split: Split) -> Metrics:
        asked = [self.queries[number].key for number in self.of(split)]
        return by_query(self.qrels, asked, self.passage_keys, self.ranked(alpha, split))

    def on_dev(self) -> dict[float, Metrics]:
        """By alpha."""
        return {alpha: self.measured(alpha, "dev") for alpha in self.rankings}

    def on_test(self, alpha: float) -> Held:
        threads = [self.threads[number] for number in self.of("test")]
        return Held(self.measured(alpha, "test"), self.measured(0.0, "test"), threads)

    def compared(self, runs: Mapping[str, Rankings], settings: Settings) -> list[SystemResult]:
        """Systems' rankings for the test queries against the base's."""
        test = self.of("test")
        return measure(
            runs, self.qrels, [self.queries[number].key for number in test], self.passage_keys,
            [self.threads[number] for number in test], settings.evaluation, settings.seed,
        )  # fmt: skip


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

    test_numbers = [number for number, query in enumerate(queries) if query.split == "test"]
    test = [queries[number] for number in test_numbers]
    by_words = rank_by_words([q.text for q in test], [p.content for p in passages])

    def rank(
        model: Path, name: str, for_passages: Path | None = None
    ) -> tuple[Rankings, Rankings, Fused]:
        """For the LLM's queries, for the free ones, and fused with BM25 for the LLM's on test.

        Passages by `for_passages`, if that is given.
        """
        encoder = load_encoder(model, settings)
        passage_encoder = load_encoder(for_passages, settings) if for_passages else encoder

        def vectors(texts: Sequence[str], kind: Kind, what: str) -> np.ndarray:
            return embed(
                workspace, stage, encoder if kind == "query" else passage_encoder, texts, kind,
                reporter, f"embedding {what}, {name}",
            )  # fmt: skip

        corpus = vectors([p.content for p in passages], "passage", "passages")
        asked = vectors([q.text for q in queries], "query", "queries")
        asked_free = vectors([q.text for q in free], "query", "free queries")
        answers = vectors([q.answer for q in free], "passage", "their passages")
        return (
            rank_by_vectors(asked, corpus),
            rank_free(free, asked_free, answers, corpus, passages),
            fuse_with_words(asked[test_numbers], corpus, by_words),
        )

    ranked = {0.0: rank(base, BASE)}
    folder = workspace.folder / "candidates"
    for alpha in settings.evaluation.interpolation_weights if adapter and queries else ():
        model = merge_adapter(base, adapter, alpha, folder / f"alpha-{alpha:g}")
        for_passages = base if settings.training.freeze_passage_encoder else None
        ranked[alpha] = rank(model, f"alpha {alpha:g}", for_passages)
    shutil.rmtree(folder, ignore_errors=True)
    keys = [passage.key for passage in passages]
    written = _Asked(
        queries, threads_of(queries, passages), qrels_of(queries, passages), keys,
        {alpha: found for alpha, (found, *_) in ranked.items()},
    )  # fmt: skip
    by_people = _Asked(
        free, [passages[query.row].thread for query in free],
        {query.key: {keys[query.row]: 1} for query in free}, keys,
        {alpha: found for alpha, (_, found, _) in ranked.items()},
    )  # fmt: skip
    dev, free_dev = written.on_dev(), by_people.on_dev() if free else {}
    if adapter is None:
        alpha, verdict = 0.0, Verdict(0.0, "There were too few pairs to train on.", {})
    elif not written.of("dev"):
        alpha, verdict = 0.0, Verdict(0.0, "There were no dev queries to choose by.", {})
    else:
        alpha = choose_alpha(free_dev or dev)
        verdict = decide(
            alpha, written.on_test(alpha), by_people.on_test(alpha) if free else None,
            settings.evaluation, settings.seed,
        )  # fmt: skip
    candidates = {BASE: 0.0, ADAPTED: alpha} if alpha else {BASE: 0.0}
    shown = {name: written.ranked(share, "test") for name, share in candidates.items()}
    free_runs: dict[str, Rankings] = {
        name: by_people.ranked(share, "test") for name, share in candidates.items()
    }
    runs: dict[str, Rankings] = {BM25: by_words.rows, BASE: shown[BASE], **ranked[0.0][2].of(BASE)}
    if test and (reference := reference_embedder(settings.evaluation)):
        name, reference_folder = reference
        found, found_free, _ = rank(reference_folder, name)
        runs[name] = [found[number] for number in test_numbers]
        free_runs[name] = [found_free[number] for number in by_people.of("test")]
    if alpha:
        runs |= {ADAPTED: shown[ADAPTED], **ranked[alpha][2].of(ADAPTED)}
    return Comparison(
        dev=dev,
        free_dev=free_dev,
        test=written.compared(runs, settings),
        free_test=by_people.compared(free_runs, settings) if free else [],
        rankings=shown,
        threads=[written.threads[number] for number in written.of("test")],
        verdict=verdict,
    )


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
