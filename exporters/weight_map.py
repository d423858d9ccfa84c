"""The weight map in an INT8 file's metadata, which tells our kernel the role of each tensor."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx
from customir.exporters.onnx_store import MAX_BYTES, save
from customir.kernels.int8_encoder import FORMAT, METADATA_KEY, MULTIPLE
from onnx import numpy_helper

from customir.encoder.folder import ModelFolder, read_model_folder

HEAD_MULTIPLE = 16
MODULE = "/0"  # prefix of the transformer's nodes in a graph of a sentence-transformers folder
QUANTIZED = "_quantized"  # suffix of quantised weights


@dataclass(frozen=True)
class Family:
    """The names of the parts in a family of encoders.

    Attributes:
        projections: The matrices of queries, keys and values in each layer.
        out: The matrix after the attention.
        after_attention: The module that contains the normalisation after the attention.
        first_position: Row of a text's first token in the table of position embeddings.
        types: Whether the family has token type embeddings, of which texts get the first.
        relative: Whether a bias for the distance of two tokens is added to their attention score.
    """

    projections: tuple[str, str, str]
    out: str
    after_attention: str
    first_position: int = 0
    types: bool = True
    relative: bool = False


BERT = Family(
    (
        "attention/self/query",
        "attention/self/key",
        "attention/self/value",
    ),
    "attention/output/dense",
    "attention/output",
)
ROBERTA = replace(BERT, first_position=2)  # after the position of padding
MPNET = Family(
    ("attention/attn/q", "attention/attn/k", "attention/attn/v"),
    "attention/attn/o",
    "attention",
    first_position=2,
    types=False,
    relative=True,
)
FAMILIES = {
    "bert": BERT,
    "roberta": ROBERTA,
    "xlm-roberta": ROBERTA,
    "camembert": ROBERTA,
    "mpnet": MPNET,
}


def write_weight_map(model: Path, graph: Path, max_bytes: int = MAX_BYTES) -> bool:
    """Write a weight map for `customir.kernels.int8_encoder` into `graph`, an INT8 file of `model`.

    The graph is not changed, except that its weights are stored as raw bytes.

    Returns:
        Whether the kernel can run the model. It can if the model is an encoder of `FAMILIES` with
        GELU and with mean or CLS pooling, and all of its matrices are INT8.
    """
    folder = read_model_folder(model)
    config, pooling = folder.config, _pooling(folder)
    if pooling is None or not _is_known(config):
        return False
    made = onnx.load(graph)
    weight_map = _weight_map(made.graph, config, pooling)
    if weight_map is None:
        return False
    for tensor in made.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor), tensor.name))
    onnx.helper.set_model_props(made, {METADATA_KEY: json.dumps(weight_map)})
    save(made, graph, max_bytes)
    return True


def _pooling(folder: ModelFolder) -> str | None:
    """mean or cls; None for another pooling, or if more than pooling and normalisation follows.

    Vectors are truncated by `Embedder`, after the kernel.
    """
    modes = folder.pooling.modes
    if folder.has_dense or modes not in (("mean",), ("cls",)):
        return None
    return modes[0]


def _is_known(config: Mapping[str, Any]) -> bool:
    width, inner = config.get("hidden_size", 1), config.get("intermediate_size", 1)
    return (
        config.get("model_type") in FAMILIES
        and config.get("hidden_act") == "gelu"
        and config.get("position_embedding_type", "absolute") == "absolute"
        and width % MULTIPLE == inner % MULTIPLE == 0
        and width % (HEAD_MULTIPLE * config["num_attention_heads"]) == 0
    )


def _weight_map(
    graph: onnx.GraphProto, config: Mapping[str, Any], pooling: str
) -> dict[str, Any] | None:
    family = FAMILIES[config["model_type"]]
    initializers = {tensor.name for tensor in graph.initializer}
    makers = {output: node for node in graph.node for output in node.output}
    nodes = {node.name: node for node in graph.node}

    def weight(name: str) -> str:
        """The initializer's name. Of equal ones the exporter keeps only one, under its own name."""
        if name in makers and makers[name].op_type == "Identity":
            name = makers[name].input[0]
        if name not in initializers:
            raise KeyError(name)
        return name

    def inputs(node: str) -> Sequence[str]:
        return nodes[f"{MODULE}/{node}"].input

    def table(place: str) -> list[str]:
        whole = weight(inputs(f"{place}/Gather")[0])
        ends = ("_scale", "_zero_point")
        return [whole, *(weight(whole.removesuffix(QUANTIZED) + end) for end in ends)]

    def norm(place: str) -> list[str]:
        _, scale, bias = inputs(f"{place}/LayerNorm/LayerNormalization")
        return [weight(scale), weight(bias)]

    def linear(*places: str) -> dict[str, Any]:
        weights = [weight(inputs(f"{place}/MatMul_quant")[1]) for place in places]
        left = inputs(f"{places[0]}/MatMul_quant")[0]
        scaled = makers[makers[left].input[0]]  # the node whose output is quantised
        divided = scaled.op_type == "Mul" and scaled.input[1].startswith("calibration_")
        return {
            "weights": weights,
            "scales": [weight(f"{name.removesuffix(QUANTIZED)}_scale") for name in weights],
            "bias": [weight(inputs(f"{place}/Add")[0]) for place in places],
            "input_scales": weight(scaled.input[1]) if divided else None,
        }

    try:
        return {
            "format": FORMAT,
            "heads": config["num_attention_heads"],
            "epsilon": config["layer_norm_eps"],
            "pooling": pooling,
            "first_position": family.first_position,
            "word_embeddings": table("embeddings/word_embeddings"),
            "position_embeddings": table("embeddings/position_embeddings"),
            "token_type_embeddings": table("embeddings/token_type_embeddings")
            if family.types
            else [],
            "relative_attention_bias": table("encoder/relative_attention_bias")
            if family.relative
            else [],
            "embedding_norm": norm("embeddings"),
            "layers": [
                {
                    "qkv": linear(*(f"{layer}/{one}" for one in family.projections)),
                    "attention_output": linear(f"{layer}/{family.out}"),
                    "attention_norm": norm(f"{layer}/{family.after_attention}"),
                    "intermediate": linear(f"{layer}/intermediate/dense"),
                    "output": linear(f"{layer}/output/dense"),
                    "output_norm": norm(f"{layer}/output"),
                }
                for layer in (f"encoder/layer.{n}" for n in range(config["num_hidden_layers"]))
            ],
        }
    except KeyError:  # a matrix that is not INT8, or nodes that these families do not have
        return None
