"""The base embedder, and what it makes of texts."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from customir.job import Job


def base_encoder(job: Job) -> Any:
    """The `Encoder` of the base."""
    from customir.embeddings import load_encoder

    return load_encoder(job.embedder, job.settings)


def embedded(
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
