"""What does training the top half cost in quality? Recall@10 beside that of training all layers.

Trained on the own subjects of Enron mails for which annotators wrote no query, so that no mail that
is asked about was seen. Measured on the annotators' queries, whole adapter, without a gate.
Differences are paired, with a 95% bootstrap interval over queries; they say nothing of how much
another seed would change.

    python bench/top_layers.py --quick
    python bench/top_layers.py
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
from customir.exporters.merge import merge_adapter

from customir import models
from customir.encoder.torch_encoder import Encoder
from customir.evaluation.beir import BeirSet, clusters_of, read_beir
from customir.evaluation.metrics import by_query
from customir.evaluation.significance import paired_difference
from customir.progress import reporter_for_terminal
from customir.retrieval.dense import top_k
from customir.settings import TrainingSettings
from customir.training import Example, TrainingPassage, train

SET = "aeslc-enron"
METRIC = "Recall@10"
CONFIDENCE, RESAMPLES = 0.95, 10_000


def unasked(folder: Path, test: BeirSet, count: int) -> list[Example]:
    """Own subject and body of `count` mails that no query is about."""
    asked = {key for relevant in test.qrels.values() for key in relevant}
    lines = (folder / "corpus.jsonl").read_text(encoding="utf-8").splitlines()
    mails = [mail for mail in map(json.loads, lines) if mail["_id"] not in asked]
    pairs = [(mail["subject"], mail["_id"], mail["text"]) for mail in mails]
    return [
        Example(subject, TrainingPassage(key, text, "", ""))
        for subject, key, text in pairs
        if subject.strip() and text.strip()
    ][:count]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--quick", action="store_true", help="200 pairs, 500 queries, 800 mails")
    parser.add_argument("--pairs", type=int, default=1500, help="trained on, at most")
    parser.add_argument("--queries", type=int, default=4484, help="measured, at most")
    parser.add_argument(
        "--mails", type=int, default=6000, help="among which answers are looked for"
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    pairs, queries, mails = asked.pairs, asked.queries, asked.mails
    if asked.quick:
        pairs, queries, mails = 200, 500, 800
    test = read_beir(asked.data / SET)
    examples = unasked(asked.data / SET, test, pairs)
    keys = test.query_keys[:queries]
    answers = {key for query in keys for key in test.qrels[query]}
    # The answers first, then others up to `mails`.
    among = sorted(
        range(len(test.passages)), key=lambda number: test.passage_keys[number] not in answers
    )[: max(mails, len(answers))]
    passage_keys = [test.passage_keys[number] for number in among]
    passages = [test.passages[number] for number in among]
    clusters = clusters_of(test)[: len(keys)]
    base, reporter = models.locate("minilm"), reporter_for_terminal()

    def recall(folder: Path) -> np.ndarray:
        encoder = Encoder.load(folder, asked.device, TrainingSettings().max_seq_length)
        found = encoder.encode(passages, "passage", reporter)
        rows = top_k(encoder.encode(test.queries[: len(keys)], "query", reporter), found, 10)[0]
        return by_query(test.qrels, keys, passage_keys, rows)[METRIC]

    reached, seconds = {"base": recall(base)}, {}
    layers = json.loads((base / "config.json").read_text())["num_hidden_layers"]
    for name, top in (("all layers", 0), ("top half", layers // 2)):
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            start = time.perf_counter()
            result = train(
                base, examples, TrainingSettings(trainable_layers=top), asked.seed, asked.device,
                folder / "training", reporter,
            )  # fmt: skip
            seconds[name] = time.perf_counter() - start
            reached[name] = recall(merge_adapter(base, result.adapter, 1.0, folder / "merged"))
    for name, values in reached.items():
        print(f"{name:12} {METRIC} {values.mean():.4f}, trained in {seconds.get(name, 0):.0f} s")
    measured = f"{len(keys)} annotators' queries, {len(passages)} mails, {len(examples)} pairs"
    claims = []
    for name, other in (("all layers", "base"), ("top half", "base"), ("top half", "all layers")):
        apart = paired_difference(
            reached[name], reached[other], clusters, CONFIDENCE, RESAMPLES, asked.seed
        )
        print(f"{name} - {other}: {apart.mean:+.4f} ({apart.low:+.4f} to {apart.high:+.4f})")
        claims.append(
            {
                "claim": f"{METRIC} of {name}",
                "ours": round(float(reached[name].mean()), 4),
                "peer": other,
                "peer_figure": round(float(reached[other].mean()), 4),
                "ratio": round(float(reached[name].mean() / reached[other].mean()), 4),
                "measured": f"{measured}: {apart.low:+.4f} to {apart.high:+.4f}",
            }
        )
    print(json.dumps({"bench": "top_layers", "claims": claims}))


if __name__ == "__main__":
    main()
