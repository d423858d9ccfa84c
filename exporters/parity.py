"""Parity of a model folder's files: each one measured against the one that it was made from."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from customir.exporters.fp16 import FP16_NAME
from customir.exporters.gguf import GGUF_NAME, encode_gguf
from customir.exporters.int8 import INT8_BY_KERNEL, INT8_FILE, encode_onnx, runs_by_kernel
from customir.exporters.onnx import FP32_FILE, ONNX_FOLDER, load_encoder, quiet
from customir.exporters.similarity import (
    LEAST_EXACT_COSINE,
    LEAST_HALF_COSINE,
    LEAST_MEAN_COSINE,
    Encoded,
    HeldOut,
    Measured,
    Vectors,
    compare,
)

from customir.encoder.folder import WEIGHTS_NAME, read_model_folder
from customir.progress import Reporter, Silent, Task

FP16_FILE = f"{ONNX_FOLDER}/{FP16_NAME}"
OPTIONAL = (FP16_FILE, GGUF_NAME)
TEXTS_AT_ONCE = 256  # in torch, between two updates of the progress bar


def measure_parity(
    model: Path,
    held_out: HeldOut,
    reporter: Reporter | None = None,
    known: Mapping[str, Encoded] | None = None,
) -> list[Measured]:
    """Measure safetensors (in torch) -> ONNX fp32 -> ONNX INT8; fp16 and GGUF too, if they exist.

    The INT8 file is run by ONNX Runtime and, if this machine and the file allow it, by our kernel.

    Args:
        known: Vectors of these texts, by file, that need not be computed again.

    Raises:
        UserError: a file is missing or damaged.
    """
    chain: tuple[tuple[str, str | None, float], ...] = (
        (WEIGHTS_NAME, None, 0.0),
        (FP32_FILE, WEIGHTS_NAME, LEAST_EXACT_COSINE),
        (INT8_FILE, FP32_FILE, LEAST_MEAN_COSINE),
        (INT8_BY_KERNEL, FP32_FILE, LEAST_MEAN_COSINE),
        (FP16_FILE, FP32_FILE, LEAST_HALF_COSINE),
        (GGUF_NAME, WEIGHTS_NAME, LEAST_HALF_COSINE),
    )
    absent = {file for file in OPTIONAL if not (model / file).exists()}
    if not runs_by_kernel(model, INT8_FILE):
        absent.add(INT8_BY_KERNEL)
    steps = [step for step in chain if step[0] not in absent]
    vectors = dict(known or {})
    missing = [file for file, *_ in steps if file not in vectors]
    total = len(missing) * (len(held_out.passages) + len(held_out.queries))
    with (reporter or Silent()).task("embedding by each file", total, "texts") as task:
        for file in missing:
            vectors[file] = _encode(model, file, held_out, task)
    return [
        Measured(
            file,
            None if before is None else compare(vectors[before].all, vectors[file].all),
            held_out.measure(vectors[file]),
            least,
            before,
        )
        for file, before, least in steps
    ]


def losses(chain: list[Measured], held_out: HeldOut) -> list[str]:
    """A description of each step that loses more than its limit; empty if there is none."""
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


def _encode(model: Path, file: str, held_out: HeldOut, task: Task) -> Encoded:
    if file == WEIGHTS_NAME:
        return _encode_in_torch(model, held_out, task)
    if file == GGUF_NAME:
        return _encode_in_llama(model, held_out, task)
    if file == INT8_BY_KERNEL:
        return encode_onnx(model, INT8_FILE, held_out, task, "auto")
    return encode_onnx(model, file, held_out, task)


def _encode_in_torch(model: Path, held_out: HeldOut, task: Task) -> Encoded:
    with quiet():
        encoder = load_encoder(model)

        def encode(texts: Sequence[str], embed: Callable[..., Vectors]) -> Vectors:
            rows: dict[int, Vectors] = {}
            # Sorted by length, as the encoder sorts each call's texts, so that no padding is added.
            order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
            for start in range(0, len(texts), TEXTS_AT_ONCE):
                part = order[start : start + TEXTS_AT_ONCE]
                vectors = embed(
                    [texts[place] for place in part],
                    normalize_embeddings=True,
                    show_progress_bar=False,
                )
                rows.update(zip(part, vectors, strict=True))
                task.advance(len(part))
            return np.array([rows[place] for place in range(len(texts))], np.float32)

        passages = encode(held_out.passages, encoder.encode_document)
        queries = encode(held_out.queries, encoder.encode_query)
    return Encoded(passages, np.reshape(queries, (len(held_out.queries), passages.shape[1])))


def _encode_in_llama(model: Path, held_out: HeldOut, task: Task) -> Encoded:
    prompts = read_model_folder(model).prompts
    passages = encode_gguf(model, [prompts.passage + text for text in held_out.passages], task)
    queries = encode_gguf(model, [prompts.query + text for text in held_out.queries], task)
    return Encoded(passages, np.reshape(queries, (len(held_out.queries), passages.shape[1])))
