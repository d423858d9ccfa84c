"""The base embedder, and what it makes of texts."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from customir.encoder.folder import TOKENIZER_NAME, read_model_folder
from customir.files import write_atomically
from customir.job import Job


def base_tokenizer_file(job: Job) -> Path:
    """The base's tokenizer.json; where it has only an older kind, one made of that, in DIR."""
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
    """Vectors of queries and of passages; what is known comes from the workspace."""
    from customir.embeddings import embed

    vectors = embed(
        job.workspace, stage, encoder, passages, "passage", job.reporter, "embedding passages"
    )
    asked = embed(
        job.workspace, stage, encoder, queries, "query", job.reporter, "embedding queries"
    )
    return asked, vectors
