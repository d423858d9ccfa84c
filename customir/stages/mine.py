"""Mining hard negatives, and judging them."""

import dataclasses
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from customir.job import Job, StageSummary
from customir.job.base_encoder import base_encoder, embedded
from customir.job.llm import open_llm
from customir.workspace.passages import Passage
from customir.workspace.queries import Negative, Query, read_queries, write_negatives

if TYPE_CHECKING:
    from customir.negatives.verdicts import Judged


def fingerprint_inputs(job: Job) -> Sequence[str]:
    return (job.settings.negatives.model_dump_json(),)


def run(job: Job) -> StageSummary:
    from customir.negatives.calibration import required_near_auc
    from customir.negatives.candidates import mine_candidates
    from customir.retrieval.bm25 import Bm25

    settings, passages = job.settings.negatives, job.passages
    queries = [
        query
        for query in read_queries(job.workspace, splits=("train",))
        if not query.is_self_supervised
    ]
    if not settings.candidates_per_query:
        job.reporter.say(
            "  none, because negatives.candidates_per_query is 0; training uses in-batch negatives"
        )
    elif not queries:
        job.reporter.say(
            "  none, because they are mined for the LLM's queries, and none of these is trained on "
            "(queries.sufficient_self_supervised_pairs)"
        )
    if not queries or not settings.candidates_per_query:
        write_negatives(job.workspace, [])
        return {"candidates": 0, "calibration": None}
    contents, texts = [passage.content for passage in passages], [query.text for query in queries]
    asked, vectors = embedded(job, "mine", base_encoder(job), texts, contents)
    found = mine_candidates(
        queries,
        passages,
        asked,
        vectors,
        Bm25(contents),
        settings.candidates_per_query,
        settings.relative_margin,
        settings.candidate_sources,
    )
    judged, tokens = _judged(job, queries, found)
    negatives = []
    for number, (query, candidates) in enumerate(zip(queries, found, strict=True)):
        for rank, passage in enumerate(candidates):
            score, verdict = judged.of(number, rank)
            negatives.append(Negative(query.key, passage.key, rank, score, verdict))
    verdicts = Counter(negative.verdict for negative in negatives)
    write_negatives(job.workspace, negatives)
    calibration = judged.calibration
    return {
        "queries": len(queries),
        "candidates": sum(map(len, found)),
        "verdicts": dict(verdicts),
        "required_near_auc": required_near_auc(settings.min_judge_auc),
        "calibration": dataclasses.asdict(calibration) if calibration else None,
        "tokens": tokens,
    }


def _judged(
    job: Job,
    queries: Sequence[Query],
    found: Sequence[Sequence[Passage]],
) -> "tuple[Judged, StageSummary]":
    """The LLM's verdicts on the candidates, and how many tokens it computed."""
    from customir.negatives.judge import Pair, judge
    from customir.negatives.verdicts import UNJUDGED, judge_candidates

    settings = job.settings.negatives
    if not settings.use_judge:
        return UNJUDGED, {}
    with open_llm(job) as (engine, model_key):

        def scores(pairs: Sequence[tuple[Query, Passage]]) -> np.ndarray:
            texts = [Pair(query.text, passage.content) for query, passage in pairs]
            return judge(job.workspace, "mine", engine, model_key, texts, job.reporter)

        judged = judge_candidates(
            queries, job.passages, found, scores, settings.min_judge_auc, job.settings.seed
        )
        return judged, dataclasses.asdict(engine.usage)
