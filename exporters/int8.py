"""An exported ONNX model to INT8, gentler where that loses too much."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from customir.exporters.onnx import FP32_NAME, ONNX_FOLDER, place, quiet, scratch_folder
from customir.exporters.parity import (
    LEAST_EXACT_COSINE,
    LEAST_MEAN_COSINE,
    HeldOut,
    Measured,
    Vectors,
    compare,
)
from onnx import TensorProto
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.transformers import optimizer
from onnxruntime.transformers.fusion_options import FusionOptions

from customir.errors import UserError
from customir.runtime.embedder import Embedder

INT8_NAME = "model_qint8.onnx"
GELU = ("BiasGelu", "Gelu", "FastGelu")


@dataclass(frozen=True)
class Setting:
    """What is quantised.

    Attributes:
        tables: The embedding tables.
        attention: Projections of the attention.
        feed_forward_in: The first matrix of each feed-forward block.
        feed_forward_out_from: The second, from this layer on (None: in none). Its input, GELU's
            output, has the widest range; that of the first layer most of all.
    """

    name: str
    tables: bool
    attention: bool
    feed_forward_in: bool
    feed_forward_out_from: int | None


# From the fastest to the gentlest. MiniLM on mail, mean cosine to fp32 and time: .9929 and 1; .996
# and 1.3; .998 and 1.6; .9996 and 1.9 (the two in the middle measured with 8-bit weights). With
# all in int8, .9906: the first layer's output alone costs .002, and 4% of the time to keep.
SETTINGS = (
    Setting("int8, first feed-forward output in fp32", True, True, True, 1),
    Setting("int8, feed-forward outputs in fp32", True, True, True, None),
    Setting("int8, feed-forward in fp32", True, True, False, None),
    Setting("embedding tables in int8, the rest in fp32", True, False, False, None),
    Setting("all in fp32", False, False, False, None),
)


@dataclass(frozen=True)
class Quantized:
    """The file written and the setting that was used.

    Attributes:
        measured: The file, with its parity to fp32.
        given_up: Each faster setting that was tried, and what it would have lost.
    """

    path: Path
    setting: str
    measured: Measured
    given_up: tuple[str, ...]


def quantize(model: Path, held_out: HeldOut) -> Quantized:
    """Write model/onnx/model_qint8.onnx from model/onnx/model.onnx, without calibration data.

    The graph is fused for its model type, weights become int8 with one scale a column, and
    activations are quantised as they come, with one scale a batch. Each of `SETTINGS` is tried
    in turn until the mean cosine to fp32 reaches 0.99 and Recall@10 falls by no more than
    `HeldOut.lost_recall_limit`. The last of them quantises nothing.

    Weights use 7 of their 8 bits: on CPUs without VNNI the sum of two full products overflows
    16 bits and is cut off in silence, and a model folder may be carried to such a server. On a
    CPU with VNNI the eighth bit would give MiniLM .0016 of mean cosine and no speed.

    Raises:
        UserError: there is no exported model, or not even its fused graph gives its vectors.
    """
    exported = model / ONNX_FOLDER / FP32_NAME
    if not exported.exists():
        raise UserError(f"{exported}: missing. Export the model first.")
    if not held_out.passages:
        raise UserError(f"{model}: no texts to measure its INT8 on.")
    passages, queries = _encode(Embedder(model, f"{ONNX_FOLDER}/{FP32_NAME}"), held_out)
    reference = np.concatenate([passages, queries])
    metrics = held_out.measure(passages, queries)
    fp32 = Measured(f"{ONNX_FOLDER}/{FP32_NAME}", None, metrics, LEAST_EXACT_COSINE)
    given_up: list[str] = []
    with scratch_folder(model / ".int8.part") as scratch, quiet():
        fused = _fuse(model, exported, scratch / "fused.onnx")
        candidate = scratch / INT8_NAME
        for setting in SETTINGS:
            _quantize(fused, setting, candidate)
            vectors = _encode(Embedder(model, str(candidate.relative_to(model))), held_out)
            measured = Measured(
                f"{ONNX_FOLDER}/{INT8_NAME}",
                compare(reference, np.concatenate(vectors)),
                held_out.measure(*vectors),
                LEAST_MEAN_COSINE,
            )
            loss = measured.loss(fp32, held_out)
            if loss is None:
                path = place(candidate, model / ONNX_FOLDER / INT8_NAME)
                return Quantized(path, setting.name, measured, tuple(given_up))
            given_up.append(f"{setting.name}: {loss}")
    raise UserError(
        f"{exported}: fused for model type bert it gives other vectors ({given_up[-1]}). "
        f"Use {FP32_NAME} itself."
    )


def _encode(embedder: Embedder, held_out: HeldOut) -> tuple[Vectors, Vectors]:
    return embedder.encode(held_out.passages), embedder.encode(held_out.queries, "query")


def _fuse(model: Path, exported: Path, fused: Path) -> Path:
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    options = FusionOptions("bert")
    options.enable_embed_layer_norm = False  # it hides the embedding tables from the quantiser
    optimizer.optimize_model(
        str(exported),
        model_type="bert",
        num_heads=config["num_attention_heads"],
        hidden_size=config["hidden_size"],
        optimization_options=options,
        opt_level=0,
    ).save_model_to_file(str(fused))
    return fused


def _quantize(fused: Path, setting: Setting, out: Path) -> None:
    if not setting.tables:
        shutil.copyfile(fused, out)
        return
    quantize_dynamic(
        fused,
        out,
        weight_type=QuantType.QInt8,
        per_channel=True,
        reduce_range=True,
        nodes_to_exclude=_kept_in_fp32(onnx.load(fused).graph, setting),
        # Fusion leaves tensors whose type shape inference cannot tell.
        extra_options={"DefaultTensorType": TensorProto.FLOAT},
    )


def _kept_in_fp32(graph: onnx.GraphProto, setting: Setting) -> list[str]:
    activated = {name for node in graph.node if node.op_type in GELU for name in node.output}
    before = {name for node in graph.node if node.op_type in GELU for name in node.input}
    kept: list[str] = []
    layer = -1
    for node in graph.node:
        if node.op_type not in ("MatMul", "Attention"):
            continue
        if node.input[0] in activated:
            layer += 1
            start = setting.feed_forward_out_from
            quantised = start is not None and layer >= start
        elif node.output[0] in before:
            quantised = setting.feed_forward_in
        else:
            quantised = setting.attention
        if not quantised:
            kept.append(node.name)
    return kept
