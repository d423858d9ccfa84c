"""Writing queries: which passages, by the LLM, for free from the mail itself; which are kept."""

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from customir.job import Job, StageSummary
from customir.job.base_encoder import base_encoder
from customir.job.llm import llm_basis, open_llm
from customir.job.self_supervised import free_of
from customir.job.topics import named_topics
from customir.queries.splits import split_passages
from customir.workspace import content_key
from customir.workspace.queries import Query, Split, write_queries

# Of the own passage's score: cosine, and BM25.
NEAR_BY_MEANING, NEAR_BY_WORDS = 0.97, 0.97


def fingerprint_inputs(job: Job) -> Sequence[str]:
    return (
        job.settings.queries.model_dump_json(),
        llm_basis(job),
        str(job.settings.seed),
        str(job.settings.evaluation.held_out_fraction),
    )


def run(job: Job) -> StageSummary:
    from customir.embeddings import embed
    from customir.queries import filters
    from customir.queries.corpus_map import corpus_map
    from customir.queries.generate import write_queries as let_write
    from customir.queries.personas import personas
    from customir.queries.rejected import rejected_by_text
    from customir.queries.sampling import sample_passages
    from customir.queries.topics import cluster, name_topics, periods
    from customir.retrieval.bm25 import Bm25
    from customir.retrieval.dense import top_k

    settings, passages = job.settings, job.passages
    splits = split_passages(passages, settings.evaluation.held_out_fraction, settings.seed)
    encoder = base_encoder(job)
    corpus = [passage.content for passage in passages]
    corpus_vectors = embed(
        job.workspace, "generate", encoder, corpus, "passage", job.reporter, "embedding passages"
    )
    labels = cluster(corpus_vectors, settings.seed)
    strata = zip(
        labels.tolist(),
        periods([job.dates[passage.document] for passage in passages]).tolist(),
        strict=True,
    )
    sampled = sample_passages(
        passages,
        settings.queries.passages,
        settings.seed,
        {passage.key: stratum for passage, stratum in zip(passages, strata, strict=True)},
    )
    free = _free_queries(job, splits)
    if enough := len(free) >= settings.queries.sufficient_self_supervised_pairs:
        sampled = [passage for passage in sampled if splits[passage.key] != "train"]
        job.reporter.say(
            f"  {len(free)} free pairs to train on: the LLM writes for held-out threads alone"
        )
    to_write = len(sampled) * settings.queries.queries_per_passage
    with open_llm(job, queries=to_write) as (engine, model_key):
        topics, searchers = name_topics(corpus, labels), {}
        if settings.queries.personas:
            topics = named_topics(job, "generate", engine, model_key, corpus_vectors, labels)
            searchers = personas([passage.key for passage in passages], labels, topics)
        written = let_write(
            job.workspace, "generate", engine, model_key, sampled, searchers,
            settings.queries, settings.seed, job.reporter,
        )  # fmt: skip
        usage = dataclasses.asdict(engine.usage)
    rejected = rejected_by_text(written)
    left = [number for number, reason in enumerate(rejected) if reason is None]
    if left:
        texts = [written[number].text for number in left]
        query_vectors = embed(
            job.workspace, "generate", encoder, texts, "query", job.reporter, "embedding queries"
        )
        depth = settings.queries.round_trip_depth
        text_rows, text_scores = Bm25(corpus).top(texts, depth)
        dense_rows, dense_scores = top_k(query_vectors, corpus_vectors, depth)
        text_rows = np.where(text_scores > 0, text_rows, filters.NO_HIT)
        groups = [written[number].request.passage.duplicates for number in left]
        found = filters.round_trip(
            groups, [passage.duplicates for passage in passages], dense_rows, text_rows
        )
        runs = (
            filters.Run(dense_rows, dense_scores, NEAR_BY_MEANING),
            filters.Run(text_rows, text_scores, NEAR_BY_WORDS),
        )
        vague = filters.generic(groups, passages, runs)
        for number, came_back, fits_many in zip(left, found, vague, strict=True):
            if not came_back:
                rejected[number] = "does not lead back"
            elif fits_many:
                rejected[number] = "fits many threads"
    queries = [
        Query(
            content_key("written", query.key, query.request.passage.key),
            query.request.passage.key,
            query.request.style.name,
            query.text,
            reason,
            splits[query.request.passage.key],
        )
        for query, reason in zip(written, rejected, strict=True)
    ]
    queries += free
    write_queries(job.workspace, queries)
    kept = [query for query in queries if query.rejected is None]
    return {
        "sampled_passages": len(sampled),
        "held_out_alone": enough,
        "map": corpus_map(corpus, corpus_vectors, labels, topics),
        "written": len(written),
        "rejected": dict(Counter(query.rejected for query in queries if query.rejected)),
        "kept_by_style": dict(Counter(query.style for query in kept)),
        "kept_by_split": dict(Counter(query.split for query in kept)),
        "samples": [
            {"style": query.style, "text": query.text, "passage": query.passage}
            for query in sorted(kept, key=lambda query: query.key)[:12]
        ],
        "tokens": usage,
    }


def _free_queries(job: Job, splits: Mapping[str, Split]) -> list[Query]:
    """The corpus' own of training threads, as many of each kind as are wanted."""
    from customir.queries.free import drawn

    found: dict[str, list[Query]] = {
        style: [
            Query(content_key(style, passage.key, text), passage.key, style, text, None, "train")
            for passage, text in pairs
            if splits[passage.key] == "train"
        ]
        for style, pairs in free_of(job).items()
        if style in job.settings.queries.self_supervised
    }
    return drawn(found, job.settings.queries.max_self_supervised_pairs)
