"""Export of a static embedder, a table of token vectors, to the layout and the ONNX graph of others."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from customir.exporters.card import CARD_NAME
from customir.exporters.onnx import FP32_FILE, FP32_NAME, record_tokenizer, scratch_folder
from customir.exporters.onnx_store import place, save
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file, save_file

from customir.encoder.folder import (
    MODULES_NAME,
    PROMPTS_NAME,
    TOKENIZER_NAME,
    WEIGHTS_NAME,
    ModelFolder,
    read_json,
    read_model_folder,
    weight_files,
)
from customir.errors import UserError
from customir.files import make_private_folder

OPSET = 17
WEIGHT = "embedding.weight"  # as sentence-transformers calls it; model2vec: embeddings
LEAST_NORM = 1e-12


def export_static(base: Path, out: Path) -> Path:
    """Write the static embedder in `base` to `out`, with out/onnx/model.onnx in float32.

    The tokenizer in `out` adds no special tokens, because the vector of a text is the mean of its
    own tokens' vectors. The graph has the inputs and outputs of `export_onnx`'s.

    Args:
        out: The folder to create or replace.

    Raises:
        UserError: the folder is not a static embedder, or its table does not fit its tokenizer.
    """
    folder = read_model_folder(base)
    table = _table(folder)
    shutil.rmtree(out, ignore_errors=True)
    make_private_folder(out)
    tokenizer = read_json(folder.transformer / TOKENIZER_NAME) | {"post_processor": None}
    contents = {
        TOKENIZER_NAME: tokenizer,
        MODULES_NAME: [
            {
                "idx": number,
                "name": str(number),
                "path": path,
                "type": f"sentence_transformers.models.{kind}",
            }
            for number, (kind, path) in enumerate(
                [("StaticEmbedding", ""), *((each.kind, each.path.name) for each in folder.head)]
            )
        ],
    }
    for name, content in contents.items():
        (out / name).write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    for name in (PROMPTS_NAME, CARD_NAME):
        if (base / name).is_file():
            shutil.copyfile(base / name, out / name)
    for module in folder.head:
        make_private_folder(out / module.path.name)
    save_file({WEIGHT: table}, out / WEIGHTS_NAME, {"format": "pt"})
    for path in out.rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)
    with scratch_folder(out / ".onnx.part") as scratch:
        graph = save(_graph(table, folder.truncate_dim), scratch / FP32_NAME)
        made = place(graph, out / FP32_FILE)
    record_tokenizer(out)
    return made


def _table(folder: ModelFolder) -> npt.NDArray[np.float32]:
    """The vector of each token, shape (tokens, dimensions)."""
    (path,) = weight_files(folder)
    weights = load_file(path)
    if unknown := sorted(set(weights) & {"mapping", "weights"}):
        raise UserError(
            f"{path}: the tokens share vectors ({unknown[0]}), which is not supported. Save the "
            "model without quantizing its vocabulary."
        )
    table = weights.get(WEIGHT, weights.get("embeddings"))
    if table is None or table.ndim != 2:
        raise UserError(f"{path}: no table of token vectors in it. Copy the model folder again.")
    last = max(_token_ids(folder), default=0)
    if last >= len(table):
        raise UserError(
            f"{path}: it has {len(table)} vectors, but the tokenizer's largest token is {last}. "
            "Copy the model folder again."
        )
    if (kept := folder.truncate_dim) is not None and not 1 <= kept <= table.shape[1]:
        raise UserError(
            f"{folder.root}: truncate_dim is {kept}, and the vectors have {table.shape[1]} "
            "dimensions. Correct the setting truncate_dim."
        )
    return np.ascontiguousarray(table, dtype=np.float32)


def _token_ids(folder: ModelFolder) -> list[int]:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder.transformer / TOKENIZER_NAME))
    return list(tokenizer.get_vocab().values())


def _graph(table: npt.NDArray[np.float32], truncate_dim: int | None) -> onnx.ModelProto:
    """Mean of the tokens' vectors, cut to `truncate_dim`, scaled to length 1."""
    width = table.shape[1]
    kept = truncate_dim or width
    constants: dict[str, npt.NDArray[Any]] = {
        "table": table,
        "last": np.array([-1], np.int64),
        "tokens": np.array([1], np.int64),
        "one": np.array(1, np.float32),
        "start": np.array([0], np.int64),
        "end": np.array([kept], np.int64),
        "least_norm": np.array(LEAST_NORM, np.float32),
    }
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["last_hidden_state"], name="table"),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["mask_of_vectors"]),
        helper.make_node("Mul", ["last_hidden_state", "mask_of_vectors"], ["masked"]),
        helper.make_node("ReduceSum", ["masked", "tokens"], ["sum"], keepdims=0),
        helper.make_node("ReduceSum", ["mask", "tokens"], ["counted"], keepdims=1),
        helper.make_node("Max", ["counted", "one"], ["count"]),
        helper.make_node("Div", ["sum", "count"], ["mean"]),
        helper.make_node("Slice", ["mean", "start", "end", "last"], ["cut"]),
        helper.make_node("ReduceL2", ["cut"], ["length"], axes=[-1], keepdims=1),
        helper.make_node("Max", ["length", "least_norm"], ["norm"]),
        helper.make_node("Div", ["cut", "norm"], ["sentence_embedding"]),
    ]
    shape: list[str | int] = ["batch_size", "sequence_length"]
    graph = helper.make_graph(
        nodes,
        "static",
        [
            helper.make_tensor_value_info(name, TensorProto.INT64, shape)
            for name in ("input_ids", "attention_mask")
        ],
        [
            helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, [*shape, width]),
            helper.make_tensor_value_info(
                "sentence_embedding", TensorProto.FLOAT, ["batch_size", kept]
            ),
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
