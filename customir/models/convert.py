"""Conversion of a transformers folder, which lacks only pooling, to sentence-transformers."""

import json
import shutil
from pathlib import Path

from customir.encoder.folder import (
    CONFIG_NAME,
    LIMITS_NAME,
    MODULES_NAME,
    PoolingMode,
    read_json,
    read_model_folder,
    refuse_code,
    weight_files,
)
from customir.errors import UserError
from customir.files import make_private_folder

LEFT_OUT = ("*.bin", "*.h5", "*.msgpack", "*.onnx", "*.pt", "*.py", ".*", "onnx", "openvino")
WIDTHS = ("hidden_size", "dim", "d_model", "n_embd")  # as families call it in config.json


def convert(folder: Path, out: Path, pooling: PoolingMode) -> Path:
    """Copy a transformers model to `out`, with the files that say how it is pooled.

    Args:
        folder: Holds config.json, safetensors weights and a tokenizer, and no modules.json.
        out: Created; it must not exist.

    Raises:
        UserError: `folder` is not such a model, or `out` exists.
    """
    if (folder / MODULES_NAME).exists():
        raise UserError(f"{folder}: it is a sentence-transformers folder already. Use it as it is.")
    config = read_json(folder / CONFIG_NAME)
    refuse_code(folder)
    width = next((config[name] for name in WIDTHS if name in config), None)
    if width is None:
        raise UserError(f"{folder / CONFIG_NAME}: no hidden_size. Choose another model.")
    if out.exists():
        raise UserError(f"{out}: it exists already. Choose a new folder.")
    unfinished = out.with_name(f".{out.name}.part")
    shutil.rmtree(unfinished, ignore_errors=True)
    make_private_folder(out.parent)
    shutil.copytree(folder, unfinished, ignore=shutil.ignore_patterns(*LEFT_OUT))
    modules = (("Transformer", ""), ("Pooling", "1_Pooling"), ("Normalize", "2_Normalize"))
    content = {
        MODULES_NAME: [
            {
                "idx": number,
                "name": str(number),
                "path": path,
                "type": f"sentence_transformers.models.{kind}",
            }
            for number, (kind, path) in enumerate(modules)
        ],
        f"1_Pooling/{CONFIG_NAME}": {"word_embedding_dimension": width, "pooling_mode": pooling},
    }
    for _, path in modules[1:]:
        make_private_folder(unfinished / path)
    for name, about in content.items():
        (unfinished / name).write_text(json.dumps(about, indent=2), encoding="utf-8")
    try:
        limit = read_model_folder(unfinished).limits.max_tokens
        weight_files(read_model_folder(unfinished))
    except UserError:
        shutil.rmtree(unfinished)
        raise
    (unfinished / LIMITS_NAME).write_text(json.dumps({"max_seq_length": limit}), encoding="utf-8")
    for written in (unfinished, *unfinished.rglob("*")):
        written.chmod(0o700 if written.is_dir() else 0o600)
    unfinished.rename(out)
    return out
