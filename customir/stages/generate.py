"""Writing queries: self-supervised pairs, sampled passages, the LLM's queries and their filters."""

import dataclasses
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from customir.corpus.ingest import require_enough
from customir.job import Job, StageSummary
from customir.job.base_encoder import base_encoder
from customir.job.llm import llm_fingerprint, open_llm
from customir.job.self_supervised import pairs_of
from customir.queries.splits import split_passages
from customir.workspace import content_key
from customir.workspace.documents import read_document_heads
from customir.workspace.passages import Passage
from customir.workspace.queries import Query, Split, write_queries

if TYPE_CHECKING:
    from customir.queries.generate import Written

# A hit counts as close as the query's own passage from this share of its score on.
CLOSE_BY_COSINE, CLOSE_BY_BM25 = 0.97, 0.97
SAMPLES_SHOWN = 12
SENDERS_SHOWN = 3


@dataclass(frozen=True)
class _Corpus:
    """The passages' texts, their vectors by the base, and the topic of each, int64 (passages,)."""

    texts: list[str]
    vectors: np.ndarray
    topics: np.ndarray


def fingerprint_inputs(job: Job) -> Sequence[str]:
    return (
        job.settings.queries.model_dump_json(),
        llm_fingerprint(job),
        str(job.settings.seed),
        str(job.settings.evaluation.held_out_fraction),
    )


def run(job: Job) -> StageSummary:
    from customir.queries.corpus_map import corpus_map
    from customir.queries.topics import name_topics

    require_enough(job.workspace)
    settings = job.settings
    splits = split_passages(job.passages, settings.evaluation.held_out_fraction, settings.seed)
    corpus = _embed_corpus(job)
    pairs = _training_pairs(job, splits)
    held_out_only = len(pairs) >= settings.queries.sufficient_self_supervised_pairs
    sampled = _sample(job, corpus.topics)
    if held_out_only:
        sampled = [passage for passage in sampled if splits[passage.key] != "train"]
        job.reporter.say(
            f"  {len(pairs)} self-supervised pairs to train on: "
            "the LLM writes queries for held-out threads only"
        )
    written, tokens = _write(job, sampled)
    reasons = _filter(job, corpus, written)
    queries = [
        Query(
            content_key("written", query.key, query.request.passage.key),
            query.request.passage.key,
            query.request.style,
            query.text,
            reason,
            splits[query.request.passage.key],
        )
        for query, reason in zip(written, reasons, strict=True)
    ]
    queries += pairs
    write_queries(job.workspace, queries)
    kept = sorted((query for query in queries if query.rejected is None), key=lambda q: q.key)
    return {
        "sampled_passages": len(sampled),
        "held_out_only": held_out_only,
        "map": corpus_map(
            corpus.texts, corpus.vectors, corpus.topics, name_topics(corpus.texts, corpus.topics)
        ),
        "written": len(written),
        "languages": _count_languages(written, reasons),
        "rejected": dict(Counter(query.rejected for query in queries if query.rejected)),
        "kept_by_style": dict(Counter(query.style for query in kept)),
        "kept_by_split": dict(Counter(query.split for query in kept)),
        "samples": [
            {"style": query.style, "text": query.text, "passage": query.passage}
            for query in kept[:SAMPLES_SHOWN]
        ],
        "senders": _largest_senders(job, kept),
        "tokens": tokens,
    }


def _count_languages(
    written: "Sequence[Written]", reasons: Sequence[str | None]
) -> list[StageSummary]:
    """What became of the queries in each language, and which examples the LLM was shown."""
    rows: dict[str, StageSummary] = {}
    passages: dict[str, set[str]] = {}
    for query, reason in zip(written, reasons, strict=True):
        language = query.request.language
        row = rows.setdefault(
            language.code,
            {"language": language.code, "examples": language.origin, "written": 0, "kept": 0,
             "wrong_language": 0},
        )  # fmt: skip
        passages.setdefault(language.code, set()).add(query.request.passage.key)
        row["written"] += 1
        row["kept"] += reason is None
        row["wrong_language"] += reason == "wrong language"
    return [{**row, "passages": len(passages[code])} for code, row in sorted(rows.items())]


def _largest_senders(job: Job, kept: Sequence[Query]) -> list[tuple[str, int]]:
    """The senders of the most training pairs, with their number of pairs."""
    sender_of = {head.key: head.sender for head in read_document_heads(job.workspace)}
    document_of = {passage.key: passage.document for passage in job.passages}
    trained = (query for query in kept if query.split == "train")
    counts = Counter(sender_of[document_of[query.passage]] for query in trained)
    return [(sender, count) for sender, count in counts.most_common() if sender][:SENDERS_SHOWN]


def _embed_corpus(job: Job) -> _Corpus:
    from customir.embeddings import stored_embeddings
    from customir.queries.topics import cluster

    texts = [passage.content for passage in job.passages]
    embed = stored_embeddings(job.workspace, "generate", job.reporter)
    vectors = embed(base_encoder(job), texts, "passage", "embedding passages")
    return _Corpus(texts, vectors, cluster(vectors, job.settings.seed))


def _training_pairs(job: Job, splits: Mapping[str, Split]) -> list[Query]:
    """Self-supervised pairs of training threads, as many of each kind as the settings allow."""
    from customir.queries.self_supervised import subsample

    found: dict[str, list[Query]] = {
        style: [
            Query(content_key(style, passage.key, text), passage.key, style, text, None, "train")
            for passage, text in pairs
            if splits[passage.key] == "train"
        ]
        for style, pairs in pairs_of(job).items()
        if style in job.settings.queries.self_supervised
    }
    return subsample(found, job.settings.queries.max_self_supervised_pairs)


def _sample(job: Job, topics: np.ndarray) -> list[Passage]:
    """Passages to write queries for, spread over threads, topics and time."""
    from customir.queries.sampling import sample_passages
    from customir.queries.topics import periods

    times = periods([job.dates[passage.document] for passage in job.passages])
    strata: dict[str, Hashable] = {
        passage.key: (topic, time)
        for passage, topic, time in zip(job.passages, topics.tolist(), times.tolist(), strict=True)
    }
    return sample_passages(job.passages, job.settings.queries.passages, job.settings.seed, strata)


def _write(job: Job, sampled: Sequence[Passage]) -> "tuple[list[Written], dict[str, int]]":
    """The LLM's queries for these passages, and how many tokens it computed."""
    from customir.queries.generate import generate_queries

    settings = job.settings
    to_write = len(sampled) * settings.queries.queries_per_passage
    with open_llm(job, queries=to_write) as (engine, model_key):
        written = generate_queries(
            job.workspace, "generate", engine, model_key, sampled,
            settings.queries, settings.seed, job.reporter,
        )  # fmt: skip
        return written, dataclasses.asdict(engine.usage)


def _filter(job: Job, corpus: _Corpus, written: "Sequence[Written]") -> list[str | None]:
    """The filter that drops each query, or None: first by its text, then by what it finds."""
    from customir.embeddings import stored_embeddings
    from customir.queries import filters
    from customir.queries.rejected import rejected_by_text
    from customir.retrieval.bm25 import Bm25
    from customir.retrieval.dense import top_k

    rejected = rejected_by_text(written)
    left = [number for number, reason in enumerate(rejected) if reason is None]
    if not left:
        return rejected
    texts = [written[number].text for number in left]
    embed = stored_embeddings(job.workspace, "generate", job.reporter)
    vectors = embed(base_encoder(job), texts, "query", "embedding queries")
    depth = job.settings.queries.round_trip_depth
    bm25_rows, bm25_scores = Bm25(corpus.texts).top(texts, depth)
    bm25_rows = np.where(bm25_scores > 0, bm25_rows, filters.NO_HIT)
    dense_rows, dense_scores = top_k(vectors, corpus.vectors, depth)
    own_groups = [written[number].request.passage.duplicates for number in left]
    groups = [passage.duplicates for passage in job.passages]
    found = filters.round_trip(own_groups, groups, dense_rows, bm25_rows)
    runs = (
        filters.Run(dense_rows, dense_scores, CLOSE_BY_COSINE),
        filters.Run(bm25_rows, bm25_scores, CLOSE_BY_BM25),
    )
    generic = filters.generic(own_groups, job.passages, runs)
    for number, finds_its_passage, fits_many in zip(left, found, generic, strict=True):
        if not finds_its_passage:
            rejected[number] = "does not find its passage"
        elif fits_many:
            rejected[number] = "fits many threads"
    return rejected
