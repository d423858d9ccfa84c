"""Mining hard negatives, and what the judge says of them."""

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
    return (
        job.settings.negatives.model_dump_json(),
        *(("distilled",) if _distills_judge(job) else ()),
    )


def run(job: Job) -> StageSummary:
    from customir.negatives.calibration import required_near_auc
    from customir.negatives.candidates import mine_candidates
    from customir.negatives.distillation_targets import distillation_targets
    from customir.retrieval.bm25 import Bm25

    settings, passages = job.settings.negatives, job.passages
    queries = [
        query
        for query in read_queries(job.workspace, splits=("train",))
        if not query.is_self_supervised
    ]
    if not settings.candidates_per_query:
        job.reporter.say(
            "  none: negatives.candidates_per_query is 0, and training has in-batch negatives alone"
        )
    elif not queries:
        job.reporter.say(
            "  none: they are mined for what the LLM wrote, and of that nothing is trained on "
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
    scored = distillation_targets(queries, found, judged.own_and_candidates()) if judged.own else {}
    negatives = []
    for number, (query, candidates) in enumerate(zip(queries, found, strict=True)):
        for rank, passage in enumerate(candidates):
            score, verdict = judged.of(number, rank)
            teacher = scored.get((query.key, passage.key))
            negatives.append(Negative(query.key, passage.key, rank, score, verdict, teacher))
    verdicts = Counter(negative.verdict for negative in negatives)
    # A judge that teaches scores the queries' own passages, too.
    negatives += [
        Negative(query.key, query.passage, len(candidates), None, "relevant", score)
        for query, candidates in zip(queries, found, strict=True)
        if (score := scored.get((query.key, query.passage))) is not None
    ]
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
    """What the LLM says of the candidates, and the tokens that it took."""
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
            queries, job.passages, found, scores, settings.min_judge_auc, job.settings.seed,
            own_too=_distills_judge(job),
        )  # fmt: skip
        return judged, dataclasses.asdict(engine.usage)


def _distills_judge(job: Job) -> bool:
    """Whether distillation learns from the judge, who then scores the queries' own passages too."""
    training = job.settings.training
    return training.distillation_weight > 0 and training.teacher == "judge"
