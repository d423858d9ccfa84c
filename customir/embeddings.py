"""Embeddings as units of work: each text is embedded once for each model and stored in the workspace."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from customir.encoder.torch_encoder import Encoder
from customir.progress import Reporter
from customir.settings import Settings
from customir.workspace import Unit, Workspace, complete, content_key

BATCH_TEXTS = 512


class Embed(Protocol):
    """Unit vectors of texts by an encoder, float32 (len(texts), dimensions)."""

    def __call__(
        self, encoder: Encoder, texts: Sequence[str], kind: Literal["query", "passage"], title: str
    ) -> np.ndarray:
        """Embed `texts`; progress is shown as `title`."""
        raise NotImplementedError


def stored_embeddings(workspace: Workspace, stage: str, reporter: Reporter) -> Embed:
    """A function that embeds texts for a stage and stores the vectors in the workspace."""

    def with_workspace(
        encoder: Encoder, texts: Sequence[str], kind: Literal["query", "passage"], title: str
    ) -> np.ndarray:
        return embed(workspace, stage, encoder, texts, kind, reporter, title)

    return with_workspace


def load_encoder(folder: Path, settings: Settings) -> Encoder:
    """The embedder in `folder`, on the device, with the window and the precision of the settings."""
    training = settings.training
    return Encoder.load(folder, settings.device, training.max_seq_length, training.precision)


def embed(
    workspace: Workspace,
    stage: str,
    encoder: Encoder,
    texts: Sequence[str],
    kind: Literal["query", "passage"],
    reporter: Reporter,
    title: str,
) -> np.ndarray:
    """Unit vectors of `texts` by `encoder`, float32 (len(texts), dimensions)."""
    units = [
        Unit(content_key("embedding", encoder.fingerprint, kind, text), text) for text in texts
    ]

    def compute(batch: Sequence[str]) -> list[bytes]:
        return [vector.tobytes() for vector in encoder.encode(batch, kind)]

    found = complete(workspace, stage, "embedding", units, compute, BATCH_TEXTS, reporter, title)
    vectors = [np.frombuffer(found[unit.key], dtype=np.float32) for unit in units]
    return np.stack(vectors) if vectors else np.empty((0, encoder.dimensions), np.float32)
