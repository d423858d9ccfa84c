"""The base embedder and its embeddings."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from customir.encoder.folder import TOKENIZER_NAME, read_model_folder
from customir.files import write_atomically
from customir.job import Job


def base_tokenizer_file(job: Job) -> Path:
    """The base's tokenizer.json, or, if the base has only an older kind, one converted from it in DIR."""
    folder = read_model_folder(job.embedder)
    stated = folder.transformer / TOKENIZER_NAME
    if stated.is_file():
        return stated
    from customir.encoder.torch_encoder import load_tokenizer

    made = job.folder / TOKENIZER_NAME
    write_atomically(made, load_tokenizer(folder).backend_tokenizer.to_str().encode())
    return made


def base_encoder(job: Job) -> Any:
    """The `Encoder` of the base."""
    from customir.embeddings import load_encoder

    return load_encoder(job.embedder, job.settings)


def embedded(
    job: Job, stage: str, encoder: Any, queries: Sequence[str], passages: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Vectors of queries and passages; those that the workspace has are not computed again."""
    from customir.embeddings import embed

    vectors = embed(
        job.workspace, stage, encoder, passages, "passage", job.reporter, "embedding passages"
    )
    asked = embed(
        job.workspace, stage, encoder, queries, "query", job.reporter, "embedding queries"
    )
    return asked, vectors
