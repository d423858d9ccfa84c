"""How often the gate ships a model that is no better, on corpora where adaptation cannot help.

An adapter is trained on mails and the subject lines that annotators wrote for them (three people for each
mail, so queries come in clusters), merged with each interpolation weight, chosen on dev and decided on test
by the pipeline's own functions. A seed draws the mails and their splits.

    shuffled     every query belongs to a random other mail, in training, dev and test
    wrong pairs  trained on shuffled pairs, measured on the true ones: changed, but no better
    60 mails     true pairs, but too few threads to decide
    known text   titles and abstracts of papers, which the base has seen by the million in training
    true pairs   the control: here the gate should ship
    flipped      no training: the gains and losses of `wrong pairs` with random signs for each thread,
                 and threads dealt to dev and test at random. Whatever ships is luck.

    python bench/gate.py --seeds 20
    python bench/gate.py --quick
"""

import argparse
import csv
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from customir.exporters.merge import merge_adapter
from scipy.stats import binomtest

from customir import models
from customir.embeddings import stored_embeddings
from customir.evaluation.compare import Comparison, compare
from customir.evaluation.gate import Metrics, PairedMetrics, choose_weight, decide
from customir.evaluation.held_out import HeldOutData, threads_of
from customir.progress import Silent
from customir.queries.splits import DEV_SHARE
from customir.settings import EvaluationSettings, Settings, TrainingSettings
from customir.training.examples import Example, TrainingPassage
from customir.training.trainer import train
from customir.workspace import Workspace
from customir.workspace.passages import Passage
from customir.workspace.queries import Query, Split

MAIL, PAPERS = "aeslc-enron", "scifact"
MAILS, FEW = 300, 60
# A third of the mails is trained on; the rest is split as `split_passages` does.
SPLITS: tuple[Split, ...] = (
    "train",
    "train",
    "train",
    "dev",
    "dev",
    "test",
    "test",
    "test",
    "test",
)
SETTINGS = Settings(
    device="cpu",
    training=TrainingSettings(batch_size=32, epochs=2, learning_rate=2e-4, max_seq_length=48),
    evaluation=EvaluationSettings(reference_model="", resamples=2000),
)
LIMIT = 0.05


@dataclass(frozen=True)
class World:
    """Passages, one per thread, and their queries."""

    passages: list[Passage]
    queries: list[Query]


@dataclass(frozen=True)
class Case:
    """A kind of world: how many documents it has, and what is shuffled in it."""

    name: str
    documents: World
    size: int
    shuffle_training: bool = False
    shuffle_measured: bool = False


@dataclass(frozen=True)
class Outcome:
    """The gate's verdict, and the metrics of each interpolation weight on all held-out queries."""

    comparison: Comparison
    by_weight: dict[float, Metrics]
    threads: list[str]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--data", type=Path, default=Path("data"), help="the folder of the judged sets")
    add("--seeds", type=int, default=20, help="seeds for each kind of world")
    add("--cases", nargs="+", metavar="CASE", help="kinds of worlds; default: all")
    add("--flips", type=int, default=2000, help="how many worlds of the kind `flipped`")
    add("--quick", action="store_true", help="one seed, 400 flips")
    options = parser.parse_args()
    if options.quick:
        options.seeds, options.flips = 1, 400
    missing = [name for name in (MAIL, PAPERS) if not (options.data / name).is_dir()]
    if missing:
        print(f"Skipped: {options.data} has no {', '.join(missing)}.", file=sys.stderr)
        print(json.dumps({"claims": [], "skipped": missing}))
        return
    mails, papers = read_mails(options.data / MAIL), read_papers(options.data / PAPERS)
    cases = (
        Case("shuffled", mails, MAILS, shuffle_training=True, shuffle_measured=True),
        Case("wrong pairs", mails, MAILS, shuffle_training=True),
        Case("60 mails", mails, FEW),
        Case("known text", papers, MAILS),
        Case("true pairs", mails, MAILS),
    )
    claims, wrong_pairs = [], []
    for case in cases:
        if options.cases and case.name not in options.cases:
            continue
        print(f"== {case.name}: {case.size} documents", flush=True)
        outcomes = []
        for seed in range(options.seeds):
            outcomes.append(run(case, seed))
            print(f"seed {seed}: {verdict_text(outcomes[-1])}", flush=True)
        claims.append(claim(case.name, [one.comparison.verdict.ships_adapted for one in outcomes]))
        if case.name == "wrong pairs":
            wrong_pairs = outcomes
    if wrong_pairs:
        flipped = [flip(wrong_pairs[n % len(wrong_pairs)], n) for n in range(options.flips)]
        claims.append(claim("flipped", flipped))
    print(json.dumps({"claims": claims}))


def read_mails(folder: Path) -> World:
    """Mails with the subject lines that annotators gave them."""
    texts = {row["_id"]: row["text"] for row in rows_of(folder / "corpus.jsonl")}
    texts_of_queries = {row["_id"]: row["text"] for row in rows_of(folder / "queries.jsonl")}
    with (folder / "qrels" / "dev.tsv").open(encoding="utf-8", newline="") as file:
        pairs = [(row[0], row[1]) for row in list(csv.reader(file, delimiter="\t"))[1:]]
    judged = {passage for _, passage in pairs}
    return World(
        [as_passage(key, text) for key, text in texts.items() if key in judged],
        [
            Query(key, passage, "subject", texts_of_queries[key], None, "train")
            for key, passage in pairs
        ],
    )


def read_papers(folder: Path) -> World:
    """Abstracts with their titles as queries."""
    rows = list(rows_of(folder / "corpus.jsonl"))
    return World(
        [as_passage(row["_id"], row["text"]) for row in rows],
        [Query(row["_id"], row["_id"], "subject", row["title"], None, "train") for row in rows],
    )


def as_passage(key: str, text: str) -> Passage:
    return Passage(key, key, 0, text, key, "", key)


def rows_of(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def run(case: Case, seed: int) -> Outcome:
    """Draw a world, train on its pairs, and let the gate decide."""
    random = np.random.default_rng(seed)
    sample = random.permutation(len(case.documents.passages))[: case.size]
    passages = [case.documents.passages[number] for number in sorted(sample)]
    split_of: dict[str, Split] = {
        passage.key: SPLITS[number % len(SPLITS)]
        for number, passage in zip(random.permutation(case.size), passages, strict=True)
    }
    queries: list[Query] = [
        replace(query, split=split_of[query.passage])
        for query in case.documents.queries
        if query.passage in split_of
    ]
    wrong = wrong_passages(passages, split_of, random)
    training = [query for query in queries if query.split == "train"]
    if case.shuffle_training:
        training = [replace(query, passage=wrong[query.passage]) for query in training]
    if case.shuffle_measured:
        queries = [replace(query, passage=wrong[query.passage]) for query in queries]
    dev, test = ([query for query in queries if query.split == split] for split in ("dev", "test"))
    by_key = {passage.key: passage for passage in passages}
    examples = [
        Example(
            query.text,
            TrainingPassage(passage.key, passage.text, passage.thread, passage.duplicates),
        )
        for query in training
        for passage in [by_key[query.passage]]
    ]
    settings = SETTINGS.model_copy(update={"seed": seed})
    base = models.locate("minilm", "embedder")
    with tempfile.TemporaryDirectory() as temporary, Workspace(Path(temporary)) as workspace:
        trained = train(
            base, examples, settings.training, seed, "cpu", Path(temporary) / "training", Silent()
        )

        def compared(queries: Sequence[Query]) -> Comparison:
            # Without self-supervised queries, so that the rule for the LLM's queries decides.
            def merge(weight: float) -> Path:
                return merge_adapter(
                    base, trained.adapter, weight, Path(temporary) / f"weight-{weight:g}"
                )

            return compare(
                HeldOutData(passages, queries, []),
                base,
                merge,
                settings,
                stored_embeddings(workspace, "evaluate", Silent()),
            )

        # With all queries as dev, the comparison holds the metrics of each weight on every query.
        every = compared([replace(query, split="dev") for query in (*dev, *test)]).dev
        comparison = compared([*dev, *test])
    return Outcome(comparison, dict(every), threads_of([*dev, *test], passages))


def wrong_passages(
    passages: Sequence[Passage], split_of: Mapping[str, Split], random: np.random.Generator
) -> dict[str, str]:
    """For each passage another one of its split, which takes its place in a pair."""
    wrong: dict[str, str] = {}
    for split in ("train", "dev", "test"):
        keys = [passage.key for passage in passages if split_of[passage.key] == split]
        order = random.permutation(len(keys))
        wrong |= {keys[a]: keys[b] for a, b in zip(order, np.roll(order, 1), strict=True)}
    return wrong


def flip(outcome: Outcome, seed: int) -> bool:
    """Whether the gate ships in a world where the signs of gains and losses are random."""
    random = np.random.default_rng(seed)
    names, thread = np.unique(outcome.threads, return_inverse=True)
    sign = random.choice([-1.0, 1.0], len(names))[thread]
    is_dev = (random.random(len(names)) < DEV_SHARE)[thread]
    base = outcome.by_weight[0.0]
    flipped = {
        weight: {name: base[name] + sign * (values[name] - base[name]) for name in values}
        for weight, values in outcome.by_weight.items()
    }

    def of(weight: float, where: np.ndarray) -> Metrics:
        return {name: values[where] for name, values in flipped[weight].items()}

    chosen = choose_weight({weight: of(weight, is_dev) for weight in flipped})
    decided_by = [name for name, dev in zip(outcome.threads, is_dev, strict=True) if not dev]
    test_metrics = PairedMetrics(of(chosen, ~is_dev), of(0.0, ~is_dev), decided_by)
    verdict = decide(chosen, test_metrics, None, SETTINGS.evaluation, seed)
    return verdict.ships_adapted


def verdict_text(outcome: Outcome) -> str:
    verdict = outcome.comparison.verdict
    return f"{'SHIPS' if verdict.ships_adapted else 'base'}. {verdict.reason}"


def claim(name: str, shipped: Sequence[bool]) -> dict[str, Any]:
    """How often the gate shipped, with the exact (Clopper-Pearson) 95% interval."""
    count, total = sum(shipped), len(shipped)
    interval = binomtest(count, total).proportion_ci(0.95)
    print(
        f"{name}: shipped {count} of {total}, {count / total:.1%} "
        f"({interval.low:.1%} to {interval.high:.1%})"
    )
    return {
        "name": f"shipped, {name}",
        "ours": count / total,
        "peer": "the limit" if name != "true pairs" else "the control, which should ship",
        "peer_figure": LIMIT if name != "true pairs" else None,
        "ratio": count / total / LIMIT if name != "true pairs" else None,
        "measured": f"{count} of {total} worlds",
    }


if __name__ == "__main__":
    main()
