"""The metrics of every system on the held-out queries, by which the gate decides."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from customir.embeddings import Embed, load_encoder
from customir.encoder.folder import Kind
from customir.encoder.torch_encoder import Encoder
from customir.evaluation.gate import Metrics, Verdict, choose_weight, decide
from customir.evaluation.held_out import HeldOutData, RankedQueries, qrels_of, threads_of
from customir.evaluation.metrics import Rankings
from customir.evaluation.pool import POOL, PoolSize, pool_rows
from customir.evaluation.self_supervised import rank_pairs
from customir.evaluation.systems import (
    ADAPTED,
    BASE,
    BM25,
    ByWords,
    SystemResult,
    fuse_with_words,
    measure,
    rank_by_vectors,
    rank_by_words,
    reference_embedder,
)
from customir.runtime.embedder import Embedder, passage_model
from customir.settings import Settings
from customir.workspace.passages import Passage

Merge = Callable[[float], Path]
"""From an interpolation weight to the folder of the base merged with that share of the adapter."""


@dataclass(frozen=True)
class Comparison:
    """The metrics of each dev and test query, by system, and the verdict.

    Attributes:
        dev: Metrics on the LLM's dev queries, by interpolation weight; 0 is the base.
        pairs_dev: The same on self-supervised dev queries; empty if there are none.
        test: Every system on the LLM's test queries; "adapted" only if a weight above 0 was chosen
            on the dev queries.
        pairs_test: Base, adapted and reference model on self-supervised test queries; empty if
            there are none.
        rankings: The rankings of every system for the LLM's test queries, as rows of `pool`.
        threads: The thread of each of these queries.
        pool: The passages that were ranked for the test queries.
        dev_pool_size: How many passages were ranked for the dev queries.
    """

    dev: Mapping[float, Metrics]
    pairs_dev: Mapping[float, Metrics]
    test: Sequence[SystemResult]
    pairs_test: Sequence[SystemResult]
    rankings: Mapping[str, Rankings]
    threads: Sequence[str]
    pool: Sequence[Passage]
    dev_pool_size: int
    verdict: Verdict


@dataclass(frozen=True)
class Candidate:
    """A model that is compared.

    Attributes:
        queries: Folder of the model, which embeds the queries.
        passages: Folder of the model that embeds the passages.
        name: The name that the user sees.
    """

    queries: Path
    passages: Path
    name: str


@dataclass(frozen=True)
class _Vectors:
    """A candidate's vectors of the held-out data, float32 (n, d) each.

    Attributes:
        pairs: The self-supervised queries.
        answers: The answers to the self-supervised queries.
    """

    passages: np.ndarray
    queries: np.ndarray
    pairs: np.ndarray
    answers: np.ndarray

    def among(self, rows: Sequence[int]) -> "_Vectors":
        """The same queries with these passages, in this order."""
        return replace(self, passages=self.passages[rows])


@dataclass(frozen=True)
class ComparisonPool:
    """The test queries with the passages that systems are compared on.

    Attributes:
        by_words: BM25's ranking of these passages.
        vectors: Of each compared model, in their order.
    """

    data: HeldOutData
    by_words: ByWords
    vectors: Sequence[_Vectors]


def compare(
    data: HeldOutData,
    base: Path,
    merge: Merge | None,
    settings: Settings,
    embed: Embed,
    size: PoolSize = POOL,
) -> Comparison:
    """Measure every candidate on the dev queries, and compare the best one with the base on test.

    Each candidate is measured as it would be exported: it is merged, loaded and run over the
    passages of a pool. The weight is chosen on the self-supervised queries if there are any,
    otherwise on the LLM's. The chosen candidate embeds the whole corpus, so that the test pool
    contains its best passages, too.

    Args:
        base: Folder of the base embedder.
        merge: Builds a candidate; None if nothing was trained.
        embed: Embeds texts by an encoder, and reuses the vectors that the workspace has.
        size: The size of the pools.
    """
    models = {0.0: Candidate(base, base, BASE)}
    dev = data.of("dev")
    by_base = _embed(dev, models[0.0], settings, embed)
    rows = pool_rows(dev, _rank(dev, by_base), size)
    dev, on_dev = dev.among(rows), {0.0: by_base.among(rows)}
    if merge and dev.queries:
        for weight in settings.evaluation.interpolation_weights:
            merged = merge(weight)
            passages_by = base if settings.training.freeze_passage_encoder else merged
            models[weight] = Candidate(merged, passages_by, f"weight {weight:g}")
            on_dev[weight] = _embed(dev, models[weight], settings, embed)
    written, pairs = _ranked_queries(dev, on_dev)
    dev_metrics, pairs_dev = written.metrics(), pairs.metrics() if dev.pairs else {}
    weight = choose_weight(pairs_dev or dev_metrics) if dev.queries else 0.0
    systems = {BASE: 0.0, ADAPTED: weight} if weight else {BASE: 0.0}
    compared = [models[share] for share in systems.values()]
    pool = pool_of_test(data, compared, settings, embed, size)
    test, vectors = pool.data, dict(zip(systems.values(), pool.vectors, strict=True))
    written, pairs = _ranked_queries(test, vectors)
    runs: dict[str, Rankings] = {BM25: pool.by_words.rows}
    pairs_runs: dict[str, Rankings] = {}
    for name, share in systems.items():
        own = vectors[share]
        runs[name], pairs_runs[name] = written.rankings[share], pairs.rankings[share]
        runs |= fuse_with_words(own.queries, own.passages, pool.by_words).of(name)
    if test.queries and (reference := reference_embedder(settings.evaluation)):
        name, folder = reference
        found = _embed(test, Candidate(folder, folder, name), settings, embed)
        runs[name], pairs_runs[name] = _rank(test, found)
    return Comparison(
        dev=dev_metrics,
        pairs_dev=pairs_dev,
        test=written.measure(runs, settings),
        pairs_test=pairs.measure(pairs_runs, settings) if test.pairs else [],
        rankings=runs,
        threads=written.threads,
        pool=test.passages,
        dev_pool_size=len(dev.passages),
        verdict=_verdict(merge is not None, bool(dev.queries), weight, written, pairs, settings),
    )


def pool_of_test(
    data: HeldOutData,
    compared: Sequence[Candidate],
    settings: Settings,
    embed: Embed,
    size: PoolSize = POOL,
) -> ComparisonPool:
    """The test queries with the passages of the test pool.

    The pool contains the best passages of each compared model and of BM25, so that their metrics
    are the same as on the whole corpus. For this, each of the models embeds all passages, unless
    it did so before.
    """
    test = data.of("test")
    by_words = rank_by_words(
        [query.text for query in test.queries], [passage.content for passage in test.passages]
    )
    vectors = [_embed(test, model, settings, embed) for model in compared]
    rankings = [ranking for own in vectors for ranking in _rank(test, own)]
    rows = pool_rows(test, [by_words.rows, *rankings], size)
    return ComparisonPool(
        test.among(rows), by_words.among(rows), [own.among(rows) for own in vectors]
    )


def _embed(data: HeldOutData, model: Candidate, settings: Settings, embed: Embed) -> _Vectors:
    encoder = load_encoder(model.queries, settings)
    same = model.passages == model.queries
    for_passages = encoder if same else load_encoder(model.passages, settings)

    def by(encoder: Encoder, texts: Sequence[str], kind: Kind, what: str) -> np.ndarray:
        return embed(encoder, texts, kind, f"embedding {what}, {model.name}")

    return _Vectors(
        by(for_passages, [passage.content for passage in data.passages], "passage", "passages"),
        by(encoder, [query.text for query in data.queries], "query", "queries"),
        by(encoder, [pair.text for pair in data.pairs], "query", "self-supervised queries"),
        by(for_passages, [pair.answer for pair in data.pairs], "passage", "their passages"),
    )


def _rank(data: HeldOutData, found: _Vectors) -> tuple[Rankings, Rankings]:
    """Rank the passages for the LLM's queries and for the self-supervised ones."""
    return (
        rank_by_vectors(found.queries, found.passages),
        rank_pairs(data.pairs, found.pairs, found.answers, found.passages, data.passages),
    )


def _ranked_queries(
    data: HeldOutData, candidates: Mapping[float, _Vectors]
) -> tuple[RankedQueries, RankedQueries]:
    """The LLM's queries and the self-supervised ones, with all candidates' rankings."""
    keys = [passage.key for passage in data.passages]
    ranked = {weight: _rank(data, found) for weight, found in candidates.items()}
    written = RankedQueries(
        data.queries,
        threads_of(data.queries, data.passages),
        qrels_of(data.queries, data.passages),
        keys,
        {weight: queries for weight, (queries, _) in ranked.items()},
    )
    pairs = RankedQueries(
        data.pairs,
        [data.passages[pair.row].thread for pair in data.pairs],
        {pair.key: {keys[pair.row]: 1} for pair in data.pairs},
        keys,
        {weight: pairs for weight, (_, pairs) in ranked.items()},
    )
    return written, pairs


def _verdict(
    trained: bool,
    has_dev: bool,
    weight: float,
    written: RankedQueries,
    pairs: RankedQueries,
    settings: Settings,
) -> Verdict:
    """The gate's verdict, on the test queries, on the weight that was chosen on the dev queries."""
    if not trained:
        return Verdict(0.0, "There were too few pairs to train on.", {})
    if not has_dev:
        return Verdict(0.0, "There were no dev queries to choose a weight by.", {})
    return decide(
        weight,
        written.against_base(weight),
        pairs.against_base(weight) if pairs.queries else None,
        settings.evaluation,
        settings.seed,
    )


def measure_int8(
    test: HeldOutData, base: Path, model: Path, name: str, settings: Settings, embed: Embed
) -> SystemResult:
    """Compare the ONNX INT8 export in `model` with the base on the LLM's queries of `test`."""
    encoder = load_encoder(base, settings)
    runtime = Embedder(model)
    corpus = [passage.content for passage in test.passages]
    texts = [query.text for query in test.queries]
    runs: dict[str, Rankings] = {
        BASE: rank_by_vectors(
            embed(encoder, texts, "query", "embedding queries, base"),
            embed(encoder, corpus, "passage", "embedding passages, base"),
        ),
        name: rank_by_vectors(
            runtime.encode(texts, "query"),
            Embedder(passage_model(model)).encode(corpus, "passage"),
        ),
    }
    _, result = measure(
        runs, qrels_of(test.queries, test.passages), [query.key for query in test.queries],
        [passage.key for passage in test.passages],
        threads_of(test.queries, test.passages),
        settings.evaluation, settings.seed,
    )  # fmt: skip
    return result
