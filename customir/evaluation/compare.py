"""Every system on the held-out queries: the numbers that the gate decides on."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from customir.embeddings import Embed, load_encoder
from customir.encoder.folder import Kind
from customir.evaluation.gate import Metrics, Verdict, choose_weight, decide
from customir.evaluation.held_out import HeldOutData, RankedQueries, qrels_of, threads_of
from customir.evaluation.metrics import Rankings
from customir.evaluation.self_supervised import rank_pairs
from customir.evaluation.systems import (
    ADAPTED,
    BASE,
    BM25,
    ByWords,
    Fused,
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
from customir.workspace.queries import Query

Merge = Callable[[float], Path]
"""From an interpolation weight to the folder of the base merged with that share of the adapter."""


@dataclass(frozen=True)
class Comparison:
    """Metrics of each query of a split, by system, and the verdict.

    Attributes:
        dev: On the LLM's dev queries, by interpolation weight; 0 is the base.
        pairs_dev: The same on self-supervised dev queries; empty if there are none.
        test: Every system on the LLM's test queries; "adapted" only if dev chose a weight above 0.
        pairs_test: Base, adapted and reference model on self-supervised test queries; empty if
            there are none.
        rankings: Of every system on the LLM's test queries.
        threads: Thread of each of these queries.
    """

    dev: Mapping[float, Metrics]
    pairs_dev: Mapping[float, Metrics]
    test: Sequence[SystemResult]
    pairs_test: Sequence[SystemResult]
    rankings: Mapping[str, Rankings]
    threads: Sequence[str]
    verdict: Verdict


@dataclass(frozen=True)
class _Candidate:
    """What one embedder ranks.

    Attributes:
        queries: Rankings for the LLM's queries.
        pairs: Rankings for the self-supervised queries.
        fused: Rankings for the LLM's test queries, by vectors and words together.
    """

    queries: Rankings
    pairs: Rankings
    fused: Fused


def compare(
    data: HeldOutData, base: Path, merge: Merge | None, settings: Settings, embed: Embed
) -> Comparison:
    """Measure every candidate on dev, and the best of them against the base on test.

    What is measured is what would be exported: each candidate is merged, loaded and run over all
    passages. The self-supervised queries choose the weight if there are some, else the LLM's.

    Args:
        base: Folder of the base embedder.
        merge: Makes a candidate; None if nothing was trained.
        embed: Embeds texts by an encoder, with vectors from the workspace where it has them.
    """
    numbers = [number for number, query in enumerate(data.queries) if query.split == "test"]
    by_words = rank_by_words(
        [data.queries[number].text for number in numbers], [p.content for p in data.passages]
    )
    candidates = {0.0: _rank(data, base, None, BASE, by_words, settings, embed)}
    if merge and data.queries:
        passages_by = base if settings.training.freeze_passage_encoder else None
        for weight in settings.evaluation.interpolation_weights:
            candidates[weight] = _rank(
                data, merge(weight), passages_by, f"weight {weight:g}", by_words, settings, embed
            )
    written, pairs = _ranked_queries(data, candidates)
    dev, pairs_dev = written.dev_metrics(), pairs.dev_metrics() if data.pairs else {}
    weight, verdict = _decide(written, pairs, merge is not None, settings)
    systems = {BASE: 0.0, ADAPTED: weight} if weight else {BASE: 0.0}
    runs: dict[str, Rankings] = {BM25: by_words.rows}
    pairs_runs: dict[str, Rankings] = {}
    for name, share in systems.items():
        runs |= {name: written.rankings_in("test", share), **candidates[share].fused.of(name)}
        pairs_runs[name] = pairs.rankings_in("test", share)
    if numbers and (reference := reference_embedder(settings.evaluation)):
        name, folder = reference
        ranked = _rank(data, folder, None, name, by_words, settings, embed)
        runs[name] = [ranked.queries[number] for number in numbers]
        pairs_runs[name] = [ranked.pairs[number] for number in pairs.numbers_in("test")]
    return Comparison(
        dev=dev,
        pairs_dev=pairs_dev,
        test=written.measure_test(runs, settings),
        pairs_test=pairs.measure_test(pairs_runs, settings) if data.pairs else [],
        rankings=runs,
        threads=written.threads_in("test"),
        verdict=verdict,
    )


def _rank(
    data: HeldOutData,
    model: Path,
    passages_by: Path | None,
    name: str,
    by_words: ByWords,
    settings: Settings,
    embed: Embed,
) -> _Candidate:
    """Rank the corpus by one embedder; passages are embedded by `passages_by` if it is given."""
    encoder = load_encoder(model, settings)
    passage_encoder = load_encoder(passages_by, settings) if passages_by else encoder

    def vectors(texts: Sequence[str], kind: Kind, what: str) -> np.ndarray:
        by = encoder if kind == "query" else passage_encoder
        return embed(by, texts, kind, f"embedding {what}, {name}")

    corpus = vectors([passage.content for passage in data.passages], "passage", "passages")
    queries = vectors([query.text for query in data.queries], "query", "queries")
    pairs = vectors([pair.text for pair in data.pairs], "query", "self-supervised queries")
    answers = vectors([pair.answer for pair in data.pairs], "passage", "their passages")
    test = [number for number, query in enumerate(data.queries) if query.split == "test"]
    return _Candidate(
        rank_by_vectors(queries, corpus),
        rank_pairs(data.pairs, pairs, answers, corpus, data.passages),
        fuse_with_words(queries[test], corpus, by_words),
    )


def _ranked_queries(
    data: HeldOutData, candidates: Mapping[float, _Candidate]
) -> tuple[RankedQueries, RankedQueries]:
    """The LLM's queries and the self-supervised ones, with all candidates' rankings."""
    keys = [passage.key for passage in data.passages]
    written = RankedQueries(
        data.queries,
        threads_of(data.queries, data.passages),
        qrels_of(data.queries, data.passages),
        keys,
        {weight: candidate.queries for weight, candidate in candidates.items()},
    )
    pairs = RankedQueries(
        data.pairs,
        [data.passages[pair.row].thread for pair in data.pairs],
        {pair.key: {keys[pair.row]: 1} for pair in data.pairs},
        keys,
        {weight: candidate.pairs for weight, candidate in candidates.items()},
    )
    return written, pairs


def _decide(
    written: RankedQueries, pairs: RankedQueries, trained: bool, settings: Settings
) -> tuple[float, Verdict]:
    """The weight that dev chose, and what the gate says of it on test."""
    if not trained:
        return 0.0, Verdict(0.0, "There were too few pairs to train on.", {})
    if not written.numbers_in("dev"):
        return 0.0, Verdict(0.0, "There were no dev queries to choose a weight by.", {})
    chooser = pairs if pairs.queries else written
    weight = choose_weight(chooser.dev_metrics())
    verdict = decide(
        weight,
        written.test_pairs(weight),
        pairs.test_pairs(weight) if pairs.queries else None,
        settings.evaluation,
        settings.seed,
    )
    return weight, verdict


def measure_int8(
    passages: Sequence[Passage],
    test: Sequence[Query],
    base: Path,
    model: Path,
    name: str,
    settings: Settings,
    embed: Embed,
) -> SystemResult:
    """Compare the ONNX INT8 export in `model` with the base on the test queries, all passages."""
    encoder = load_encoder(base, settings)
    runtime = Embedder(model)
    corpus, texts = [passage.content for passage in passages], [query.text for query in test]
    by_base = rank_by_vectors(
        embed(encoder, texts, "query", "embedding queries, base"),
        embed(encoder, corpus, "passage", "embedding passages, base"),
    )
    runs: dict[str, Rankings] = {
        BASE: by_base,
        name: rank_by_vectors(
            runtime.encode(texts, "query"),
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
