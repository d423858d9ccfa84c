"""One training step on a very large batch: how long it takes and how much memory.

By default the texts are made up and short (a few tokens each), so that a laptop gets through: memory
depends on the number of texts, and on `mini_batch_num_tokens`, not on their length but for their token
ids. With `--mail` they are subjects and bodies of Enron mail, over and over, each with a number of
its own in front.

On a GPU, memory is what torch's allocator took of it at most; beside it stands that of the host. With
`--memory` the GPU is taken for a smaller one: budgets are made for so much, and more is refused.

    python bench/large_batch.py --quick
    python bench/large_batch.py --pairs 65536
    python bench/large_batch.py --pairs 65536 --mail --device cuda --memory 8
"""

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path

import torch
from train import read_pairs

from customir import models
from customir.encoder.torch_encoder import Encoder
from customir.progress import reporter_for_terminal
from customir.settings import TrainingSettings
from customir.training import Example, TrainingPassage, train
from customir.training.memory_budget import gpu_budget


def made_up(count: int) -> list[tuple[str, str]]:
    return [(f"{n % 256} {n // 256}", f"{n // 256} {n % 256}") for n in range(count)]


def of_mail(data: Path, count: int) -> list[tuple[str, str]]:
    mails = read_pairs(data, count)
    repeated = (mails[n % len(mails)] for n in range(count))
    return [(f"{n} {subject}", f"{n} {body}") for n, (subject, body) in enumerate(repeated)]


def for_a_smaller_gpu(settings: TrainingSettings, gigabytes: float) -> TrainingSettings:
    """The settings with the budgets of such a GPU; torch refuses to take more of this one."""
    encoder = Encoder.load(
        models.locate("minilm"),
        "cuda",
        settings.max_seq_length,
        settings.precision,
        master_weights=True,
    )
    per_pass, kept = gpu_budget(int(gigabytes * 2**30), encoder)
    whole = torch.cuda.get_device_properties(encoder.device).total_memory
    torch.cuda.set_per_process_memory_fraction(gigabytes * 2**30 / whole)
    return settings.model_copy(update={"mini_batch_num_tokens": per_pass, "cached_tokens": kept})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--pairs", type=int, default=65536)
    parser.add_argument("--mail", action="store_true", help="real texts instead of short ones")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--memory", type=float, help="of the GPU, in GB; default: what it has")
    parser.add_argument("--quick", action="store_true", help="2,048 pairs")
    asked = parser.parse_args()
    if asked.memory and asked.device != "cuda":
        parser.error("--memory is a GPU's: give --device cuda, too")
    pairs = 2048 if asked.quick else asked.pairs
    texts = of_mail(asked.data, pairs) if asked.mail else made_up(pairs)
    examples = [
        Example(query, TrainingPassage(f"p{n}", passage, "", ""))
        for n, (query, passage) in enumerate(texts)
    ]
    settings = TrainingSettings(batch_size=pairs, epochs=1)
    if asked.memory:
        settings = for_a_smaller_gpu(settings, asked.memory)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        result = train(
            models.locate("minilm"),
            examples,
            settings,
            seed=0,
            device=asked.device,
            folder=Path(folder),
            reporter=reporter_for_terminal(),
        )
    seconds = time.perf_counter() - start
    host = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    peak, where = host, "the process"
    if asked.device == "cuda":
        peak, where = torch.cuda.max_memory_allocated() / 2**30, torch.cuda.get_device_name()
    about = (
        f"{pairs} pairs of {'mail' if asked.mail else 'short texts'}, MiniLM, {result.steps} step "
        f"in {seconds:.0f} s with tokenizing"
    )
    print(f"{about}: peak {peak:.2f} GB of {where}, {host:.2f} GB of the host")
    claim = {
        "claim": f"peak memory of a step on {pairs} pairs, GB",
        "ours": round(peak, 2),
        "peer": "the limit",
        "peer_figure": 8,
        "ratio": round(peak / 8, 2),
        "measured": about,
    }
    print(json.dumps({"bench": "large_batch", "claims": [claim]}))


if __name__ == "__main__":
    main()
