"""Export of the base as the passage encoder, if the adapted model embeds only queries."""

import json
import os
from pathlib import Path

from customir.exporters.int8 import INT8_NAME, quantize
from customir.exporters.merge import merge_adapter
from customir.exporters.onnx import FP32_NAME, ONNX_FOLDER, export_onnx
from customir.exporters.similarity import HeldOut

from customir.files import write_atomically
from customir.progress import Reporter
from customir.runtime.embedder import PASSAGES_NAME, fingerprint


def write_passage_model(
    base: Path, folder: Path, model: Path, held_out: HeldOut, reporter: Reporter | None = None
) -> Path:
    """Export `base` to `folder`, and state in `model`/passages.json that it embeds the passages.

    `model` must be exported already. Each of its ONNX files is used with the one of the same name
    in `folder`, whose fingerprint is stored in the index.

    Returns:
        `folder`.
    """
    merge_adapter(base, base, 0.0, folder)
    export_onnx(folder)
    quantize(folder, held_out, reporter)
    files = [f"{ONNX_FOLDER}/{name}" for name in (FP32_NAME, INT8_NAME)]
    about = {
        "model": os.path.relpath(folder, model),
        "fingerprints": {file: fingerprint(folder, file) for file in files},
    }
    write_atomically(model / PASSAGES_NAME, json.dumps(about, indent=1).encode())
    return folder
