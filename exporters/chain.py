"""The whole chain of a model folder measured: each file against the one that it was made from."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from customir.exporters.int8 import INT8_NAME
from customir.exporters.merge import WEIGHTS_NAME
from customir.exporters.onnx import FP32_NAME, ONNX_FOLDER, load_encoder, quiet
from customir.exporters.parity import (
    LEAST_EXACT_COSINE,
    LEAST_MEAN_COSINE,
    HeldOut,
    Measured,
    Vectors,
    compare,
)

from customir.runtime.embedder import Embedder


def measure_chain(model: Path, held_out: HeldOut) -> list[Measured]:
    """safetensors (in torch) -> ONNX fp32 -> ONNX INT8, in that order.

    Raises:
        UserError: a file is missing or damaged.
    """
    measured: list[Measured] = []
    before: Vectors | None = None
    for file, passages, queries in _encoded(model, held_out):
        vectors = np.concatenate([passages, queries])
        parity = None if before is None else compare(before, vectors)
        least = LEAST_MEAN_COSINE if file.endswith(INT8_NAME) else LEAST_EXACT_COSINE
        measured.append(Measured(file, parity, held_out.measure(passages, queries), least))
        before = vectors
    return measured


def losses(chain: list[Measured], held_out: HeldOut) -> list[str]:
    """Each step that loses more than its limit, in words; none where all is well."""
    found = []
    for before, after in itertools.pairwise(chain):
        loss = after.loss(before, held_out)
        if loss is not None:
            found.append(f"{before.file} -> {after.file}: {loss}")
    return found


def table(chain: list[Measured]) -> list[list[str]]:
    """The measurements as rows of text, with a header."""
    names = list(chain[0].metrics)
    rows = [["file", *names, "cosine to the one before: mean", "smallest"]]
    for step in chain:
        parity = step.parity
        cosines = [f"{parity.mean_cosine:.4f}", f"{parity.min_cosine:.4f}"] if parity else ["", ""]
        rows.append([step.file, *(f"{step.metrics[name]:.4f}" for name in names), *cosines])
    return rows


def _encoded(model: Path, held_out: HeldOut) -> Iterator[tuple[str, Vectors, Vectors]]:
    with quiet():
        encoder = load_encoder(model)
        passages = encoder.encode_document(
            list(held_out.passages), normalize_embeddings=True, show_progress_bar=False
        )
        queries = encoder.encode_query(
            list(held_out.queries), normalize_embeddings=True, show_progress_bar=False
        )
    yield WEIGHTS_NAME, passages, np.reshape(queries, (len(held_out.queries), passages.shape[1]))
    del encoder
    for name in (FP32_NAME, INT8_NAME):
        embedder = Embedder(model, f"{ONNX_FOLDER}/{name}")
        yield (
            f"{ONNX_FOLDER}/{name}",
            embedder.encode(held_out.passages),
            embedder.encode(held_out.queries, "query"),
        )
