"""One training step on a very large batch: how long it takes, and how much memory.

By default the texts are generated and short, so that a laptop gets through: apart from the token ids, memory
depends on the number of texts and on `mini_batch_num_tokens`, not on their length. With `--mail` they are
subjects and bodies of mail, repeated, each with a number in front. On a GPU, the figure is the peak of
PyTorch's allocator, next to the memory of the host. `--memory` imitates a smaller GPU: budgets are made for it,
and PyTorch refuses to take more.

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
from train import DATA_HELP, read_pairs

from customir import models
from customir.encoder.torch_encoder import Encoder
from customir.progress import reporter_for_terminal
from customir.settings import TrainingSettings
from customir.training import Example, TrainingPassage, train
from customir.training.memory_budget import gpu_budget


def short_texts(count: int) -> list[tuple[str, str]]:
    return [(f"{n % 256} {n // 256}", f"{n // 256} {n % 256}") for n in range(count)]


def mail_texts(data: Path, count: int) -> list[tuple[str, str]]:
    mails = read_pairs(data, count)
    repeated = (mails[n % len(mails)] for n in range(count))
    return [(f"{n} {subject}", f"{n} {body}") for n, (subject, body) in enumerate(repeated)]


def with_budget_of_smaller_gpu(settings: TrainingSettings, gigabytes: float) -> TrainingSettings:
    """Settings with the budgets of a GPU of that size; PyTorch refuses to take more."""
    encoder = Encoder.load(
        models.locate("minilm"),
        "cuda",
        settings.max_seq_length,
        settings.precision,
        master_weights=True,
    )
    mini_batch_num_tokens, cached_tokens = gpu_budget(int(gigabytes * 2**30), encoder)
    total = torch.cuda.get_device_properties(encoder.device).total_memory
    torch.cuda.set_per_process_memory_fraction(gigabytes * 2**30 / total)
    return settings.model_copy(
        update={"mini_batch_num_tokens": mini_batch_num_tokens, "cached_tokens": cached_tokens}
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("data"), help=DATA_HELP)
    parser.add_argument("--pairs", type=int, default=65536)
    parser.add_argument("--mail", action="store_true", help="texts of mail instead of short ones")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--memory", type=float, help="memory of the GPU in GB; default: all of it")
    parser.add_argument("--quick", action="store_true", help="2,048 pairs")
    options = parser.parse_args()
    if options.memory and options.device != "cuda":
        parser.error("--memory is for GPUs. Add --device cuda.")
    pairs = 2048 if options.quick else options.pairs
    texts = mail_texts(options.data, pairs) if options.mail else short_texts(pairs)
    examples = [
        Example(query, TrainingPassage(f"p{n}", passage, "", ""))
        for n, (query, passage) in enumerate(texts)
    ]
    settings = TrainingSettings(batch_size=pairs, epochs=1)
    if options.memory:
        settings = with_budget_of_smaller_gpu(settings, options.memory)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        result = train(
            models.locate("minilm"),
            examples,
            settings,
            seed=0,
            device=options.device,
            folder=Path(folder),
            reporter=reporter_for_terminal(),
        )
    seconds = time.perf_counter() - start
    host = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    peak, place = host, "the process"
    if options.device == "cuda":
        peak, place = torch.cuda.max_memory_allocated() / 2**30, torch.cuda.get_device_name()
    measured = (
        f"{pairs} pairs of {'mail' if options.mail else 'short texts'}, MiniLM, {result.steps} step "
        f"in {seconds:.0f} s including tokenization"
    )
    print(f"{measured}: peak {peak:.2f} GB of {place}, {host:.2f} GB of the host")
    claim = {
        "claim": f"peak memory of a step on {pairs} pairs, GB",
        "ours": round(peak, 2),
        "peer": "the limit",
        "peer_figure": 8,
        "ratio": round(peak / 8, 2),
        "measured": measured,
    }
    print(json.dumps({"bench": "large_batch", "claims": [claim]}))


if __name__ == "__main__":
    main()
