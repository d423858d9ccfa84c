"""One training step on a very large batch: how long it takes and how much memory.

The texts are made up and short (a few tokens each), so that a laptop gets through: memory depends
on the number of texts, and on `tokens_per_pass`, not on their length but for their token ids.

    python bench/large_batch.py --quick
    python bench/large_batch.py --pairs 65536
"""

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path

from customir import models
from customir.progress import reporter_for_terminal
from customir.settings import Training
from customir.training import Example, TrainingPassage, train


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=65536)
    parser.add_argument("--quick", action="store_true", help="2,048 pairs")
    asked = parser.parse_args()
    pairs = 2048 if asked.quick else asked.pairs
    examples = [
        Example(f"{n % 256} {n // 256}", TrainingPassage(f"p{n}", f"{n // 256} {n % 256}", "", ""))
        for n in range(pairs)
    ]
    settings = Training(batch=pairs, epochs=1)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        result = train(
            models.locate("minilm"), examples, settings, 0, "auto", Path(folder),
            reporter_for_terminal(),
        )  # fmt: skip
    seconds = time.perf_counter() - start
    gigabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{pairs} pairs, {result.steps} step: {seconds:.0f} s, peak {gigabytes:.2f} GB")
    claim = {
        "claim": f"peak memory of a step on {pairs} pairs, GB",
        "ours": round(gigabytes, 2),
        "peer": "the limit",
        "peer_figure": 8,
        "ratio": round(gigabytes / 8, 2),
        "measured": f"{pairs} pairs of short texts, MiniLM, one step in {seconds:.0f} s",
    }
    print(json.dumps({"bench": "large_batch", "claims": [claim]}))


if __name__ == "__main__":
    main()
