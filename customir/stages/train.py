"""Training the adapter on the pairs and their hard negatives."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from customir.job import Job, StageSummary
from customir.workspace import content_key
from customir.workspace.queries import Negative, Query, read_negatives, read_queries

if TYPE_CHECKING:
    from customir.training import DevQueries

# Fewer examples have too little contrast to learn from.
MIN_EXAMPLES = 8
DEV_PASSAGES = 1000


def fingerprint_inputs(job: Job) -> Sequence[str]:
    return (job.settings.training.model_dump_json(),)


def is_present(job: Job) -> bool:
    """Whether the folder with the adapter and the checkpoint exists."""
    return (job.folder / "training").exists()


def run(job: Job) -> StageSummary:
    from customir.queries.self_supervised import without_query_text
    from customir.training.examples import Example, TrainingPassage
    from customir.training.trainer import train

    by_key = {passage.key: passage for passage in job.passages}

    def to_training_passage(key: str, query: Query | None = None) -> TrainingPassage:
        """The passage; as the positive of a self-supervised pair without the text of its query."""
        passage = by_key[key]
        text = (
            without_query_text(passage, query.style, query.text)
            if query and query.is_self_supervised
            else passage.content
        )
        # Another text is another column of the batch, masked by its thread and group all the same.
        key = key if text == passage.content else content_key(key, text)
        return TrainingPassage(key, text, passage.thread, passage.duplicates)

    mined: dict[str, list[Negative]] = {}
    for negative in read_negatives(job.workspace):
        mined.setdefault(negative.query, []).append(negative)
    examples = []
    for query in read_queries(job.workspace, splits=("train",)):
        candidates = mined.get(query.key, [])
        negatives = [negative for negative in candidates if negative.verdict == "negative"][
            : job.settings.negatives.negatives_per_query
        ]
        examples.append(
            Example(
                query.text,
                to_training_passage(query.passage, query),
                tuple(to_training_passage(negative.passage) for negative in negatives),
                frozenset(
                    negative.passage for negative in candidates if negative.verdict == "relevant"
                ),
            )
        )
    if len(examples) < MIN_EXAMPLES:
        return {"examples": len(examples), "adapter": None, "losses": []}
    result = train(
        job.embedder,
        examples,
        job.settings.training,
        job.settings.seed,
        job.settings.device,
        job.folder / "training",
        job.reporter,
        _dev_queries(job) if job.settings.training.early_stopping_patience else None,
    )
    return {
        "examples": len(examples),
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
