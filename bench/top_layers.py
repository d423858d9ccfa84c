"""What does training only the top half of the layers cost in quality? Recall@10 beside training all layers.

Trains on the subjects of Enron mails for which annotators wrote no query, so no mail that a query is about was
seen. Measures the adapted model on the annotators' queries, without a gate. Differences are paired, with a 95%
bootstrap interval over queries; they do not show the variation between seeds.

    python bench/top_layers.py
    python bench/top_layers.py --quick
"""

import argparse
import json
import sys
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


def pairs_without_queries(folder: Path, test: BeirSet, count: int) -> list[Example]:
    """Subject and body of `count` mails that no query is about."""
    judged = {key for relevant in test.qrels.values() for key in relevant}
    lines = (folder / "corpus.jsonl").read_text(encoding="utf-8").splitlines()
    mails = [mail for mail in map(json.loads, lines) if mail["_id"] not in judged]
    pairs = [(mail["subject"], mail["_id"], mail["text"]) for mail in mails]
    return [
        Example(subject, TrainingPassage(key, text, "", ""))
        for subject, key, text in pairs
        if subject.strip() and text.strip()
    ][:count]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("data"), help=f"the folder with {SET}")
    parser.add_argument("--quick", action="store_true", help="200 pairs, 500 queries, 800 mails")
    parser.add_argument("--pairs", type=int, default=1500, help="pairs to train on, at most")
    parser.add_argument("--queries", type=int, default=4484, help="queries to measure, at most")
    parser.add_argument(
        "--mails", type=int, default=6000, help="mails to search, including all answers"
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    pairs, queries, mails = options.pairs, options.queries, options.mails
    if options.quick:
        pairs, queries, mails = 200, 500, 800
    if not (options.data / SET).is_dir():
        print(f"Skipped: {options.data} has no {SET}.", file=sys.stderr)
        print(json.dumps({"bench": "top_layers", "claims": []}))
        return
    test = read_beir(options.data / SET)
    examples = pairs_without_queries(options.data / SET, test, pairs)
    keys = test.query_keys[:queries]
    answers = {key for query in keys for key in test.qrels[query]}
    # The answers first, then others up to `mails`.
    rows = sorted(
        range(len(test.passages)), key=lambda number: test.passage_keys[number] not in answers
    )[: max(mails, len(answers))]
    passage_keys = [test.passage_keys[number] for number in rows]
    passages = [test.passages[number] for number in rows]
    clusters = clusters_of(test)[: len(keys)]
    base, reporter = models.locate("minilm"), reporter_for_terminal()

    def recall(folder: Path) -> np.ndarray:
        encoder = Encoder.load(folder, options.device, TrainingSettings().max_seq_length)
        vectors = encoder.encode(passages, "passage", reporter)
        ranked = top_k(encoder.encode(test.queries[: len(keys)], "query", reporter), vectors, 10)[0]
        return by_query(test.qrels, keys, passage_keys, ranked)[METRIC]

    values_by_model, seconds = {"base": recall(base)}, {}
    layers = json.loads((base / "config.json").read_text())["num_hidden_layers"]
    for name, trainable_layers in (("all layers", 0), ("top half", layers // 2)):
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            start = time.perf_counter()
            result = train(
                base, examples, TrainingSettings(trainable_layers=trainable_layers), options.seed, options.device,
                folder / "training", reporter,
            )  # fmt: skip
            seconds[name] = time.perf_counter() - start
            values_by_model[name] = recall(
                merge_adapter(base, result.adapter, 1.0, folder / "merged")
            )
    for name, values in values_by_model.items():
        print(f"{name:12} {METRIC} {values.mean():.4f}, trained in {seconds.get(name, 0):.0f} s")
    measured = f"{len(keys)} annotators' queries, {len(passages)} mails, {len(examples)} pairs"
    claims = []
    for name, other in (("all layers", "base"), ("top half", "base"), ("top half", "all layers")):
        difference = paired_difference(
            values_by_model[name],
            values_by_model[other],
            clusters,
            CONFIDENCE,
            RESAMPLES,
            options.seed,
        )
        print(
            f"{name} - {other}: {difference.mean:+.4f} ({difference.low:+.4f} to {difference.high:+.4f})"
        )
        claims.append(
            {
                "claim": f"{METRIC} of {name}",
                "ours": round(float(values_by_model[name].mean()), 4),
                "peer": other,
                "peer_figure": round(float(values_by_model[other].mean()), 4),
                "ratio": round(
                    float(values_by_model[name].mean() / values_by_model[other].mean()), 4
                ),
                "measured": f"{measured}: {difference.low:+.4f} to {difference.high:+.4f}",
            }
        )
    print(json.dumps({"bench": "top_layers", "claims": claims}))


if __name__ == "__main__":
    main()
