"""Quantisation of an exported ONNX model to INT8, less of it if that loses too much quality."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
import onnxruntime
from customir.exporters.gptq import gptq_round
from customir.exporters.onnx import FP32_FILE, ONNX_FOLDER, quiet, scratch_folder
from customir.exporters.onnx_store import MAX_BYTES, place, save
from customir.exporters.similarity import (
    LEAST_EXACT_COSINE,
    LEAST_MEAN_COSINE,
    Encoded,
    HeldOut,
    Measured,
    Vectors,
    compare,
)
from customir.exporters.skip_mask import skip_mask_without_padding
from customir.exporters.weight_map import write_weight_map
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

from customir.errors import UserError
from customir.processors import usable_processors
from customir.progress import Reporter, Silent, Task
from customir.runtime.embedder import KERNEL, Backend, Embedder, data_file

INT8_NAME = "model_qint8.onnx"
INT8_FILE = f"{ONNX_FOLDER}/{INT8_NAME}"
# The same file, run by our kernel instead of ONNX Runtime, as `Embedder` does if it can.
INT8_BY_KERNEL = f"{INT8_FILE} by CustomIR's kernel"
CALIBRATING_PASSAGES = 64
TEXTS_PER_PRODUCT = 4  # more need more memory, fewer more time for adding up large matrices
LARGEST_WEIGHT = 64  # in 7 bits, as with onnxruntime's `reduce_range`
# A channel is an outlier if it is above this multiple of the median channel.
OUTLIER = 2.0

Part = Literal["attention", "feed-forward in", "feed-forward out"]

# A tensor is scaled only if some channel is this many times above that, because scaling takes time.
# It takes most between the two matrices of a feed-forward block, where tensors have four times as
# many channels.
WIDE: Mapping[Part, float] = {
    "attention": 1.5,
    "feed-forward in": 1.5,
    "feed-forward out": 3.0,
}


@dataclass(frozen=True)
class Setting:
    """The parts of a model that are quantised.

    Attributes:
        tables: Whether the embedding tables are quantised.
        parts: Which matrices are quantised: the attention's projections, the first and the second
            matrix of each feed-forward block.
    """

    name: str
    tables: bool
    parts: tuple[Part, ...]


# From the fastest to the most precise.
SETTINGS = (
    Setting(
        "int8, calibrated on passages of the corpus",
        True,
        ("attention", "feed-forward in", "feed-forward out"),
    ),
    Setting(
        "int8, calibrated, feed-forward outputs in fp32", True, ("attention", "feed-forward in")
    ),
    Setting("int8, calibrated, feed-forward in fp32", True, ("attention",)),
    Setting("embedding tables in int8, the rest in fp32", True, ()),
    Setting("all in fp32", False, ()),
)


@dataclass(frozen=True)
class Seen:
    """Statistics, over passages of the corpus, of the tensor that a weight matrix multiplies.

    Attributes:
        largest: The largest absolute value of each channel, float32 (channels,).
        moments: The sum over tokens of x^T x, float32 (channels, channels).
    """

    largest: Vectors
    moments: Vectors

    def and_also(self, other: "Seen") -> "Seen":
        """The statistics over the passages of both."""
        return Seen(np.maximum(self.largest, other.largest), self.moments + other.moments)


@dataclass(frozen=True)
class Quantized:
    """The file that was written and the setting that was used.

    Attributes:
        measured: The measurement of the file, with its parity to fp32.
        given_up: Each faster setting that was tried, and what it would have lost.
        encoded: The vectors of the held-out texts by the fp32 file and by this one, run by ONNX
            Runtime and, if possible, by our kernel; keys as in `Measured.file`.
    """

    path: Path
    setting: str
    measured: Measured
    given_up: tuple[str, ...]
    encoded: Mapping[str, Encoded]


def quantize(
    model: Path,
    held_out: HeldOut,
    reporter: Reporter | None = None,
    max_bytes: int = MAX_BYTES,
) -> Quantized:
    """Write model/onnx/model_qint8.onnx from model/onnx/model.onnx.

    Weights become int8 with one scale per column. They are rounded so that the results for passages
    of the corpus change least. Activations are quantised dynamically, with one scale per batch, or,
    by our kernel, with one per token. Each of `SETTINGS` is tried in turn, until with ONNX Runtime
    and with our kernel the mean cosine to fp32 is at least 0.99 and Recall@10 falls by no more
    than `HeldOut.lost_recall_limit`. The last setting quantises nothing.

    Few nodes are fused, because the attention and normalisation nodes of onnxruntime.transformers'
    optimizer are slower than those that they replace (bench/embed.py measures it).

    Weights use 7 of their 8 bits. On CPUs without VNNI, the sum of two products of 8 bits overflows
    16 bits and is silently saturated, and a model folder may be copied to such a server. On a CPU
    with VNNI, the eighth bit would improve an adapted MiniLM's mean cosine by 0.0009, and would not
    make it faster.

    Args:
        max_bytes: With more bytes of weights than this, they are written to a file of their own.

    Raises:
        UserError: there is no exported model, or there are no texts to measure it on.
    """
    exported = model / FP32_FILE
    if not exported.exists():
        raise UserError(f"{exported}: missing. Export the model first.")
    if not held_out.passages:
        raise UserError(f"{model}: no texts to measure its INT8 on.")
    say = reporter or Silent()
    exact = _encode(model, FP32_FILE, held_out, say)
    fp32 = Measured(FP32_FILE, None, held_out.measure(exact), LEAST_EXACT_COSINE)
    given_up: list[str] = []
    with scratch_folder(model / ".int8.part") as scratch, quiet():
        plain = _part_sums(exported, scratch / "plain.onnx", max_bytes)
        seen = _seen(plain, _tokens(model, held_out), say, max_bytes)
        candidate = scratch / INT8_NAME
        for setting in SETTINGS:
            calibrated, moments = _calibrate(
                plain, seen, setting, scratch / "calibrated.onnx", max_bytes
            )
            _quantize(calibrated, setting, candidate, max_bytes)
            _round(calibrated, moments, candidate, say, max_bytes)
            skip_mask_without_padding(candidate, max_bytes)
            write_weight_map(model, candidate, max_bytes)
            made = _encode_both(model, candidate, held_out, say)
            measured = [
                Measured(
                    file, compare(exact.all, one.all), held_out.measure(one), LEAST_MEAN_COSINE
                )
                for file, one in made.items()
            ]
            loss = next(filter(None, (one.loss(fp32, held_out) for one in measured)), None)
            if loss is None:
                path = place(candidate, model / INT8_FILE)
                encoded = {FP32_FILE: exact} | made
                return Quantized(path, setting.name, measured[0], tuple(given_up), encoded)
            given_up.append(f"{setting.name}: {loss}")
    raise UserError(f"{exported}: gives other vectors when it is asked again ({given_up[-1]}).")


def encode_onnx(
    model: Path, file: str, held_out: HeldOut, task: Task, backend: Backend = "onnxruntime"
) -> Encoded:
    """Embed the held-out texts by an ONNX file; the path `file` is relative to the model folder."""
    embedder = Embedder(model, file, backend=backend)
    return Encoded(
        embedder.encode(held_out.passages, task=task),
        embedder.encode(held_out.queries, "query", task),
    )


def runs_by_kernel(model: Path, file: str) -> bool:
    """Whether our kernel can run this file on this machine."""
    return Embedder(model, file).provider == KERNEL


def _encode_both(
    model: Path, candidate: Path, held_out: HeldOut, reporter: Reporter
) -> dict[str, Encoded]:
    """Embed the held-out texts by ONNX Runtime and, if possible, by our kernel."""
    file = str(candidate.relative_to(model))
    made = {INT8_FILE: _encode(model, file, held_out, reporter)}
    if runs_by_kernel(model, file):
        made[INT8_BY_KERNEL] = _encode(model, file, held_out, reporter, "auto")
    return made


def _encode(
    model: Path,
    file: str,
    held_out: HeldOut,
    reporter: Reporter,
    backend: Backend = "onnxruntime",
) -> Encoded:
    total = len(held_out.passages) + len(held_out.queries)
    by = " and our kernel" if backend == "auto" else ""
    with reporter.task(f"embedding by {Path(file).name}{by}", total, "texts") as task:
        return encode_onnx(model, file, held_out, task, backend)


def _part_sums(exported: Path, out: Path, max_bytes: int = MAX_BYTES) -> Path:
    """Write a copy of `exported` in which Sum replaces the Add before each normalisation.

    ONNX Runtime would fuse Add and LayerNormalization into one node when it loads the file, and
    that node takes four times as long as the two.
    """
    graph = onnx.load(exported)
    normalised = {
        node.input[0] for node in graph.graph.node if node.op_type == "LayerNormalization"
    }
    for node in graph.graph.node:
        if node.op_type == "Add" and node.output[0] in normalised:
            node.op_type = "Sum"
    return save(graph, out, max_bytes)


def _calibrate(
    exported: Path,
    seen: Mapping[str, Seen],
    setting: Setting,
    out: Path,
    max_bytes: int = MAX_BYTES,
) -> tuple[Path, Mapping[str, Vectors]]:
    """Write a copy of `exported` in which outlier channels are scaled down before quantisation.

    One scale per batch has to span the widest channel. Therefore channels whose largest value on
    passages of the corpus exceeds `OUTLIER` times the median channel's are divided by the excess,
    and their rows of the matrix are multiplied by it, so that the product stays the same. This
    follows Xiao et al., "SmoothQuant" (arXiv 2211.10438), which scales every channel; here, only
    the outliers are scaled, because only they need it.

    Returns:
        `out`, and the moments of its tensors that will be quantised, by their names in that file.
    """
    graph = onnx.load(exported)
    weights = {tensor.name: tensor for tensor in graph.graph.initializer}
    moments = {}
    for number, (name, nodes) in enumerate(_products(graph.graph).items()):
        part = _part(graph.graph, nodes[0])
        if part not in setting.parts:
            continue
        usual = OUTLIER * np.median(seen[name].largest)
        scale = np.maximum(1, seen[name].largest / usual).astype(np.float32)
        if scale.max() < WIDE[part]:
            moments[name] = seen[name].moments
            continue
        divisor, divided = f"calibration_{number}", f"calibrated_{number}"
        graph.graph.initializer.append(numpy_helper.from_array(1 / scale, divisor))
        first = min(list(graph.graph.node).index(node) for node in nodes)
        graph.graph.node.insert(
            first, helper.make_node("Mul", [name, divisor], [divided], name=divided)
        )
        for node in nodes:
            weight = weights[node.input[1]]
            rows = numpy_helper.to_array(weight) * scale[:, None]
            weight.CopyFrom(numpy_helper.from_array(rows, weight.name))
            node.input[0] = divided
        moments[divided] = seen[name].moments / np.outer(scale, scale)
    return save(graph, out, max_bytes), moments


def _tokens(model: Path, held_out: HeldOut) -> list[list[int]]:
    embedder = Embedder(model, FP32_FILE)
    return embedder.tokenize(held_out.passages[:CALIBRATING_PASSAGES])


def _seen(
    exported: Path,
    texts: Sequence[Sequence[int]],
    reporter: Reporter,
    max_bytes: int = MAX_BYTES,
) -> dict[str, Seen]:
    """The statistics of each tensor that a weight matrix multiplies, by its name.

    A graph that gives these tensors as well is written beside `exported`.
    """
    graph = onnx.load(exported)
    names = list(_products(graph.graph))
    if not names:  # a static embedder
        return {}
    for name in names:
        graph.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # one core per text, so that no core waits for another
    session = onnxruntime.InferenceSession(
        save(graph, exported.with_name("watched.onnx"), max_bytes),
        options,
        providers=["CPUExecutionProvider"],
    )
    del graph

    def look(part: Sequence[Sequence[int]]) -> list[Seen]:
        values = []
        for text in part:
            ids = np.array([text], dtype=np.int64)
            values.append(
                session.run(names, {"input_ids": ids, "attention_mask": np.ones_like(ids)})
            )
        tokens = [
            np.concatenate([value.reshape(-1, value.shape[-1]) for value in of_name])
            for of_name in zip(*values, strict=True)
        ]
        return [Seen(np.abs(each).max(axis=0), each.T @ each) for each in tokens]

    seen: dict[str, Seen] = {}
    parts = [
        texts[start : start + TEXTS_PER_PRODUCT]
        for start in range(0, len(texts), TEXTS_PER_PRODUCT)
    ]
    with (
        reporter.task("looking at what its weights multiply", len(texts), "passages") as task,
        ThreadPoolExecutor(usable_processors()) as pool,
    ):
        for part, of_part in zip(parts, pool.map(look, parts), strict=True):
            for name, one in zip(names, of_part, strict=True):
                before = seen.get(name)
                seen[name] = before.and_also(one) if before else one
            task.advance(len(part))
    return seen


def _quantize(graph: Path, setting: Setting, out: Path, max_bytes: int = MAX_BYTES) -> None:
    data_file(out).unlink(missing_ok=True)
    if not setting.tables:
        save(onnx.load(graph), out, max_bytes)
        return
    kept = onnx.load(graph).graph
    quantize_dynamic(
        graph,
        out,
        weight_type=QuantType.QInt8,
        per_channel=True,
        reduce_range=True,
        nodes_to_exclude=[
            node.name
            for nodes in _products(kept).values()
            for node in nodes
            if _part(kept, node) not in setting.parts
        ],
        # Shape inference cannot determine the type of some tensors.
        extra_options={"DefaultTensorType": TensorProto.FLOAT},
        use_external_data_format=data_file(graph).exists(),
    )


def _round(
    graph: Path,
    moments: Mapping[str, Vectors],
    quantized: Path,
    reporter: Reporter,
    max_bytes: int = MAX_BYTES,
) -> None:
    """Round the weights in `quantized` again by GPTQ, from those in `graph` and its moments."""
    floats = onnx.load(graph).graph
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in floats.initializer}
    products = {name: nodes for name, nodes in _products(floats).items() if name in moments}
    made = onnx.load(quantized)
    tensors = {tensor.name: tensor for tensor in made.graph.initializer}

    def rounded(name: str) -> None:
        names = [node.input[1] for node in products[name]]
        scales = [numpy_helper.to_array(tensors[f"{each}_scale"]) for each in names]
        whole = gptq_round(
            np.concatenate([weights[each] for each in names], axis=1),
            np.concatenate(scales),
            moments[name],
            LARGEST_WEIGHT,
        )
        ends = np.cumsum([len(scale) for scale in scales])[:-1]
        for each, part in zip(names, np.split(whole, ends, axis=1), strict=True):
            tensors[f"{each}_quantized"].CopyFrom(
                numpy_helper.from_array(part, f"{each}_quantized")
            )

    with (
        reporter.task("rounding weights", len(products), "inputs") as task,
        ThreadPoolExecutor(usable_processors()) as pool,
    ):
        for _ in pool.map(rounded, products):
            task.advance()
    save(made, quantized, max_bytes)


def _products(graph: onnx.GraphProto) -> dict[str, list[onnx.NodeProto]]:
    """The MatMul nodes with a weight matrix, by the name of the other input."""
    weights = {tensor.name for tensor in graph.initializer}
    products: dict[str, list[onnx.NodeProto]] = defaultdict(list)
    for node in graph.node:
        if node.op_type == "MatMul" and node.input[1] in weights:
            products[node.input[0]].append(node)
    return products


def _part(graph: onnx.GraphProto, node: onnx.NodeProto) -> Part:
    """The part that a matrix belongs to, by its shape.

    Attention matrices are square; feed-forward blocks widen, then narrow.
    """
    rows, columns = next(t.dims for t in graph.initializer if t.name == node.input[1])
    if rows == columns:
        return "attention"
    return "feed-forward in" if rows < columns else "feed-forward out"
