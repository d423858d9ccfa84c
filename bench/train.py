"""Pairs per second and peak memory of training: CustomIR beside sentence-transformers.

The peers are CachedMultipleNegativesRankingLoss and MultipleNegativesRankingLoss with the same model, LoRA by
peft, batch, window and optimizer, on subjects and bodies of mail (`--data`), whose lengths differ. Without mail,
texts of such lengths are generated. Each measurement is a process of its own that runs several steps, of which the
median counts; arms take turns, and the figures are medians over the rounds. Tokenization is not timed. Dropout is
off except in the arms "as shipped", where the peers have the model's own dropout. The plain peer's memory grows
with the batch, so it runs with up to 64 pairs.

"Of the limit" compares with the least work that any method needs for this gradient: one forward pass and the
gradient of the inputs, 2 * 2 * (weights of the linear layers) * tokens, at the speed that the machine reaches in a
product of that size. Gradient caching needs a second forward pass. With `--device cuda` memory is the peak of
PyTorch's allocator, and the warm-up step has full size because kernels are compiled for it.

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
from embed import generate
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
DATA_HELP = f"the folder that holds {MAIL}; without it, texts are generated"
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
LEAST_SECONDS = 5.0  # to time, and at least one step
PLAIN_FITS = 64  # pairs; 256 would take more than 20 GB


@dataclass(frozen=True)
class Measured:
    """Figures of one process, without set-up and one warm-up step; memory in MB.

    On a machine that is shared, compare pairs per second of processor time. `share_of_limit` is the
    least time for the products, divided by the time of a step.
    """

    pairs_per_second: float
    pairs_per_cpu_second: float
    peak_mb: float
    loaded_mb: float
    share_of_limit: float


def read_pairs(data: Path, count: int) -> list[tuple[str, str]]:
    """Subject and body of `count` mails, the same random ones each time; generated without mail."""
    path = data / MAIL
    if not path.exists():
        texts = generate(models.locate("minilm"), count)
        return [
            (f"{number} {' '.join(text.split()[:6])}", text) for number, text in enumerate(texts)
        ]
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
        queries_of_pairs = [numbers[subject] for subject, _ in pairs[:count]]
        passages = [queries + bodies[body] for _, body in pairs[:count]]
        places = sorted({*queries_of_pairs, *passages})
        position = {number: place for place, number in enumerate(places)}

        def loss_of(vectors: Tensor) -> Tensor:
            query_vectors = vectors[[position[number] for number in queries_of_pairs]]
            passage_vectors = vectors[[position[number] for number in passages]]
            return info_nce(
                query_vectors, passage_vectors, torch.arange(count, device=device), TEMPERATURE
            )

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
    """The same step by sentence-transformers, without the overhead of its trainer."""
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
    """The least work: forward and the inputs' gradient through all linear layers of MiniLM."""
    layers, width = 6, 384
    return 2 * 2 * layers * 12 * width**2 * tokens


def product_speed(precision: str, device: str) -> float:
    """Floating point operations per second in a product of a micro-batch's size."""
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    rows = 1024 if device == "cpu" else 32_768
    left = torch.randn(rows, 384, dtype=dtype, device=device)
    right = torch.randn(1536, 384, dtype=dtype, device=device)
    product(left, right)
    wait_for(device)
    times, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < 1.0:
        for _ in range(10):
            product(left, right)
        wait_for(device)
        times += 10
    return 2 * times * rows * 384 * 1536 / elapsed


def wait_for(device: str) -> None:
    """Wait until the GPU has finished its work."""
    if device == "cuda":
        torch.cuda.synchronize()


def peak_mb(device: str) -> float:
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(
    arm: str, data: Path, batch: int, precision: str, threads: int, device: str
) -> Measured:
    """Set up, warm up with one step, and measure the median of some steps; one process each."""
    torch.set_num_threads(threads)
    pairs = read_pairs(data, batch)
    if arm.startswith("ours"):
        step = our_step(pairs, precision, top=arm != "ours", device=device)
    else:
        step = peer_step(pairs, precision, arm, device)
    loaded = peak_mb(device)
    step(batch if device == "cuda" else min(8, batch))
    wait_for(device)
    times_of_steps, cpu_times = [], []
    while sum(times_of_steps) < LEAST_SECONDS:
        start_times = time.perf_counter(), time.process_time()
        step(batch)
        wait_for(device)
        times_of_steps.append(time.perf_counter() - start_times[0])
        cpu_times.append(time.process_time() - start_times[1])
    elapsed = statistics.median(times_of_steps)
    peak = peak_mb(device)
    encoder = Encoder.load(models.locate("minilm"), "cpu", WINDOW, "fp32")
    texts = {text for pair in pairs for text in pair}
    tokens = sum(map(len, encoder.tokenize(sorted(texts), "passage")))
    least_seconds = flops(tokens) / product_speed(precision, device)
    return Measured(
        batch / elapsed, batch / statistics.median(cpu_times), peak, loaded, least_seconds / elapsed
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("data"), help=DATA_HELP)
    parser.add_argument("--quick", action="store_true", help="one round of batch 32, no plain peer")
    parser.add_argument("--batches", type=int, nargs="+", default=[64])
    parser.add_argument("--precisions", nargs="+", default=["fp32", "bf16"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--arms", nargs="+", default=list(DEFAULT_ARMS), choices=ARMS)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    batches, rounds, arms = options.batches, options.rounds, options.arms
    if options.quick:
        batches, rounds, arms = [32], 1, ARMS[:3]
    claims = []
    if not (options.data / MAIL).exists():
        print(f"{options.data / MAIL} does not exist; texts are generated.", file=sys.stderr)
    context = multiprocessing.get_context("spawn")
    for batch in batches:
        for precision in options.precisions:
            arms_that_fit = [arm for arm in arms if batch <= PLAIN_FITS or "plain" not in arm]
            runs: dict[str, list[Measured]] = {arm: [] for arm in arms_that_fit}
            work = partial(
                measure,
                data=options.data,
                batch=batch,
                precision=precision,
                threads=options.threads,
                device=options.device,
            )
            for number in range(1, rounds + 1):
                for arm in arms_that_fit:
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
    """Print the medians of one batch size and precision; return their claims."""
    peer = runs.get("cached peer", [])
    claims = []
    for arm, measured in runs.items():
        speed = statistics.median(run.pairs_per_second for run in measured)
        memory = statistics.median(run.peak_mb for run in measured)
        of_limit = statistics.median(run.share_of_limit for run in measured)
        line = (
            f"batch {batch:5} {precision} {arm:24} {speed:7.2f} pairs/s {memory:6.0f} MB "
            f"{of_limit:5.2f} of the limit"
        )
        if peer and arm != "cached peer":
            ratio = statistics.median(
                ours.pairs_per_second / theirs.pairs_per_second
                for ours, theirs in zip(measured, peer, strict=True)
            )
            memory_ratio = memory / statistics.median(run.peak_mb for run in peer)
            by_processor = statistics.median(
                ours.pairs_per_cpu_second / theirs.pairs_per_cpu_second
                for ours, theirs in zip(measured, peer, strict=True)
            )
            line += (
                f"   {ratio:.2f} times the cached peer ({by_processor:.2f} by processor time), "
                f"{memory_ratio:.2f} of its memory"
            )
            claims.append(
                {
                    "claim": f"{arm}: pairs per second, batch {batch}, {precision}",
                    "ours": round(speed, 2),
                    "peer": "CachedMultipleNegativesRankingLoss + peft",
                    "peer_figure": round(
                        statistics.median(run.pairs_per_second for run in peer), 2
                    ),
                    "ratio": round(ratio, 2),
                    "ratio_by_processor_time": round(by_processor, 2),
                    "memory_ratio": round(memory_ratio, 2),
                    "measured": f"{batch} pairs of subject and body, {len(measured)} rounds",
                    "runs": [asdict(run) for run in measured],
                }
            )
        print(line, flush=True)
    return claims


if __name__ == "__main__":
    main()
