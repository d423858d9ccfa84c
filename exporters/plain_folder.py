"""A model folder in the layout that all exporters and all sentence-transformers versions read."""

import json
import shutil
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from customir.encoder.folder import (
    CLASSES,
    MODULES_NAME,
    TOKENIZER_CONFIG_NAME,
    TOKENIZER_NAME,
    WEIGHTS_NAME,
    ModelFolder,
    read_json,
    read_modules,
    weight_files,
)
from customir.encoder.torch_encoder import load_tokenizer

# Files that were made from other weights, that are code, or that no user of the folder needs.
LEFT_OUT = (
    "onnx", "openvino", "*.bin", "*.h5", "*.ot", "*.msgpack", "*.onnx", "*.py", ".*",
    "customir.lock",
    "model.safetensors.index.json", "model-*-of-*.safetensors",
)  # fmt: skip


def write_plain_folder(folder: ModelFolder, transformer: nn.Module, out: Path) -> None:
    """Write a copy of `folder` to `out`, which must not exist yet.

    The transformer is at the top level, in one safetensors file under transformers' own names. Its
    tokenizer.json contains the tokenizer that sentence-transformers uses. modules.json uses class
    names that every version knows. tokenizer_config.json states the maximum length, since other
    libraries look only there. Weights that have this form already are copied byte by byte.

    Args:
        transformer: The folder's transformer, as returned by `load_transformer`.
    """
    left_out = shutil.ignore_patterns(*LEFT_OUT)
    shutil.copytree(folder.root, out, ignore=left_out)
    if folder.transformer != folder.root:
        shutil.copytree(folder.transformer, out, ignore=left_out, dirs_exist_ok=True)
        shutil.rmtree(out / folder.transformer.relative_to(folder.root))
    _write_weights(folder, transformer, out / WEIGHTS_NAME)
    _write_tokenizer(folder, out)
    modules = [
        entry
        | {"type": f"sentence_transformers.models.{CLASSES[entry['type']]}"}
        | ({"path": ""} if number == 0 else {})
        for number, entry in enumerate(read_modules(folder.root))
    ]
    (out / MODULES_NAME).write_text(json.dumps(modules, indent=2), encoding="utf-8")


def _write_weights(folder: ModelFolder, transformer: nn.Module, out: Path) -> None:
    """Write the transformer's weights in the type in which `folder` stores them."""
    wanted = transformer.state_dict()
    files = weight_files(folder)
    with safe_open(files[0], "pt") as stored:
        names = set(stored.keys())
        dtype = stored.get_tensor(min(names)).dtype
    if len(files) == 1 and set(wanted) <= names:
        if files[0].parent != out.parent and not out.exists():
            shutil.copyfile(files[0], out)
        return
    if dtype not in (torch.float16, torch.bfloat16, torch.float32):
        dtype = torch.float32
    weights = {
        name: weight.to(dtype if weight.is_floating_point() else weight.dtype).clone()
        for name, weight in wanted.items()
    }
    save_file(weights, out, metadata={"format": "pt"})


def _write_tokenizer(folder: ModelFolder, out: Path) -> None:
    """Write tokenizer.json if it is missing or differs from the tokenizer that transformers loads.

    tokenizer_config.json gets the model's maximum length.
    """
    tokenizer = load_tokenizer(folder).backend_tokenizer
    tokenizer.no_padding()
    tokenizer.no_truncation()
    used = json.loads(tokenizer.to_str())
    if read_json(out / TOKENIZER_NAME, {}) | {"padding": None, "truncation": None} != used:
        tokenizer.save(str(out / TOKENIZER_NAME))
    path = out / TOKENIZER_CONFIG_NAME
    about = read_json(path, {}) | {"model_max_length": folder.limits.max_tokens}
    path.write_text(json.dumps(about, indent=2), encoding="utf-8")
