"""Does the gate decide on a pool of passages as it does on the whole corpus?

On each judged set an adapter is trained on the corpus's own self-supervised pairs. Then the gate chooses
an interpolation weight and decides, once among all passages and once each among pools of several sizes.
Texts are cut at 64 tokens and a corpus at 4,000 documents, so that five models can embed all of them.

    python bench/pool.py --out /tmp/pool       # go on where it was stopped
    python bench/pool.py --quick
"""

import argparse
import csv
import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from customir.exporters.merge import merge_adapter

from customir import models
from customir.embeddings import stored_embeddings
from customir.evaluation.compare import Comparison, compare
from customir.evaluation.gate import DECIDING, MINIMUM_THREADS
from customir.evaluation.held_out import HeldOutData
from customir.evaluation.pool import POOL, PoolSize
from customir.evaluation.systems import ADAPTED, BASE, SystemResult
from customir.progress import Silent, reporter_for_terminal
from customir.queries.self_supervised import (
    held_out_pairs,
    self_supervised_pairs,
    without_query_text,
)
from customir.queries.splits import split_passages
from customir.settings import EvaluationSettings, Settings, TrainingSettings
from customir.training.examples import Example, TrainingPassage
from customir.training.trainer import train
from customir.workspace import Workspace, content_key
from customir.workspace.documents import Document
from customir.workspace.passages import Passage
from customir.workspace.queries import Query

SETS = ("aeslc-enron", "rsig-qa", "slack-dev-chat")
SIZES = (PoolSize(depth=5, others=100), PoolSize(depth=10, others=300), POOL)
QUICK_SIZES = (PoolSize(depth=2, others=20),)
DOCUMENTS, TRAINING_PAIRS = 4000, 600
QUICK_DOCUMENTS, QUICK_TRAINING_PAIRS = 400, 64
SETTINGS = Settings(
    device="cpu",
    training=TrainingSettings(epochs=1, batch_size=64, max_seq_length=64),
    evaluation=EvaluationSettings(reference_model=""),
)


@dataclass(frozen=True)
class JudgedSet:
    """A corpus, its own pairs to train on, and its held-out queries: judged ones and pairs."""

    training: list[Example]
    held_out: HeldOutData


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--data", type=Path, default=Path("data"), help="folder of the judged sets")
    add("--sets", nargs="+", default=list(SETS), help="names of sets in that folder")
    add("--out", type=Path, help="folder for adapters and vectors; default: a temporary one")
    add("--quick", action="store_true", help="one set, 400 documents, a weak adapter")
    options = parser.parse_args()
    if options.quick:
        options.sets = options.sets[:1]
    missing = [name for name in options.sets if not (options.data / name).is_dir()]
    if missing:
        print(f"Skipped: {options.data} does not have {', '.join(missing)}.", file=sys.stderr)
        print(json.dumps({"bench": "pool", "claims": [], "skipped": missing}))
        return
    claims = []
    with tempfile.TemporaryDirectory() as temporary:
        for name in options.sets:
            folder = (options.out or Path(temporary)) / name
            claims += run(name, options.data / name, folder, options.quick)
    print(json.dumps({"bench": "pool", "claims": claims}))


def run(name: str, data: Path, folder: Path, quick: bool) -> list[dict[str, Any]]:
    """Train an adapter on a set and print the gate's decisions."""
    cut = (QUICK_DOCUMENTS, QUICK_TRAINING_PAIRS) if quick else (DOCUMENTS, TRAINING_PAIRS)
    judged = read_set(data, *cut)
    held_out = judged.held_out
    base = models.locate("minilm", "embedder")
    with Workspace(folder) as workspace:
        trained = train(
            base, judged.training, SETTINGS.training, SETTINGS.seed, "cpu",
            folder / "training", Silent(),
        )  # fmt: skip
        embed = stored_embeddings(workspace, "evaluate", reporter_for_terminal())

        def merge(weight: float) -> Path:
            return merge_adapter(base, trained.adapter, weight, folder / f"weight-{weight:g}")

        def decided(size: PoolSize) -> Comparison:
            return compare(held_out, base, merge, SETTINGS, embed, size)

        whole = decided(PoolSize(0, len(held_out.passages)))
        print(
            f"{name}: {len(held_out.passages)} passages, {len(held_out.queries)} judged queries, "
            f"{len(held_out.pairs)} self-supervised queries, {len(judged.training)} training pairs"
        )
        print(f"  {'whole corpus':22} {described(whole)}")
        return [claim(name, whole, size, decided) for size in (QUICK_SIZES if quick else SIZES)]


def claim(
    name: str, whole: Comparison, size: PoolSize, decided: Callable[[PoolSize], Comparison]
) -> dict[str, Any]:
    """Let the gate decide on a pool, print it, and say whether it decides as on the whole."""
    pool = decided(size)
    print(f"  {f'best {size.depth}, {size.others} others':22} {described(pool)}", flush=True)
    same = chosen_weight(pool) == chosen_weight(whole) and (
        pool.verdict.weight == whole.verdict.weight
    )
    return {
        "name": f"same weight and verdict, {name}, best {size.depth} and {size.others} others",
        "ours": int(same), "peer": "the whole corpus", "peer_figure": 1, "ratio": None,
        "measured": f"{pool.dev_pool_size} and {len(pool.pool)} of {len(whole.pool)} passages",
    }  # fmt: skip


def described(found: Comparison) -> str:
    """Sizes, means on dev by weight, the weight, the verdict, and the intervals on test."""
    dev = found.pairs_dev or found.dev
    means = " ".join(
        f"{weight:g}:{100 * float(np.mean(values['nDCG@10'])):.2f}"
        for weight, values in sorted(dev.items())
    )
    verdict = "ships" if found.verdict.ships_adapted else "base"
    tests = [
        f"{title} {differences(results)}"
        for title, results in (("judged", found.test), ("people's", found.pairs_test))
    ]
    return (
        f"{found.dev_pool_size:5} dev {len(found.pool):5} test | nDCG@10 {means} | weight "
        f"{chosen_weight(found):g} {verdict:5} | {' | '.join(filter(None, tests))}"
    )


def chosen_weight(found: Comparison) -> float:
    """The weight that dev chose, whatever the verdict."""
    dev = found.pairs_dev or found.dev
    return max(sorted(dev), key=lambda weight: float(np.mean(dev[weight]["nDCG@10"])))


def differences(results: list[SystemResult] | Any) -> str:
    """The adapted model's differences to the base with their intervals, in points."""
    by_name = {result.system: result for result in results}
    if ADAPTED not in by_name:
        return ""
    said = []
    for metric in DECIDING:
        found = by_name[ADAPTED].differences[metric]
        base = by_name[BASE].metrics[metric] or 0.0
        said.append(
            f"{metric} {100 * base:.1f} {100 * found.mean:+.2f} "
            f"({100 * found.low:+.2f} to {100 * found.high:+.2f})"
        )
    return ", ".join(said)


def read_set(folder: Path, documents: int, pairs: int) -> JudgedSet:
    """A set's documents as passages; judged queries take part where their thread is held out."""
    rows = [json.loads(line) for line in lines_of(folder / "corpus.jsonl")]
    rows = sorted(rows, key=lambda row: content_key("pool", row["_id"]))[:documents]
    passages = [
        Passage(
            row["_id"], row["_id"], 0, row["text"], row["_id"],
            row.get("subject") or row["title"], row.get("thread") or row["_id"],
        )
        for row in rows
    ]  # fmt: skip
    found = self_supervised_pairs(
        [
            Document(
                row["_id"], "", row["_id"], passage.title, row.get("from", ""), row.get("date"),
                passage.thread, row["text"], "",
            )
            for row, passage in zip(rows, passages, strict=True)
        ],
        passages, SETTINGS.queries.replies_per_thread,
    )  # fmt: skip
    splits = split_passages(passages, SETTINGS.evaluation.held_out_fraction, SETTINGS.seed)
    examples = [
        Example(
            text,
            TrainingPassage(
                passage.key,
                without_query_text(passage, style, text),
                passage.thread,
                passage.duplicates,
            ),
        )
        for style, each in found.items()
        for passage, text in sorted(each, key=lambda pair: content_key("pair", *pair[1:]))
        if splits[passage.key] == "train"
    ]
    queries = [
        replace(query, split=splits[query.passage])
        for query in judged_queries(folder, set(splits))
        if splits[query.passage] != "train"
    ]
    return JudgedSet(
        examples[:pairs],
        HeldOutData(passages, queries, held_out_pairs(found, passages, splits, MINIMUM_THREADS)),
    )


def judged_queries(folder: Path, passages: set[str]) -> list[Query]:
    """The queries of a set with their first relevant passage that is here."""
    texts = {row["_id"]: row["text"] for row in map(json.loads, lines_of(folder / "queries.jsonl"))}
    first: dict[str, str] = {}
    for path in sorted((folder / "qrels").glob("*.tsv")):
        with path.open(encoding="utf-8", newline="") as file:
            for query, passage, grade in list(csv.reader(file, delimiter="\t"))[1:]:
                if int(grade) > 0 and passage in passages and query in texts:
                    first.setdefault(query, passage)
    return [
        Query(query, passage, "judged", texts[query], None, "test")
        for query, passage in sorted(first.items())
    ]


def lines_of(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


if __name__ == "__main__":
    main()
