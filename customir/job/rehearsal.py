"""Whether a base can be adapted and exported, tried with two of its layers before any work."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from transformers import AutoModel

from customir.encoder.folder import WEIGHTS_NAME, read_model_folder
from customir.encoder.torch_encoder import Encoder, load_tokenizer, load_transformer
from customir.errors import UserError
from customir.exporters.merge import merge_adapter
from customir.exporters.onnx import FP32_FILE, export_onnx, quiet
from customir.exporters.parity import LEAST_EXACT_COSINE
from customir.exporters.plain_folder import write_plain_folder
from customir.runtime.embedder import Embedder
from customir.settings import TrainingSettings
from customir.training.adapter import attach, save

LAYERS = 2
TEXTS = ("The mill turns.", "Who has the key for the seminar room? It is locked again, says Ada.")


def rehearse(base: Path) -> None:
    """Load, adapt, merge, export and embed with `base`, cut to two layers of random weights.

    If a model family, a pooling or a tokenizer does not work, it fails here, within seconds.

    Raises:
        UserError: a step fails; the message says which and why.
    """
    folder = read_model_folder(base)
    load_tokenizer(folder)
    with tempfile.TemporaryDirectory(prefix="customir-") as scratch, quiet():
        small = Path(scratch) / "small"
        step = "loaded"
        try:
            transformer = load_transformer(folder)
            config = _cut(transformer.config)
            write_plain_folder(folder, transformer, small)
            del transformer
            torch.manual_seed(0)
            model: Any = AutoModel.from_config(config)  # type: ignore[no-untyped-call]
            if hasattr(model, "pooler"):
                model.pooler = None
            config.save_pretrained(small)
            save_file(model.state_dict(), small / WEIGHTS_NAME, metadata={"format": "pt"})
            encoder = Encoder.load(small, precision="fp32", master_weights=True)
            step = "adapted"
            adapter = save(attach(encoder, TrainingSettings(), 0), small, Path(scratch) / "adapter")
            expected = encoder.encode(TEXTS)
            step = "merged"
            merged = merge_adapter(small, adapter, 1.0, Path(scratch) / "merged")
            step = "exported"
            export_onnx(merged)
            found = Embedder(merged, FP32_FILE).encode(TEXTS)
        except UserError as error:
            raise UserError(f"{base}: cannot be {step}. {error}") from error
        except Exception as error:  # the exporters' libraries raise whatever they like
            raise UserError(
                f"{base}: cannot be {step} ({type(error).__name__}: "
                f"{str(error).partition(chr(10))[0][:300]}). Choose another model."
            ) from error
    cosine = float(np.min((found * expected).sum(1)))
    if not cosine > LEAST_EXACT_COSINE:
        raise UserError(
            f"{base}: its ONNX export gives other vectors (cosine {cosine:.4f}). "
            "Choose another model."
        )


def _cut(config: Any) -> Any:
    """The same configuration with two layers."""
    layers = config.num_hidden_layers
    for name, value in config.to_dict().items():
        if isinstance(value, list) and len(value) == layers:
            setattr(config, name, value[:LAYERS])
    config.num_hidden_layers = min(LAYERS, layers)
    return config
