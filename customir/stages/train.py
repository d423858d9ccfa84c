"""Training the adapter: the examples that it learns from, and their teacher."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from customir import models
from customir.job import Job, StageSummary
from customir.job.base_encoder import base_encoder, embedded
from customir.workspace import content_key
from customir.workspace.queries import Negative, Query, read_negatives, read_queries

if TYPE_CHECKING:
    from customir.training import DevQueries
    from customir.training.examples import Example
    from customir.training.teachers import Teacher

# With fewer there is no contrast to learn from.
MIN_EXAMPLES = 8
DEV_PASSAGES = 1000


def fingerprint_inputs(job: Job) -> Sequence[str]:
    return (
        job.settings.training.model_dump_json(),
        *(
            (job.settings.evaluation.reference_model,)
            if job.settings.training.teacher == "reference"
            else ()
        ),
    )


def is_present(job: Job) -> bool:
    """Whether the folder with the adapter and the checkpoint is there."""
    return (job.folder / "training").exists()


def run(job: Job) -> StageSummary:
    from customir.queries.self_supervised import without_query_text
    from customir.training.examples import Example, TrainingPassage
    from customir.training.trainer import train

    by_key = {passage.key: passage for passage in job.passages}

    def to_training_passage(key: str, query: Query | None = None) -> TrainingPassage:
        """A passage; the positive of a free query without what the query was taken from."""
        passage = by_key[key]
        text = (
            without_query_text(passage, query.style)
            if query and query.is_self_supervised
            else passage.content
        )
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
            : job.settings.negatives.negatives_per_query
        ]
        distillation_targets = {negative.passage: negative.teacher for negative in found}
        scores = [
            distillation_targets.get(key)
            for key in (query.passage, *(each.passage for each in kept))
        ]
        examples.append(
            Example(
                query.text,
                to_training_passage(query.passage, query),
                tuple(to_training_passage(negative.passage) for negative in kept),
                frozenset(negative.passage for negative in found if negative.verdict == "relevant"),
                () if None in scores else tuple(score for score in scores if score is not None),
            )
        )
    if len(examples) < MIN_EXAMPLES:
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
        _dev_queries(job) if job.settings.training.early_stopping_patience else None,
        teacher,
    )
    return {
        "examples": len(examples),
        "distilled_examples": len(examples) if teacher else sum(bool(e.scores) for e in examples),
        "truncated_texts": result.truncated,
        "dev_recall": result.dev_recall,
        "negatives": sum(len(example.negatives) for example in examples),
        "steps": result.steps,
        "pairs": result.pairs,
        "padding": result.padding,
        "seconds": result.seconds,
        "losses": [round(loss, 4) for loss in result.losses],
        "adapter": str(result.adapter.relative_to(job.folder)),
    }


def _teacher_of(job: Job, examples: "Sequence[Example]") -> "Teacher | None":
    """What scores whole batches, where distillation wants that."""
    from customir.embeddings import load_encoder
    from customir.training.teachers import DenseTeacher, FusionTeacher

    training = job.settings.training
    if not training.distillation_weight or training.teacher == "judge":
        return None
    if training.teacher == "reference":
        reference = models.locate(job.settings.evaluation.reference_model, "embedder")
        encoder = load_encoder(reference, job.settings)
    else:
        encoder = base_encoder(job)
    queries = list(dict.fromkeys(example.query for example in examples))
    passages = list(dict.fromkeys(text for example in examples for text in example.passages))
    if job.workspace.writes:
        asked, vectors = embedded(job, "train", encoder, queries, passages)
    else:  # a helper of torchrun's
        asked, vectors = encoder.encode(queries, "query"), encoder.encode(passages, "passage")
    dense = DenseTeacher(
        encoder.fingerprint,
        dict(zip(queries, asked, strict=True)),
        dict(zip(passages, vectors, strict=True)),
    )
    return FusionTeacher(dense, passages) if training.teacher == "hybrid" else dense


def _dev_queries(job: Job) -> "DevQueries | None":
    """The dev queries, their answers, and other passages up to `DEV_PASSAGES`."""
    from customir.evaluation.held_out import qrels_of, subset_with_answers
    from customir.training import DevQueries

    dev = read_queries(job.workspace, splits=("dev",))
    if not dev:
        return None
    qrels = qrels_of(dev, job.passages)
    passages = subset_with_answers(job.passages, qrels, DEV_PASSAGES)
    places = {passage.key: place for place, passage in enumerate(passages)}
    return DevQueries(
        [query.text for query in dev],
        [passage.content for passage in passages],
        [frozenset(places[key] for key in qrels[query.key]) for query in dev],
    )
