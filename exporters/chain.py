"""The whole chain of a model folder measured: each file against the one that it was made from."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from customir.exporters.fp16 import FP16_NAME
from customir.exporters.gguf import GGUF_NAME, encode_gguf
from customir.exporters.int8 import INT8_NAME
from customir.exporters.merge import WEIGHTS_NAME
from customir.exporters.onnx import FP32_NAME, ONNX_FOLDER, load_encoder, quiet
from customir.exporters.parity import (
    LEAST_EXACT_COSINE,
    LEAST_HALF_COSINE,
    LEAST_MEAN_COSINE,
    HeldOut,
    Measured,
    Vectors,
    compare,
)

from customir.runtime.embedder import Embedder, read_recipe

FP32_FILE, INT8_FILE, FP16_FILE = (
    f"{ONNX_FOLDER}/{name}" for name in (FP32_NAME, INT8_NAME, FP16_NAME)
)
OPTIONAL = (FP16_FILE, GGUF_NAME)


@dataclass(frozen=True)
class _Encoded:
    passages: Vectors
    queries: Vectors

    @property
    def all(self) -> Vectors:
        return np.concatenate([self.passages, self.queries])


def measure_chain(model: Path, held_out: HeldOut) -> list[Measured]:
    """safetensors (in torch) -> ONNX fp32 -> ONNX INT8; fp16 and GGUF too, where they are there.

    Raises:
        UserError: a file is missing or damaged.
    """
    vectors = {WEIGHTS_NAME: _encode_in_torch(model, held_out)}
    steps: list[tuple[str, str | None, float]] = [(WEIGHTS_NAME, None, 0.0)]
    for file, before, least in (
        (FP32_FILE, WEIGHTS_NAME, LEAST_EXACT_COSINE),
        (INT8_FILE, FP32_FILE, LEAST_MEAN_COSINE),
        (FP16_FILE, FP32_FILE, LEAST_HALF_COSINE),
        (GGUF_NAME, WEIGHTS_NAME, LEAST_HALF_COSINE),
    ):
        if file in OPTIONAL and not (model / file).exists():
            continue
        encode = _encode_in_llama if file == GGUF_NAME else _encode
        vectors[file] = encode(model, file, held_out)
        steps.append((file, before, least))
    return [
        Measured(
            file,
            None if before is None else compare(vectors[before].all, vectors[file].all),
            held_out.measure(vectors[file].passages, vectors[file].queries),
            least,
            before,
        )
        for file, before, least in steps
    ]


def losses(chain: list[Measured], held_out: HeldOut) -> list[str]:
    """Each step that loses more than its limit, in words; none where all is well."""
    files = {step.file: step for step in chain}
    found = []
    for step in chain:
        loss = step.loss(files[step.before], held_out) if step.before else None
        if loss is not None:
            found.append(f"{step.before} -> {step.file}: {loss}")
    return found


def table(chain: list[Measured]) -> list[list[str]]:
    """The measurements as rows of text, with a header."""
    names = list(chain[0].metrics)
    rows = [["file", *names, "compared with", "mean cosine", "smallest"]]
    for step in chain:
        parity = step.parity
        cosines = [f"{parity.mean_cosine:.4f}", f"{parity.min_cosine:.4f}"] if parity else ["", ""]
        metrics = (f"{step.metrics[name]:.4f}" for name in names)
        rows.append([step.file, *metrics, step.before or "", *cosines])
    return rows


def _encode_in_torch(model: Path, held_out: HeldOut) -> _Encoded:
    with quiet():
        encoder = load_encoder(model)
        passages = encoder.encode_document(
            list(held_out.passages), normalize_embeddings=True, show_progress_bar=False
        )
        queries = encoder.encode_query(
            list(held_out.queries), normalize_embeddings=True, show_progress_bar=False
        )
    return _Encoded(passages, np.reshape(queries, (len(held_out.queries), passages.shape[1])))


def _encode(model: Path, file: str, held_out: HeldOut) -> _Encoded:
    embedder = Embedder(model, file)
    return _Encoded(embedder.encode(held_out.passages), embedder.encode(held_out.queries, "query"))


def _encode_in_llama(model: Path, file: str, held_out: HeldOut) -> _Encoded:
    prompts = read_recipe(model)["prompts"]
    passages = encode_gguf(model, [prompts["passage"] + text for text in held_out.passages])
    queries = encode_gguf(model, [prompts["query"] + text for text in held_out.queries])
    return _Encoded(passages, np.reshape(queries, (len(held_out.queries), passages.shape[1])))
