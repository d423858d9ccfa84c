"""Pairs a second and peak memory of our trainer, side by side with sentence-transformers.

The peers are CachedMultipleNegativesRankingLoss and MultipleNegativesRankingLoss with the same
model, LoRA by peft, batch, window and optimizer, on real mail whose texts differ in length: a
mail's own subject and its body. Every measurement is a process of its own (that makes its peak
memory its own) and of several steps, the median of which counts; arms take turns, and medians over
the rounds are shown. Tokenizing is in nobody's
time. Dropout is off for all but the arms "as shipped", where the peers have that of the model (ours
is shipped without). The plain peer's memory grows with the batch: it runs up to 64 pairs.

Last comes the limit: the least that any method multiplies for this gradient is one forward and the
gradient of the inputs, 2 * 2 * (weights of the linears) * tokens, at the speed that this machine
reaches in a product of the same size. With gradient caching there is a second forward.

With `--device cuda` peak memory is the GPU's, by torch's allocator, and the warm-up step has the
same size as the timed one, since kernels are compiled for it.

    python bench/train.py --quick
    python bench/train.py --batches 64 --rounds 3
    python bench/train.py --device cuda --batches 256 1024 --rounds 1 --arms ours "cached peer"
"""

import argparse
import json
import multiprocessing
import random
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from customir.kernels.infonce import info_nce
from customir.kernels.lora_linear import product
from peft import LoraConfig
from torch import Tensor

from customir import models
from customir.encoder.torch_encoder import Encoder
from customir.progress import Silent
from customir.settings import TrainingSettings
from customir.training import Example, TrainingPassage, adapter
from customir.training.gradient_cache import backward
from customir.training.memory_budget import activation_cache, with_budget
from customir.training.texts import FrozenLayers, Texts

MAIL = "aeslc-enron/corpus.jsonl"
WINDOW = 256
TEMPERATURE = 0.05
ARMS = (
    "ours",
    "ours, top half",
    "cached peer",
    "plain peer",
    "cached peer, 1,024 tokens",
    "cached peer, as shipped",
    "plain peer, as shipped",
)
DEFAULT_ARMS = ARMS[:5]
LEAST_SECONDS = 5.0  # are timed, one step at least
PLAIN_FITS = 64  # pairs; 256 would take more than 20 GB


@dataclass(frozen=True)
class Measured:
    """One process: pairs a second (set-up and one warm-up step left out) and peak memory in MB.

    On a machine that others use too, compare pairs a second of processor time. `share_of_limit` is the time that the least of products takes over the step's.
    """

    pairs_per_second: float
    pairs_per_cpu_second: float
    peak_mb: float
    loaded_mb: float
    share_of_limit: float


def read_pairs(data: Path, count: int) -> list[tuple[str, str]]:
    """Subject and body of `count` mails, drawn at random but always the same ones."""
    path = data / MAIL
    if not path.exists():
        sys.exit(f"{path}: no mail there. Give the folder that holds {MAIL} as --data.")
    mails = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    pairs = [(mail["subject"], mail["text"]) for mail in mails if mail["subject"].strip()]
    random.Random(0).shuffle(pairs)
    return pairs[:count]


def our_step(
    pairs: list[tuple[str, str]], precision: str, top: bool, device: str
) -> Callable[[int], None]:
    """A function that trains one step on the first pairs."""
    base = models.locate("minilm")
    encoder = Encoder.load(base, device, WINDOW, precision, master_weights=True)  # type: ignore[arg-type]
    settings = with_budget(TrainingSettings(trainable_layers=3 if top else 0), encoder)
    model = adapter.attach(encoder, settings, seed=0)
    examples = [
        Example(subject, TrainingPassage(str(number), body, "", ""))
        for number, (subject, body) in enumerate(pairs)
    ]
    if top:
        folder = Path(tempfile.mkdtemp())
        texts: Texts = FrozenLayers(encoder, examples, settings.trainable_layers, folder, Silent())
    else:
        texts = Texts(encoder, examples)
    weights = [value for value in model.parameters() if value.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=2e-4)
    queries = len({subject for subject, _ in pairs})
    numbers = {example: number for number, example in enumerate(dict.fromkeys(s for s, _ in pairs))}
    bodies = {body: number for number, body in enumerate(dict.fromkeys(b for _, b in pairs))}

    def step(count: int) -> None:
        asked = [numbers[subject] for subject, _ in pairs[:count]]
        found = [queries + bodies[body] for _, body in pairs[:count]]
        places = sorted({*asked, *found})
        position = {number: place for place, number in enumerate(places)}

        def loss_of(vectors: Tensor) -> Tensor:
            left = vectors[[position[number] for number in asked]]
            right = vectors[[position[number] for number in found]]
            return info_nce(left, right, torch.arange(count, device=device), TEMPERATURE)

        lengths = [len(texts.tokens[number]) for number in places]
        backward(
            lambda part: texts.embed([places[place] for place in part]),
            encoder.cut(lengths, settings.mini_batch_num_tokens),
            loss_of,
            0,
            encoder.device,
            *activation_cache(sum(lengths), settings, encoder.device),
        )
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return step


def peer_step(
    pairs: list[tuple[str, str]], precision: str, arm: str, device: str
) -> Callable[[int], None]:
    """The same by sentence-transformers, its trainer's own overhead left out."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer import losses

    model = SentenceTransformer(str(models.locate("minilm")), device=device)
    model.max_seq_length = WINDOW
    model.add_adapter(
        LoraConfig(
            r=TrainingSettings().lora_r,
            lora_alpha=TrainingSettings().lora_alpha,
            lora_dropout=0.0,
            target_modules=r".*encoder\.layer\..*(query|key|value|dense)",
        )
    )
    model.train(arm.endswith("as shipped"))
    loss: Any
    if arm.startswith("plain"):
        loss = losses.MultipleNegativesRankingLoss(model, scale=1 / TEMPERATURE)
    else:
        loss = losses.CachedMultipleNegativesRankingLoss(
            model,
            scale=1 / TEMPERATURE,
            mini_batch_num_tokens=1024 if arm.endswith("tokens") else None,
        )
    weights = [value for value in model.parameters() if value.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=2e-4)
    columns: dict[int, list[Any]] = {}

    def features(count: int) -> list[Any]:
        if count not in columns:
            texts = zip(*pairs[:count], strict=True)
            columns[count] = [model.preprocess(list(column)) for column in texts]
        return [
            {
                name: value.to(device) if isinstance(value, Tensor) else value
                for name, value in column.items()
            }
            for column in columns[count]
        ]

    def step(count: int) -> None:
        with torch.autocast(device, dtype=torch.bfloat16, enabled=precision == "bf16"):
            loss(features(count), torch.empty(0)).backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        optimizer.zero_grad()

    features(len(pairs))
    return step


def flops(tokens: int) -> float:
    """The least for the gradient: forward and the inputs' gradient through all linears of MiniLM."""
    layers, width = 6, 384
    return 2 * 2 * layers * 12 * width**2 * tokens


def product_speed(precision: str, device: str) -> float:
    """Floating point operations a second in a product of a micro-batch's size, by the kernels' `product`."""
    kind = torch.bfloat16 if precision == "bf16" else torch.float32
    rows = 1024 if device == "cpu" else 32_768
    left = torch.randn(rows, 384, dtype=kind, device=device)
    right = torch.randn(1536, 384, dtype=kind, device=device)
    product(left, right)
    wait_for(device)
    times, start = 0, time.perf_counter()
    while (took := time.perf_counter() - start) < 1.0:
        for _ in range(10):
            product(left, right)
        wait_for(device)
        times += 10
    return 2 * times * rows * 384 * 1536 / took


def wait_for(device: str) -> None:
    """Until the GPU has done what it was told."""
    if device == "cuda":
        torch.cuda.synchronize()


def peak_mb(device: str) -> float:
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(
    arm: str, data: Path, batch: int, precision: str, threads: int, device: str
) -> Measured:
    """Run in a process of its own: set up, one step to warm up, and the median of some steps."""
    torch.set_num_threads(threads)
    pairs = read_pairs(data, batch)
    if arm.startswith("ours"):
        step = our_step(pairs, precision, top=arm != "ours", device=device)
    else:
        step = peer_step(pairs, precision, arm, device)
    loaded = peak_mb(device)
    step(batch if device == "cuda" else min(8, batch))
    wait_for(device)
    clock, spent = [], []
    while sum(clock) < LEAST_SECONDS:
        begun = time.perf_counter(), time.process_time()
        step(batch)
        wait_for(device)
        clock.append(time.perf_counter() - begun[0])
        spent.append(time.process_time() - begun[1])
    took = statistics.median(clock)
    peak = peak_mb(device)
    encoder = Encoder.load(models.locate("minilm"), "cpu", WINDOW, "fp32")
    texts = {text for pair in pairs for text in pair}
    tokens = sum(map(len, encoder.tokenize(sorted(texts), "passage")))
    least = flops(tokens) / product_speed(precision, device)
    return Measured(batch / took, batch / statistics.median(spent), peak, loaded, least / took)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--quick", action="store_true", help="one round of batch 32, no plain peer")
    parser.add_argument("--batches", type=int, nargs="+", default=[64])
    parser.add_argument("--precisions", nargs="+", default=["fp32", "bf16"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--arms", nargs="+", default=list(DEFAULT_ARMS), choices=ARMS)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    asked = parser.parse_args()
    batches, rounds, arms = asked.batches, asked.rounds, asked.arms
    if asked.quick:
        batches, rounds, arms = [32], 1, ARMS[:3]
    claims = []
    # Where there is no mail, a process of the pool would end and never be heard of again.
    read_pairs(asked.data, 0)
    context = multiprocessing.get_context("spawn")
    for batch in batches:
        for precision in asked.precisions:
            fitting = [arm for arm in arms if batch <= PLAIN_FITS or "plain" not in arm]
            runs: dict[str, list[Measured]] = {arm: [] for arm in fitting}
            work = partial(
                measure,
                data=asked.data,
                batch=batch,
                precision=precision,
                threads=asked.threads,
                device=asked.device,
            )
            for number in range(1, rounds + 1):
                for arm in fitting:
                    with context.Pool(1) as pool:
                        runs[arm].append(pool.apply(work, (arm,)))
                    print(
                        f"batch {batch} {precision}, round {number} of {rounds}: {arm}, "
                        f"{runs[arm][-1].pairs_per_second:.2f} pairs/s",
                        file=sys.stderr,
                        flush=True,
                    )
            claims += report(batch, precision, runs)
    print(json.dumps({"bench": "train", "claims": claims}))


def report(batch: int, precision: str, runs: dict[str, list[Measured]]) -> list[dict[str, Any]]:
    """Print the medians of one setting; return what the last line holds of it."""
    peer = runs.get("cached peer", [])
    claims = []
    for arm, measured in runs.items():
        speed = statistics.median(run.pairs_per_second for run in measured)
        memory = statistics.median(run.peak_mb for run in measured)
        share = statistics.median(run.share_of_limit for run in measured)
        line = (
            f"batch {batch:5} {precision} {arm:24} {speed:7.2f} pairs/s {memory:6.0f} MB "
            f"{share:5.2f} of the limit"
        )
        if peer and arm != "cached peer":
            ratio = statistics.median(
                ours.pairs_per_second / theirs.pairs_per_second
                for ours, theirs in zip(measured, peer, strict=True)
            )
            part = memory / statistics.median(run.peak_mb for run in peer)
            by_processor = statistics.median(
                ours.pairs_per_cpu_second / theirs.pairs_per_cpu_second
                for ours, theirs in zip(measured, peer, strict=True)
            )
            line += (
                f"   {ratio:.2f} times the cached peer ({by_processor:.2f} by processor time), "
                f"{part:.2f} of its memory"
            )
            claims.append(
                {
                    "claim": f"{arm}: pairs a second, batch {batch}, {precision}",
                    "ours": round(speed, 2),
                    "peer": "CachedMultipleNegativesRankingLoss + peft",
                    "peer_figure": round(
                        statistics.median(run.pairs_per_second for run in peer), 2
                    ),
                    "ratio": round(ratio, 2),
                    "ratio_by_processor_time": round(by_processor, 2),
                    "memory_ratio": round(part, 2),
                    "measured": f"{batch} subject-body pairs of Enron mail, {len(measured)} rounds",
                    "runs": [asdict(run) for run in measured],
                }
            )
        print(line, flush=True)
    return claims


if __name__ == "__main__":
    main()
