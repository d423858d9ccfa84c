"""The topics of the corpus, for `customir analyze`."""

from typing import TYPE_CHECKING

import numpy as np

from customir.job import Job

if TYPE_CHECKING:
    from customir.llm import Llm
    from customir.queries.topics import Topic


def named_topics(
    job: Job,
    stage: str,
    engine: "Llm",
    model_key: str,
    vectors: np.ndarray,
    labels: np.ndarray,
) -> "list[Topic]":
    """The topics of the corpus with names by the LLM."""
    from customir.queries.topic_names import name_by_llm, typical
    from customir.queries.topics import name_topics

    texts = [passage.content for passage in job.passages]
    samples = [[texts[row] for row in rows] for rows in typical(vectors, labels)]
    topics = name_topics(texts, labels)
    return name_by_llm(job.workspace, stage, engine, model_key, topics, samples, job.reporter)
