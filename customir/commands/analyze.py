"""`customir analyze`: a description of the corpus."""

from typing import TYPE_CHECKING

from customir.errors import UserError
from customir.job import Job
from customir.job.base_encoder import base_encoder
from customir.job.llm import open_llm
from customir.job.topics import named_topics

if TYPE_CHECKING:
    from customir.queries.summary import Summary


def analyse(job: Job) -> "Summary":
    """Describe the corpus; the base embeddings for it are stored in the workspace.

    Raises:
        UserError: nothing has been ingested yet.
    """
    from customir.embeddings import embed
    from customir.queries.summary import summarise
    from customir.queries.topics import cluster

    if not job.passages:
        raise UserError(
            f"{job.folder}: no passages in it. Run: customir ingest SOURCE --out {job.folder}"
        )
    vectors = embed(
        job.workspace, "analyse", base_encoder(job), [p.content for p in job.passages], "passage",
        job.reporter, "embedding passages",
    )  # fmt: skip
    labels = cluster(vectors, job.settings.seed)
    with open_llm(job) as (engine, model_key):
        topics = named_topics(job, "analyse", engine, model_key, vectors, labels)
    return summarise(job.passages, job.dates, topics)
