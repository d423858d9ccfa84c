"""The order of the stages: the only file that knows them all.

A stage is done when its row in the workspace says so with the fingerprint of what it would work on
now: its settings and the stages before it. Then it is skipped; else it runs, and finds in the
workspace whatever an earlier or interrupted run of it has computed already.
"""

import dataclasses
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from customir import __version__, models
from customir.corpus.document import Passage
from customir.corpus.ingest import ingest, require_enough
from customir.corpus.sources import check_sources, sources_fingerprint
from customir.corpus.workers import worth_processes
from customir.errors import UserError
from customir.evaluation.page import write_page
from customir.evaluation.report import comparison_rows, write_report
from customir.evaluation.splits import split_passages
from customir.processors import usable_processors
from customir.progress import Reporter
from customir.settings import Settings
from customir.workspace import StageState, Workspace, content_key
from customir.workspace.passages import read_documents, read_passages
from customir.workspace.queries import (
    Negative,
    Query,
    read_negatives,
    read_queries,
    write_negatives,
    write_queries,
)

if TYPE_CHECKING:
    from customir.analysis.summary import Summary
    from customir.analysis.topics import Topic
    from customir.evaluation.compare import Comparison
    from customir.evaluation.drift import Drift
    from customir.evaluation.systems import SystemResult
    from customir.exporters.parity import HeldOut
    from customir.llm import Engine, Llm
    from customir.mining.verdicts import Judged
    from customir.synthesis.generate import Written
    from customir.training import HeldOut as TrainerHeldOut
    from customir.training.examples import Example
    from customir.training.teachers import Teacher

Detail = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """What a stage works with."""

    workspace: Workspace
    settings: Settings
    reporter: Reporter

    @property
    def folder(self) -> Path:
        return self.workspace.folder

    @cached_property
    def embedder(self) -> Path:
        return models.locate(self.settings.embedder, "embedder")

    @cached_property
    def llm(self) -> Path:
        return models.locate(self.settings.llm, "llm")

    @cached_property
    def passages(self) -> list[Passage]:
        return read_passages(self.workspace)

    @cached_property
    def dates(self) -> dict[str, str | None]:
        """Of each document, ISO 8601 in UTC."""
        return dict(self.workspace.database.execute("SELECT key, date FROM document"))

    @property
    def threads(self) -> int:
        return self.settings.threads or usable_processors()


@dataclass(frozen=True)
class Stage:
    """A step of the way.

    Attributes:
        name: As in the workspace and on the command line.
        title: What it does, for the user.
        run: Does it, and returns what the report shows.
        basis: What decides its result, beside the stages before it.
        artifacts: What it leaves in DIR, beside rows; without them it is not done.
    """

    name: str
    title: str
    run: Callable[[Job], Detail]
    basis: Callable[[Job], Sequence[str]]
    artifacts: tuple[str, ...] = ()


def check(settings: Settings) -> None:
    """All that can be wrong before any work: sources and models.

    Raises:
        UserError: says which, and what to do.
    """
    if not settings.sources:
        raise UserError("No source. Give an mbox, a folder of .eml, .txt or .md files, or a JSONL.")
    check_sources([Path(source) for source in settings.sources])
    models.locate(settings.embedder, "embedder")
    if not settings.llm_urls:
        models.locate(settings.llm, "llm")
    training, larger = settings.training, settings.evaluation.larger
    if training.distillation and training.teacher == "larger":
        if not larger:
            raise UserError(
                'training.teacher is "larger", and evaluation.larger is empty. Name an embedder '
                "there, or take another teacher."
            )
        models.locate(larger, "embedder")


def run_all(job: Job) -> None:
    """Every stage that is not done, in order."""
    for stage in STAGES:
        run_stage(stage, job)


def run_stage(stage: Stage, job: Job) -> None:
    """Run one stage, unless it is done.

    Raises:
        UserError: the stage before it is not done; names the command.
    """
    _require_earlier(stage, job)
    number = STAGES.index(stage)
    if is_done(stage, job):
        job.reporter.say(f"[{number + 1}/{len(STAGES)}] {stage.title}: done before")
        return
    job.reporter.say(f"[{number + 1}/{len(STAGES)}] {stage.title}")
    later = [other.name for other in STAGES[number + 1 :]]
    job.workspace.begin_stage(stage.name, _fingerprint(stage, job), later)
    job.workspace.finish_stage(stage.name, stage.run(job))
    write_report(job.workspace, job.settings)
    write_page(job.workspace, job.settings)


def _require_earlier(stage: Stage, job: Job) -> None:
    for earlier in STAGES[: STAGES.index(stage)]:
        if not is_done(earlier, job):
            out = "--out " if earlier.name == "ingest" else ""
            raise UserError(
                f"{job.folder}: stage `{earlier.name}` comes before `{stage.name}` and is not "
                f"done for the settings in force. Run: customir {earlier.name} {out}{job.folder}"
            )


def is_done(stage: Stage, job: Job) -> bool:
    """Whether the stage's result is that of the settings and the stages before it as they are."""
    state = job.workspace.stage(stage.name)
    return (
        state is not None
        and state.finished
        and state.fingerprint == _fingerprint(stage, job)
        and all((job.folder / name).exists() for name in stage.artifacts)
    )


def states(job: Job) -> list[tuple[Stage, StageState | None, bool]]:
    """Each stage, what the workspace knows of it, and whether it is done."""
    return [(stage, job.workspace.stage(stage.name), is_done(stage, job)) for stage in STAGES]


def _fingerprint(stage: Stage, job: Job) -> str:
    number = STAGES.index(stage)
    before = _fingerprint(STAGES[number - 1], job) if number else __version__
    return content_key(before, stage.name, *stage.basis(job))


def _sources(job: Job) -> list[Path]:
    return [Path(source) for source in job.settings.sources]


def analyse(job: Job) -> "Summary":
    """What is in the corpus; the base embeddings that it takes are kept in the workspace.

    Raises:
        UserError: nothing was read yet.
    """
    from customir.analysis.summary import summarise
    from customir.analysis.topics import cluster
    from customir.embeddings import embed

    if not job.passages:
        raise UserError(
            f"{job.folder}: no passages in it. Run: customir ingest SOURCE --out {job.folder}"
        )
    vectors = embed(
        job.workspace, "analyse", _base_encoder(job), [p.content for p in job.passages], "passage",
        job.reporter, "embedding passages",
    )  # fmt: skip
    labels = cluster(vectors, job.settings.seed)
    with _open_llm(job) as (engine, model_key):
        topics = _topics(job, "analyse", engine, model_key, vectors, labels)
    return summarise(job.passages, job.dates, topics)


def _topics(
    job: Job,
    stage: str,
    engine: "Llm",
    model_key: str,
    vectors: np.ndarray,
    labels: np.ndarray,
) -> "list[Topic]":
    """The corpus' topics, with the names that the LLM gives them."""
    from customir.analysis.naming import name_by_llm, typical
    from customir.analysis.topics import name_topics

    texts = [passage.content for passage in job.passages]
    samples = [[texts[row] for row in rows] for rows in typical(vectors, labels)]
    topics = name_topics(texts, labels)
    return name_by_llm(job.workspace, stage, engine, model_key, topics, samples, job.reporter)


def _ingest(job: Job) -> Detail:
    summary = ingest(
        job.workspace,
        _sources(job),
        job.settings.corpus,
        job.embedder / "tokenizer.json",
        job.reporter,
        worth_processes(_sources(job)),
    )
    job.reporter.say(f"  {summary.line}")
    require_enough(job.workspace)
    return summary.as_detail()


def _generate(job: Job) -> Detail:
    from customir.analysis.boilerplate import automatic
    from customir.analysis.map import corpus_map
    from customir.analysis.personas import personas
    from customir.analysis.sampling import sample_passages
    from customir.analysis.topics import cluster, name_topics, periods
    from customir.embeddings import embed
    from customir.retrieval.bm25 import Bm25
    from customir.retrieval.dense import top_k
    from customir.synthesis import filters
    from customir.synthesis.generate import write_queries as let_write
    from customir.synthesis.openings import opening_queries
    from customir.synthesis.replies import reply_queries
    from customir.synthesis.subjects import subject_queries

    settings, passages = job.settings, job.passages
    splits = split_passages(passages, settings.evaluation.held_out, settings.seed)
    encoder = _base_encoder(job)
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
        settings.synthesis.passages,
        settings.seed,
        {passage.key: stratum for passage, stratum in zip(passages, strata, strict=True)},
    )
    with _open_llm(job, writing=True) as (engine, model_key):
        topics, searchers = name_topics(corpus, labels), {}
        if settings.synthesis.searchers:
            topics = _topics(job, "generate", engine, model_key, corpus_vectors, labels)
            searchers = personas([passage.key for passage in passages], labels, topics)
        written = let_write(
            job.workspace, "generate", engine, model_key, sampled, searchers,
            settings.synthesis, settings.seed, job.reporter,
        )  # fmt: skip
        usage = dataclasses.asdict(engine.usage)
    rejected = _rejected_by_text(written)
    left = [number for number, reason in enumerate(rejected) if reason is None]
    if left:
        texts = [written[number].text for number in left]
        query_vectors = embed(
            job.workspace, "generate", encoder, texts, "query", job.reporter, "embedding queries"
        )
        depth = settings.synthesis.round_trip_depth
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
    by_people = [passage for passage in passages if not automatic(passage)]
    documents = read_documents(job.workspace)
    free = [
        (style, pairs)
        for style, pairs in (
            ("subject", subject_queries(passages)),
            ("reply", reply_queries(documents, by_people, settings.synthesis.replies)),
            ("opening", opening_queries(by_people)),
        )
        if style in settings.synthesis.free
    ]
    for style, pairs in free:
        found_free = [
            Query(content_key(style, passage.key, text), passage.key, style, text, None, "train")
            for passage, text in pairs
            if splits[passage.key] == "train"
        ]
        # Keys are hashes: the first ones are a random draw that new mail changes little.
        queries += sorted(found_free, key=lambda query: query.key)[: settings.synthesis.free_pairs]
    write_queries(job.workspace, queries)
    kept = [query for query in queries if query.rejected is None]
    return {
        "sampled_passages": len(sampled),
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


def _rejected_by_text(written: "Sequence[Written]") -> list[str | None]:
    """What each query's text alone gives away; None where that is nothing."""
    from customir.synthesis import filters
    from customir.synthesis.styles import shown_queries

    texts = [query.text for query in written]
    own = [query.request.passage.content for query in written]
    rejected = [
        filters.reject_by_form(
            text, passage, [query.request.searcher, *shown_queries(query.request.rotation)]
        )
        for text, passage, query in zip(texts, own, written, strict=True)
    ]
    for number, wrong in enumerate(filters.wrong_language(texts, own)):
        rejected[number] = rejected[number] or ("wrong language" if wrong else None)
    for number, again in enumerate(filters.repeated(texts)):
        rejected[number] = rejected[number] or ("said before" if again else None)
    return rejected


def _mine(job: Job) -> Detail:
    from customir.mining.calibration import required_near_auc
    from customir.mining.candidates import mine_candidates
    from customir.mining.teaching import taught
    from customir.retrieval.bm25 import Bm25

    settings, passages = job.settings, job.passages
    queries = [query for query in read_queries(job.workspace, splits=("train",)) if not query.free]
    if not queries or not settings.mining.candidates:
        write_negatives(job.workspace, [])
        return {"candidates": 0, "calibration": None}
    contents, texts = [passage.content for passage in passages], [query.text for query in queries]
    asked, vectors = _embedded(job, "mine", _base_encoder(job), texts, contents)
    mining = settings.mining
    found = mine_candidates(
        queries,
        passages,
        asked,
        vectors,
        Bm25(contents),
        mining.candidates,
        mining.skip_top,
        mining.sources,
    )
    judged, tokens = _judged(job, queries, found)
    scored = taught(queries, found, judged.own_and_candidates()) if judged.own else {}
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
        "required_near_auc": required_near_auc(mining.judge_auc),
        "calibration": dataclasses.asdict(calibration) if calibration else None,
        "tokens": tokens,
    }


def _embedded(
    job: Job, stage: str, encoder: Any, queries: Sequence[str], passages: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Vectors of queries and of passages; what is known comes from the workspace."""
    from customir.embeddings import embed

    vectors = embed(
        job.workspace, stage, encoder, passages, "passage", job.reporter, "embedding passages"
    )
    asked = embed(
        job.workspace, stage, encoder, queries, "query", job.reporter, "embedding queries"
    )
    return asked, vectors


def _judged(
    job: Job,
    queries: Sequence[Query],
    found: Sequence[Sequence[Passage]],
) -> "tuple[Judged, Detail]":
    """What the LLM says of the candidates, and the tokens that it took."""
    from customir.mining.judge import Pair, judge
    from customir.mining.verdicts import UNJUDGED, judge_candidates

    mining = job.settings.mining
    if not mining.judged:
        return UNJUDGED, {}
    with _open_llm(job) as (engine, model_key):

        def scores(pairs: Sequence[tuple[Query, Passage]]) -> np.ndarray:
            texts = [Pair(query.text, passage.content) for query, passage in pairs]
            return judge(job.workspace, "mine", engine, model_key, texts, job.reporter)

        judged = judge_candidates(
            queries, job.passages, found, scores, mining.judge_auc, job.settings.seed,
            own_too=_judge_teaches(job),
        )  # fmt: skip
        return judged, dataclasses.asdict(engine.usage)


def _train(job: Job) -> Detail:
    from customir.synthesis import openings
    from customir.training.examples import Example, TrainingPassage
    from customir.training.trainer import train

    by_key = {passage.key: passage for passage in job.passages}

    def as_trained(key: str, query: Query | None = None) -> TrainingPassage:
        """A passage; the positive of a free query without what the query was taken from."""
        passage = by_key[key]
        text = passage.content
        if query and query.free:
            text = passage.text
            if query.style == openings.STYLE and (found := openings.parts(text)):
                text = found[1]
        # Another text is another column of the batch; thread and group mask it all the same.
        key = key if text == passage.content else content_key(key, text)
        return TrainingPassage(key, text, passage.thread, passage.duplicates)

    mined: dict[str, list[Negative]] = {}
    for negative in read_negatives(job.workspace):
        mined.setdefault(negative.query, []).append(negative)
    examples = []
    for query in read_queries(job.workspace, splits=("train",)):
        found = mined.get(query.key, [])
        kept = [negative for negative in found if negative.verdict == "negative"][
            : job.settings.mining.negatives
        ]
        taught = {negative.passage: negative.teacher for negative in found}
        scores = [taught.get(key) for key in (query.passage, *(each.passage for each in kept))]
        examples.append(
            Example(
                query.text,
                as_trained(query.passage, query),
                tuple(as_trained(negative.passage) for negative in kept),
                frozenset(negative.passage for negative in found if negative.verdict == "relevant"),
                () if None in scores else tuple(score for score in scores if score is not None),
            )
        )
    if len(examples) < MINIMUM_EXAMPLES:
        return {"examples": len(examples), "adapter": None, "losses": []}
    teacher = _teacher_of(job, examples)
    result = train(
        job.embedder,
        examples,
        job.settings.training,
        job.settings.seed,
        job.settings.device,
        job.folder / "training",
        job.reporter,
        _dev_part(job) if job.settings.training.patience else None,
        teacher,
    )
    return {
        "examples": len(examples),
        "taught_examples": len(examples) if teacher else sum(bool(e.scores) for e in examples),
        "cut_texts": result.cut,
        "dev_recall": result.held_out,
        "negatives": sum(len(example.negatives) for example in examples),
        "steps": result.steps,
        "pairs": result.pairs,
        "padding": result.padding,
        "seconds": result.seconds,
        "losses": [round(loss, 4) for loss in result.losses],
        "adapter": str(result.adapter.relative_to(job.folder)),
    }


def _judge_teaches(job: Job) -> bool:
    """Whether distillation learns from the judge, who then scores the queries' own passages too."""
    training = job.settings.training
    return training.distillation > 0 and training.teacher == "judge"


def _teacher_of(job: Job, examples: "Sequence[Example]") -> "Teacher | None":
    """What scores whole batches, where distillation wants that."""
    from customir.encoder import Encoder
    from customir.training.teachers import DenseTeacher, FusionTeacher

    training = job.settings.training
    if not training.distillation or training.teacher == "judge":
        return None
    if training.teacher == "larger":
        larger = models.locate(job.settings.evaluation.larger, "embedder")
        encoder = Encoder.load(larger, job.settings.device, training.max_tokens, training.precision)
    else:
        encoder = _base_encoder(job)
    queries = list(dict.fromkeys(example.query for example in examples))
    passages = list(dict.fromkeys(text for example in examples for text in example.passages))
    if job.workspace.writes:
        asked, vectors = _embedded(job, "train", encoder, queries, passages)
    else:  # a helper of torchrun's
        asked, vectors = encoder.encode(queries, "query"), encoder.encode(passages, "passage")
    dense = DenseTeacher(
        encoder.fingerprint,
        dict(zip(queries, asked, strict=True)),
        dict(zip(passages, vectors, strict=True)),
    )
    return FusionTeacher(dense, passages) if training.teacher == "fusion" else dense


def _dev_part(job: Job) -> "TrainerHeldOut | None":
    """The dev queries, their answers, and other passages up to `WATCHED_PASSAGES`."""
    from customir.evaluation.compare import qrels_of
    from customir.training import HeldOut

    dev = read_queries(job.workspace, splits=("dev",))
    if not dev:
        return None
    qrels = qrels_of(dev, job.passages)
    wanted = {key for grades in qrels.values() for key in grades}
    others = [passage for passage in job.passages if passage.key not in wanted]
    passages = [passage for passage in job.passages if passage.key in wanted]
    passages += others[: max(0, WATCHED_PASSAGES - len(passages))]
    places = {passage.key: place for place, passage in enumerate(passages)}
    return HeldOut(
        [query.text for query in dev],
        [passage.content for passage in passages],
        [frozenset(places[key] for key in qrels[query.key]) for query in dev],
    )


def help_to_train(job: Job) -> None:
    """What a process of torchrun beside the first does: its share, writing nothing.

    Raises:
        UserError: the stage before is not done.
    """
    stage = next(stage for stage in STAGES if stage.name == "train")
    _require_earlier(stage, job)
    if not is_done(stage, job):
        stage.run(job)


def _evaluate(job: Job) -> Detail:
    from customir.evaluation.compare import compare

    adapter = _detail(job, "train")["adapter"]
    comparison = compare(
        job.workspace,
        "evaluate",
        job.embedder,
        job.folder / adapter if adapter else None,
        job.passages,
        read_queries(job.workspace, splits=("dev",)),
        read_queries(job.workspace, splits=("test",)),
        job.settings,
        job.reporter,
    )
    return {
        **_broken_down(job, comparison),
        "table": [result.as_row() for result in comparison.test],
        "dev": [
            {"alpha": alpha, **{name: float(np.mean(values)) for name, values in metrics.items()}}
            for alpha, metrics in sorted(comparison.dev.items())
            if all(len(values) for values in metrics.values())
        ],
        "queries": len(comparison.threads),
        "threads": len(set(comparison.threads)),
        "alpha": comparison.verdict.alpha,
        "reason": comparison.verdict.reason,
    }


def _broken_down(job: Job, comparison: "Comparison") -> Detail:
    """Gains by query style and queries won and lost; nothing where base and adapted are one."""
    from customir.evaluation.breakdown import by_style, won_and_lost
    from customir.evaluation.compare import qrels_of
    from customir.evaluation.systems import ADAPTED, BASE

    test = read_queries(job.workspace, splits=("test",))
    values = {result.system: result.by_query["Recall@10"] for result in comparison.test}
    if ADAPTED not in values or not test:
        return {}
    won, lost = won_and_lost(
        test, job.passages, qrels_of(test, job.passages), comparison.rankings, BASE, ADAPTED
    )
    return {
        "by_style": by_style(
            test, values[BASE], values[ADAPTED], comparison.threads,
            job.settings.evaluation, job.settings.seed,
        ),
        "examples": {
            "won": [dataclasses.asdict(example) for example in won],
            "lost": [dataclasses.asdict(example) for example in lost],
        },
    }  # fmt: skip


def measure_on(job: Job, test_set: Path) -> "list[SystemResult]":
    """DIR/model, the base and the baselines on a judged test set in BEIR's layout."""
    from customir.evaluation.beir import compare_on, read_beir
    from customir.evaluation.systems import ADAPTED, BASE, larger_embedder

    larger = larger_embedder(job.settings.evaluation)
    return compare_on(
        read_beir(test_set),
        {BASE: job.embedder, **dict([larger] if larger else []), ADAPTED: job.folder / "model"},
        {f"{ADAPTED} INT8": job.folder / "model"},
        job.settings,
        job.workspace,
        job.reporter,
    )


def check_drift(job: Job, sources: Sequence[Path], count: int) -> "Drift":
    """Whether DIR/model still holds for what is new in `sources`. What is adapted to stays as it is.

    Args:
        count: New passages to write queries for.

    Raises:
        UserError: nothing was adapted yet, or a source can't be read.
    """
    from customir.analysis.sampling import sample_passages
    from customir.embeddings import embed
    from customir.encoder import Encoder
    from customir.evaluation.compare import qrels_of, threads_of
    from customir.evaluation.drift import Drift, energy_distance, judge_drift
    from customir.evaluation.significance import Difference
    from customir.evaluation.systems import ADAPTED, BASE, measure, rank_by_vectors
    from customir.runtime.embedder import passage_model
    from customir.synthesis.generate import write_queries as let_write

    settings, model = job.settings, job.folder / "model"
    if not is_done(STAGE["export"], job):
        raise UserError(
            f"{job.folder}: nothing adapted yet. Run: customir adapt --out {job.folder}"
        )
    with Workspace(job.folder / "check") as arrived:
        ingest(arrived, sources, settings.corpus, job.embedder / "tokenizer.json", job.reporter)
        known = {passage.key for passage in job.passages}
        new = [passage for passage in read_passages(arrived) if passage.key not in known]
    evaluated = _detail(job, "evaluate")
    then = next((row for row in evaluated["table"] if row["system"] == ADAPTED), None)
    gain_then = Difference(*then["Recall@10 difference"]) if then and evaluated["alpha"] else None
    if not new:
        holds, verdict = judge_drift(None, gain_then, 0, None)
        return Drift(0, 0, 0, None, None, None, None, gain_then, holds, verdict)

    sampled = sample_passages(new, count, settings.seed)
    synthesis = settings.synthesis.model_copy(update={"queries_per_passage": CHECK_QUERIES})
    with _open_llm(job) as (engine, model_key):
        written = let_write(
            job.workspace, "check", engine, model_key, sampled, {}, synthesis,
            settings.seed, job.reporter,
        )  # fmt: skip
    queries = [
        Query(query.key, query.request.passage.key, query.request.style.name, query.text, None, "test")
        for query, reason in zip(written, _rejected_by_text(written), strict=True)
        if reason is None
    ]  # fmt: skip
    passages = [*job.passages, *new]
    runs, vectors = {}, np.empty(0)
    for name, folder in ((BASE, job.embedder), (ADAPTED, model)):
        encoder, for_passages = (
            Encoder.load(
                each, settings.device, settings.training.max_tokens, settings.training.precision
            )
            for each in (folder, passage_model(folder))
        )
        vectors = embed(
            job.workspace, "check", for_passages, [passage.content for passage in passages], "passage",
            job.reporter, f"embedding passages, {name}",
        )  # fmt: skip
        asked = embed(
            job.workspace, "check", encoder, [query.text for query in queries], "query",
            job.reporter, f"embedding queries, {name}",
        )  # fmt: skip
        runs[name] = rank_by_vectors(asked, vectors)
    threads = threads_of(queries, new)
    base, adapted = measure(
        runs, qrels_of(queries, new), [query.key for query in queries],
        [passage.key for passage in passages], threads, settings.evaluation, settings.seed,
    )  # fmt: skip
    old_rows, new_rows = (
        sorted(rows, key=lambda row: content_key("drift", passages[row].key))[:CHECK_COMPARED]
        for rows in (range(len(job.passages)), range(len(job.passages), len(passages)))
    )
    distance = energy_distance(
        vectors[old_rows], vectors[new_rows],
        [passages[row].thread for row in old_rows], [passages[row].thread for row in new_rows],
        settings.seed,
    )  # fmt: skip
    gain = adapted.differences.get("Recall@10")
    holds, verdict = judge_drift(gain, gain_then, len(set(threads)), distance)
    return Drift(
        len(new), len(queries), len(set(threads)), distance, base.metrics["Recall@10"],
        adapted.metrics["Recall@10"], gain, gain_then, holds, verdict,
    )  # fmt: skip


def _export(job: Job) -> Detail:
    from customir.evaluation.compare import measure_int8
    from customir.exporters.card import SUFFIXES, Facts, base_licence, write_card
    from customir.exporters.chain import losses, measure_chain, table
    from customir.exporters.fp16 import export_fp16
    from customir.exporters.gguf import export_gguf
    from customir.exporters.int8 import quantize
    from customir.exporters.merge import merge_adapter
    from customir.exporters.onnx import export_onnx
    from customir.exporters.passages import write_passage_model

    evaluated, trained = _detail(job, "evaluate"), _detail(job, "train")
    alpha, model = evaluated["alpha"], job.folder / "model"
    job.reporter.say(f"  merging {alpha:g} of the adapter" if alpha else "  copying the base")
    merge_adapter(job.embedder, job.folder / (trained["adapter"] or ""), alpha, model)
    job.reporter.say("  exporting to ONNX")
    export_onnx(model)
    held_out = held_out_of(job)
    job.reporter.say("  quantising to INT8")
    quantized = quantize(model, held_out)
    for loss in quantized.given_up:
        job.reporter.say(f"  too lossy, so a gentler setting is tried: {loss}")
    if job.settings.export.fp16:
        job.reporter.say("  converting to half precision")
        export_fp16(model)
    if job.settings.export.gguf:
        job.reporter.say("  writing GGUF")
        export_gguf(model)
    shutil.rmtree(job.folder / PASSAGE_MODEL, ignore_errors=True)
    if alpha and job.settings.training.query_only:
        job.reporter.say("  exporting the base, which embeds the passages")
        write_passage_model(job.embedder, job.folder / PASSAGE_MODEL, model, held_out)
    job.reporter.say("  measuring each file against the one that it was made from")
    chain = measure_chain(model, held_out)
    if lost := losses(chain, held_out):
        raise UserError(f"{model}: the exported files differ: {'; '.join(lost)}.")
    int8 = measure_int8(
        job.workspace, "export", job.embedder, model, "adapted INT8" if alpha else "base INT8",
        job.passages, read_queries(job.workspace, splits=("test",)), job.settings, job.reporter,
    ).as_row()  # fmt: skip
    read = _detail(job, "ingest")
    named = next((known for known in models.known() if known.name == job.settings.embedder), None)
    facts = Facts(
        base=named.name if named else job.embedder.name,
        licence=named.licence if named else base_licence(job.embedder),
        alpha=alpha,
        verdict=evaluated["reason"],
        corpus={
            "documents": read["kept"],
            "threads": read["threads"],
            "passages": read["passages"],
            "training pairs": trained["examples"],
            "held-out test queries": evaluated["queries"],
        },
        compared=comparison_rows([*evaluated["table"], int8], job.settings.evaluation.confidence),
        chain=table(chain),
        int8=(quantized.setting, *(f"Given up: {loss}" for loss in quantized.given_up)),
        settings={
            "customir": __version__,
            "seed": job.settings.seed,
            "LLM": ", ".join(job.settings.llm_urls) or job.llm.name,
            **job.settings.training.model_dump(mode="json"),
        },
    )
    write_card(model, facts)
    return {
        "table": [int8],
        "setting": quantized.setting,
        "given_up": quantized.given_up,
        "parity": dataclasses.asdict(quantized.measured)["parity"],
        "chain": table(chain),
        "sizes": {
            path.name: path.stat().st_size
            for path in sorted(model.rglob("*"))
            if path.suffix in SUFFIXES
        },
    }


def held_out_of(job: Job) -> "HeldOut":
    """The dev and test queries, with their answers among a part of the corpus.

    Its passages are the answers and, up to `PARITY_PASSAGES`, others in the order of their keys,
    which are hashes.
    """
    from customir.evaluation.compare import qrels_of
    from customir.evaluation.metrics import by_query
    from customir.exporters.parity import HeldOut

    queries = read_queries(job.workspace, splits=("dev", "test"))[:PARITY_QUERIES]
    qrels = qrels_of(queries, job.passages)
    wanted = {key for grades in qrels.values() for key in grades}
    others = [passage for passage in job.passages if passage.key not in wanted]
    passages = [passage for passage in job.passages if passage.key in wanted]
    passages += others[: max(0, PARITY_PASSAGES - len(passages))]

    def metrics(rows: np.ndarray) -> dict[str, float]:
        asked, keys = [query.key for query in queries], [passage.key for passage in passages]
        values = by_query(qrels, asked, keys, rows)
        return {name: float(np.mean(each)) for name, each in values.items()}

    return HeldOut(
        [passage.content for passage in passages], [query.text for query in queries], metrics
    )


def _index(job: Job) -> Detail:
    from customir.runtime.embedder import Embedder, passage_model
    from customir.runtime.index import INDEX_NAME, IndexedPassage, build_index

    rows = job.workspace.database.execute(
        "SELECT passage.key, document, identifier, source, title, sender, date, thread, "
        "duplicates, passage.text, header FROM passage JOIN document ON document.key = document "
        "ORDER BY passage.key"
    )
    passages = [IndexedPassage(*row) for row in rows]
    embedder = Embedder(passage_model(job.folder / "model"), threads=job.threads)
    summary = build_index(job.folder / INDEX_NAME, passages, embedder, job.reporter)
    return {**dataclasses.asdict(summary), "fingerprint": embedder.fingerprint}


@contextmanager
def _open_llm(job: Job, *, writing: bool = False) -> Iterator[tuple["Llm", str]]:
    """The LLM, here or on its servers, and what content keys know it by.

    Args:
        writing: Much is to be written, so it is said what would be faster.
    """
    from customir.llm import Engine, Servers

    if urls := job.settings.llm_urls:
        with Servers(urls) as servers:
            job.reporter.say(f"  {servers.model} on {', '.join(urls)}")
            yield servers, content_key("served", servers.model)
        return
    with Engine(job.llm, device=job.settings.device, threads=job.threads) as engine:
        threads = job.settings.threads
        if not threads and not engine.on_gpu:
            threads = _tried_threads(job, engine)
            engine.set_threads(threads)
        if writing and not engine.on_gpu:
            _say_what_is_faster(job, threads)
        yield engine, models.fingerprint(job.llm)


def _say_what_is_faster(job: Job, threads: int) -> None:
    """Whether other weights of the LLM would be faster: measured once, where much is to be written."""
    from customir.optimize import advice, try_formats, worth_trying

    synthesis = job.settings.synthesis
    queries = synthesis.passages * synthesis.queries_per_passage
    tried = None
    if worth_trying(job.llm, queries):
        key = content_key("formats", models.fingerprint(job.llm), threads)
        if key not in (found := job.workspace.results([key])):
            job.reporter.say("  trying the LLM's weights in other formats")
            found[key] = json.dumps(try_formats(job.llm, threads, job.folder)).encode()
            with job.workspace.transaction() as database:
                database.execute("INSERT INTO result VALUES (?, 'formats', ?)", (key, found[key]))
        name, factor = json.loads(found[key])
        tried = name, factor
    if said := advice(job.llm, job.settings.llm, tried):
        job.reporter.say(f"  {said}")


def _tried_threads(job: Job, engine: "Engine") -> int:
    """The fastest number of threads, tried once: a run that goes on has the same, so its texts."""
    from customir.llm import Usage
    from customir.llm.threads import fastest_threads

    key = content_key("threads", models.fingerprint(job.llm), job.threads)
    if found := job.workspace.results([key]):
        return int(found[key])
    threads = fastest_threads(engine)
    engine.usage = Usage()
    job.reporter.say(f"  the LLM is fastest with {threads} of {job.threads} threads")
    with job.workspace.transaction() as database:
        database.execute("INSERT INTO result VALUES (?, 'threads', ?)", (key, b"%d" % threads))
    return threads


def _llm_basis(job: Job) -> str:
    """What decides which LLM it is, without asking a server."""
    if urls := job.settings.llm_urls:
        return content_key("served", *sorted(urls))
    return models.fingerprint(job.llm)


def _base_encoder(job: Job) -> Any:
    from customir.encoder import Encoder

    training = job.settings.training
    return Encoder.load(job.embedder, job.settings.device, training.max_tokens, training.precision)


def _detail(job: Job, name: str) -> Detail:
    state = job.workspace.stage(name)
    assert state is not None, f"stage {name} is checked to be done before it is read"
    return state.detail


# Of the own passage's score: cosine, and BM25.
NEAR_BY_MEANING, NEAR_BY_WORDS = 0.97, 0.97
# Beside DIR/model, where that is adapted for queries alone.
PASSAGE_MODEL = "passage-model"
# With fewer there is no contrast to learn from.
MINIMUM_EXAMPLES = 8
# On two cores torch embeds some 60 passages a second.
PARITY_PASSAGES, PARITY_QUERIES = 1000, 1000
# Of a check: queries for each new passage, and passages of each kind whose embeddings are compared.
CHECK_QUERIES, CHECK_COMPARED = 2, 500
WATCHED_PASSAGES = 1000

STAGES = (
    Stage(
        "ingest",
        "Reading the corpus",
        _ingest,
        lambda job: (
            sources_fingerprint(_sources(job)),
            job.settings.corpus.model_dump_json(),
            models.fingerprint(job.embedder),
        ),
    ),
    Stage(
        "generate",
        "Writing queries",
        _generate,
        lambda job: (
            job.settings.synthesis.model_dump_json(),
            _llm_basis(job),
            str(job.settings.seed),
            str(job.settings.evaluation.held_out),
        ),
    ),
    Stage(
        "mine",
        "Mining and judging hard negatives",
        _mine,
        lambda job: (
            job.settings.mining.model_dump_json(),
            *(("taught",) if _judge_teaches(job) else ()),
        ),
    ),
    Stage(
        "train",
        "Training the adapter",
        _train,
        lambda job: (
            job.settings.training.model_dump_json(),
            *(
                (job.settings.evaluation.larger,)
                if job.settings.training.teacher == "larger"
                else ()
            ),
        ),
        ("training",),
    ),
    Stage(
        "evaluate",
        "Evaluating on held-out queries",
        _evaluate,
        lambda job: (job.settings.evaluation.model_dump_json(),),
    ),
    Stage(
        "export",
        "Exporting the model",
        _export,
        lambda job: tuple(file for file, wanted in job.settings.export if wanted),
        ("model",),
    ),
    Stage("index", "Indexing the corpus", _index, lambda job: (), ("index.db",)),
)
STAGE = {stage.name: stage for stage in STAGES}
