"""Embedding speed and memory on a CPU: CustomIR beside sentence-transformers, fastembed and OpenVINO.

Each contender embeds the same texts of mixed length in a process of its own; they take turns, and figures
are medians of the rounds. Cosines compare the vectors with those of sentence-transformers in PyTorch,
fp32. The texts are mail (`--data`), your own (`--jsonl FILE`, the "text" of each line; `--maildir FOLDER`,
one mail per file), or are generated with the lengths of mail; cosines then say little. Our INT8 file
is run by each of our kernels that the processor supports, and by ONNX Runtime. fastembed and OpenVINO are
measured if they are installed. OpenVINO's INT8 model is calibrated by NNCF on some of the texts and gets
our tokens in our batches.

With `--judged FOLDER ...` (BEIR's layout) nothing is timed. It prints Recall@10 and nDCG@10 of our files,
and of OpenVINO's INT8, on all queries of each set, calibrated on passages of that set.

    python bench/embed.py --threads 2
    python bench/embed.py --judged data/aeslc-enron
    python bench/embed.py --quick
"""

import argparse
import json
import math
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from email import message_from_bytes, policy
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from customir.kernels.int8_encoder import KERNELS, has_kernel
from tokenizers import Tokenizer  # type: ignore[import-untyped]

import customir  # noqa: F401 (ONNX Runtime's telemetry is off before a peer imports it)

# OpenVINO and NNCF report to Google Analytics as they are imported, except in CI.
os.environ |= {"CI": "true", "NNCF_CI": "1"}

TORCH = "sentence-transformers torch fp32"
ONNX = "sentence-transformers ONNX fp32"
ONNX_INT8 = "sentence-transformers ONNX qint8_avx512_vnni"
FASTEMBED = "fastembed ONNX fp32"
OPENVINO_INT8 = "OpenVINO int8, calibrated"
OURS_FP32 = "CustomIR ONNX fp32"
OURS_FUSED = "CustomIR ONNX int8, fused by onnxruntime"
OURS_BY_RUNTIME = "CustomIR ONNX int8, run by ONNX Runtime"
OURS = "CustomIR ONNX int8"
OURS_MIXED = "CustomIR ONNX int8, queries run by ONNX Runtime"
NEEDS = {FASTEMBED: ("fastembed",), OPENVINO_INT8: ("openvino", "nncf")}
# The kernels that this processor can run besides the fastest one.
SLOWER_KERNELS = {
    f"{OURS}, forced to {kernel}": kernel
    for kernel in [name for name in KERNELS if has_kernel(name)][1:]
}
CONTENDERS = tuple(
    name
    for name in (
        TORCH, ONNX, ONNX_INT8, FASTEMBED, OPENVINO_INT8,
        OURS_FP32, OURS_FUSED, OURS_BY_RUNTIME, *SLOWER_KERNELS, OURS,
    )
    if all(find_spec(module) for module in NEEDS.get(name, ()))
)  # fmt: skip
PEER_INT8_FILE = "onnx/model_qint8_avx512_vnni.onnx"
OPENVINO_FILE = "openvino/model_int8.xml"
OUR_FILES = {
    OURS_FP32: "onnx/model.onnx",
    OURS_FUSED: "onnx/fused_qint8.onnx",
    OURS_BY_RUNTIME: "onnx/model_qint8.onnx",
    **dict.fromkeys((*SLOWER_KERNELS, OURS), "onnx/model_qint8.onnx"),
}
MAIL = "aeslc-enron/corpus.jsonl"


def load(contender: str, model: Path, threads: int) -> Any:
    """The encode function of `contender`; imports only what it needs."""
    if contender in OUR_FILES:
        from customir.runtime.embedder import Backend, Embedder
        from customir.runtime.int8_file import KERNEL_VARIABLE

        os.environ[KERNEL_VARIABLE] = SLOWER_KERNELS.get(contender, "")
        backend: Backend = "auto" if contender in (OURS, *SLOWER_KERNELS) else "onnxruntime"
        return Embedder(model, OUR_FILES[contender], threads, backend=backend).encode
    if contender == FASTEMBED:
        return load_fastembed(model, threads)
    if contender == OPENVINO_INT8:
        return load_openvino(model, threads)
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(threads)
    if contender == TORCH:
        return SentenceTransformer(str(model), device="cpu").encode
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    file = "onnx/model.onnx" if contender == ONNX else PEER_INT8_FILE
    return SentenceTransformer(
        str(model),
        device="cpu",
        backend="onnx",
        model_kwargs={
            "file_name": file,
            "provider": "CPUExecutionProvider",
            "session_options": options,
        },
    ).encode


def load_fastembed(model: Path, threads: int) -> Any:
    from fastembed import TextEmbedding
    from fastembed.common.model_description import ModelSource, PoolingType

    width = json.loads((model / "config.json").read_text())["hidden_size"]
    TextEmbedding.add_custom_model(
        "bench/model", PoolingType.MEAN, True, ModelSource(hf="bench/model"), width
    )
    embedder = TextEmbedding("bench/model", threads=threads, specific_model_path=str(model))
    return lambda texts: np.array(list(embedder.embed(texts)))


def load_openvino(model: Path, threads: int) -> Any:
    import openvino

    from customir.encoder.folder import Kind, read_model_folder
    from customir.runtime.embedder import Embedder, batches_by_length

    tokenize = Embedder(model, threads=1).tokenize
    compiled = openvino.Core().compile_model(
        model / OPENVINO_FILE, "CPU", {"INFERENCE_NUM_THREADS": threads}
    )

    prompts = read_model_folder(model).prompts

    def encode(texts: Sequence[str], kind: Kind = "passage") -> np.ndarray:
        tokens = tokenize([prompts.of(kind) + text for text in texts])
        vectors: list[Any] = [None] * len(tokens)
        for members in batches_by_length([len(ids) for ids in tokens], 1024):
            batch = compiled(padded([tokens[row] for row in members]))["sentence_embedding"]
            for row, vector in zip(members, batch, strict=True):
                vectors[row] = vector.copy()
        return np.array(vectors)

    return encode


def padded(tokens: list[list[int]]) -> dict[str, np.ndarray]:
    ids = np.zeros((len(tokens), max(map(len, tokens))), dtype=np.int64)
    mask = np.zeros_like(ids)
    for row, text in enumerate(tokens):
        ids[row, : len(text)] = text
        mask[row, : len(text)] = 1
    return {"input_ids": ids, "attention_mask": mask}


def quantize_fused(model: Path) -> None:
    """INT8 of the graph that onnxruntime.transformers' optimizer fuses, without calibration."""
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.transformers import optimizer
    from onnxruntime.transformers.fusion_options import FusionOptions

    config = json.loads((model / "config.json").read_text())
    options = FusionOptions("bert")
    options.enable_embed_layer_norm = False  # it hides the embedding tables from the quantiser
    fused = optimizer.optimize_model(
        str(model / "onnx/model.onnx"),
        model_type="bert",
        num_heads=config["num_attention_heads"],
        hidden_size=config["hidden_size"],
        optimization_options=options,
        opt_level=0,
    )
    fused.save_model_to_file(str(model / "fused.onnx"))
    quantize_dynamic(
        model / "fused.onnx",
        model / OUR_FILES[OURS_FUSED],
        weight_type=QuantType.QInt8,
        per_channel=True,
        reduce_range=True,
        extra_options={"DefaultTensorType": 1},  # float
    )


def quantize_openvino(model: Path, texts: list[str]) -> None:
    import nncf
    import openvino

    from customir.runtime.embedder import Embedder

    tokens = Embedder(model, threads=1).tokenize(texts)
    quantized = nncf.quantize(
        openvino.Core().read_model(model / "onnx/model.onnx"),
        nncf.Dataset([padded([ids]) for ids in tokens]),
        model_type=nncf.ModelType.TRANSFORMER,
        subset_size=len(tokens),
    )
    openvino.save_model(quantized, model / OPENVINO_FILE)


def run_one(contender: str, model: Path, texts: list[str], threads: int, out: Path) -> None:
    """Time one contender in this process; print the figures as JSON and save its vectors."""
    start = time.perf_counter()
    encode = load(contender, model, threads)
    encode(["warm"])
    started = time.perf_counter()
    vectors = encode(texts)
    seconds = time.perf_counter() - started
    np.save(out, vectors, allow_pickle=False)
    figures = {"seconds": seconds, "start": started - start, "memory_mb": peak_memory()}
    print(json.dumps(figures))


def peak_memory() -> float:
    """Peak memory of this process in MB; getrusage would include its parent's, from before the exec."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def export(base: Path, folder: Path, texts: list[str]) -> Path:
    """A model folder with our ONNX files, INT8 calibrated on some of the texts."""
    from customir.exporters.int8 import quantize
    from customir.exporters.merge import merge_adapter
    from customir.exporters.onnx import export_onnx
    from customir.exporters.similarity import HeldOut

    model = merge_adapter(base, Path(), 0.0, folder / "model")
    export_onnx(model)
    quantized = quantize(model, HeldOut(texts[:200]))
    print(f"ours: {quantized.setting}", file=sys.stderr)
    quantize_fused(model)
    return model


def prepare(base: Path, folder: Path, texts: list[str]) -> Path:
    """A model folder with our ONNX files and the peers' INT8 ones."""
    from sentence_transformers import SentenceTransformer, export_dynamic_quantized_onnx_model

    model = export(base, folder, texts)
    peer = SentenceTransformer(
        str(model),
        device="cpu",
        backend="onnx",
        model_kwargs={"file_name": "onnx/model.onnx", "provider": "CPUExecutionProvider"},
    )
    export_dynamic_quantized_onnx_model(peer, "avx512_vnni", str(model))
    if OPENVINO_INT8 in CONTENDERS:
        quantize_openvino(model, texts[:64])
    return model


def measure(model: Path, texts: list[str], threads: int, rounds: int) -> dict[str, dict[str, Any]]:
    """Medians of each contender's rounds, and its cosines to the first contender."""
    results: dict[str, list[dict[str, float]]] = {contender: [] for contender in CONTENDERS}
    scratch = model.parent
    (scratch / "texts.json").write_text(json.dumps(texts))
    for number in range(rounds):
        for contender in CONTENDERS:
            vectors = scratch / f"{CONTENDERS.index(contender)}.npy"
            done = subprocess.run(
                [
                    *(sys.executable, __file__, "--threads", str(threads), "--contender"),
                    *(contender, str(model), str(scratch / "texts.json"), str(vectors)),
                ],
                env=os.environ | {"OMP_NUM_THREADS": str(threads)},
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            )
            result = json.loads(done.stdout.splitlines()[-1])
            print(f"round {number + 1}: {contender}: {result['seconds']:.1f} s", file=sys.stderr)
            results[contender].append(result)
    medians: dict[str, dict[str, Any]] = {
        contender: {name: statistics.median(one[name] for one in runs) for name in runs[0]}
        for contender, runs in results.items()
    }
    reference = np.load(scratch / "0.npy", allow_pickle=False)
    for position, contender in enumerate(CONTENDERS):
        cosines = (reference * np.load(scratch / f"{position}.npy", allow_pickle=False)).sum(axis=1)
        medians[contender] |= {
            "mean_cosine": float(cosines.mean()),
            "min_cosine": float(cosines.min()),
        }
    return medians


def judge(base: Path, sets: list[Path], threads: int) -> list[dict[str, Any]]:
    """Print Recall@10 and nDCG@10 of our files on each judged set; return a claim for each."""
    from customir.evaluation.beir import read_beir
    from customir.evaluation.metrics import by_query
    from customir.evaluation.systems import rank_by_vectors

    print(f"{'':20}{'':50} Recall@10   nDCG@10   points of difference to fp32 (95%)")
    claims = []
    for folder in sets:
        test = read_beir(folder)
        by_contender: dict[str, dict[str, np.ndarray]] = {}
        with tempfile.TemporaryDirectory() as scratch:
            model = export(base, Path(scratch), list(test.passages))
            encoders = {name: load(name, model, threads) for name in OUR_FILES}
            encoders[OURS_MIXED] = mixed(encoders[OURS_BY_RUNTIME], encoders[OURS])
            if OPENVINO_INT8 in CONTENDERS:
                quantize_openvino(model, list(test.passages[:64]))
                encoders[OPENVINO_INT8] = load_openvino(model, threads)
            for name, encode in encoders.items():
                rows = rank_by_vectors(encode(test.queries, "query"), encode(test.passages))
                by_contender[name] = by_query(test.qrels, test.query_keys, test.passage_keys, rows)
                means, differences = [], []
                for metric in ("Recall@10", "nDCG@10"):
                    difference = by_contender[name][metric] - by_contender[OURS_FP32][metric]
                    half = 1.96 * difference.std(ddof=1) / math.sqrt(len(difference))
                    means.append(f"{by_contender[name][metric].mean():9.4f}")
                    differences.append(f"{100 * difference.mean():+.2f} (+-{100 * half:.2f})")
                print(
                    f"{test.name:20}{name:50} {' '.join(means)}   {'  '.join(differences)}",
                    flush=True,
                )
        recall = {name: float(by_contender[name]["Recall@10"].mean()) for name in (OURS, OURS_FP32)}
        claims.append(
            {
                "claim": f"Recall@10 of INT8, {test.name}",
                "ours": round(recall[OURS], 4),
                "peer": OURS_FP32,
                "peer_figure": round(recall[OURS_FP32], 4),
                "ratio": round(recall[OURS] / recall[OURS_FP32], 4),
                "measured_on": f"{len(test.queries)} queries, {len(test.passages)} passages",
            }
        )
    return claims


def mixed(for_queries: Any, for_passages: Any) -> Any:
    """An encode function that uses one contender for queries and another one for passages."""

    def encode(texts: Sequence[str], kind: str = "passage") -> np.ndarray:
        return (for_queries if kind == "query" else for_passages)(texts, kind)

    return encode


def read_jsonl(path: Path) -> list[str]:
    with path.open(encoding="utf-8") as file:
        return [json.loads(line)["text"] for line in file]


def read_maildir(folder: Path) -> list[str]:
    texts = []
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            body = message_from_bytes(path.read_bytes(), policy=policy.default).get_body(("plain",))
            if body is not None:
                texts.append(body.get_content())
    return texts


def generate(model: Path, number: int) -> list[str]:
    """Texts of English words by Zipf's law, with the lengths of mail."""
    chance = random.Random(0)
    vocabulary = Tokenizer.from_file(str(model / "tokenizer.json")).get_vocab()
    words = sorted(word for word in vocabulary if word.isascii() and word.isalpha())
    chance.shuffle(words)
    weights = [1 / rank for rank in range(1, len(words) + 1)]
    lengths = [max(1, round(chance.lognormvariate(math.log(60), 1.2))) for _ in range(number)]
    return [" ".join(chance.choices(words, weights, k=min(length, 2000))) for length in lengths]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="300 texts, 2 rounds")
    parser.add_argument(
        "--model", help="a name, or a sentence-transformers folder", default="minilm"
    )
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument(
        "--data", type=Path, default=Path("data"), help="the folder that holds " + MAIL
    )
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--jsonl", type=Path, help="one JSON object per line, with a text")
    source.add_argument("--maildir", type=Path, help="a folder with one mail per file")
    source.add_argument("--judged", type=Path, nargs="+", metavar="FOLDER", help="judged sets")
    parser.add_argument("--contender", nargs=4, help=argparse.SUPPRESS)  # a run of this script
    arguments = parser.parse_args()
    if arguments.contender:
        contender, model, texts_path, vectors = arguments.contender
        texts = json.loads(Path(texts_path).read_text())
        run_one(contender, Path(model), texts, arguments.threads, Path(vectors))
        return

    from customir import models

    base = models.locate(arguments.model)
    if arguments.judged:
        if arguments.quick:
            parser.error("--judged measures whole sets. Leave --quick out.")
        claims = judge(base, arguments.judged, arguments.threads)
        print(json.dumps({"bench": "embed", "claims": claims}))
        return
    number, rounds = (300, 2) if arguments.quick else (1500, 3)
    mail = arguments.data / MAIL
    if arguments.jsonl or (mail.exists() and not arguments.maildir):
        texts = read_jsonl(arguments.jsonl or mail)
        # A sample over all mailboxes, in their order.
        texts = texts[:: max(1, len(texts) // number)][:number]
        what = "texts" if arguments.jsonl else f"mails of {MAIL}"
    elif arguments.maildir:
        texts, what = read_maildir(arguments.maildir)[:number], "mails"
    else:
        texts, what = generate(base, number), "generated texts"
    tokenizer = Tokenizer.from_file(str(base / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(256)
    tokens = sum(len(encoding) for encoding in tokenizer.encode_batch(texts))
    with tempfile.TemporaryDirectory() as folder:
        results = measure(prepare(base, Path(folder), texts), texts, arguments.threads, rounds)
    print(f"{'':46}   docs/s  tokens/s  cosine mean / min  start s  memory MB")
    for contender, result in results.items():
        print(
            f"{contender:46} {len(texts) / result['seconds']:8.1f} {tokens / result['seconds']:9.0f}"
            f"    {result['mean_cosine']:.4f} / {result['min_cosine']:.4f} "
            f"{result['start']:8.2f} {result['memory_mb']:10.0f}"
        )
    measured = (
        f"{len(texts)} {what}, {tokens} tokens, {arguments.threads} threads, median of {rounds}"
    )
    ours = len(texts) / results[OURS]["seconds"]
    claims = [
        {
            "claim": "embedding, documents per second",
            "ours": round(ours, 1),
            "peer": peer,
            "peer_figure": round(len(texts) / results[peer]["seconds"], 1),
            "ratio": round(results[peer]["seconds"] / results[OURS]["seconds"], 2),
            "our_cosine": round(results[OURS]["mean_cosine"], 4),
            "peer_cosine": round(results[peer]["mean_cosine"], 4),
            "measured_on": measured,
        }
        for peer in CONTENDERS
        if peer not in OUR_FILES
    ]
    print(json.dumps({"bench": "embed", "claims": claims}))


if __name__ == "__main__":
    main()
