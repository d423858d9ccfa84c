"""How often does the gate ship what is no better? Corpora where adaptation cannot help.

Mails and their annotators' subject lines (three people a mail, so queries come in clusters); an
adapter is really trained, merged by each share, chosen on dev and decided on test, by the pipeline's
own functions. A seed draws the mails and their parts.

    shuffled    every query belongs to a mail drawn at random, in training, dev and test alike
    wrong pairs trained on shuffled pairs, measured on the true ones: changed, but no better
    60 mails    true pairs, too few threads to decide
    known text  titles and abstracts of papers, which the base has seen by the million in training
    true pairs  the control: here the gate should open

    flipped     no training: the gains and losses of `wrong pairs`, query by query and for every
                share, with their signs drawn anew thread by thread, and the threads dealt out
                anew to dev and test. Whatever ships there is luck. Thousands of such worlds.

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
# Of the mails: a third to train on, and the rest as `split_passages` cuts it.
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
    """Passages, one thread each, and the queries that belong to them."""

    passages: list[Passage]
    queries: list[Query]


@dataclass(frozen=True)
class Case:
    """A kind of world: so many documents of a set, and what of it is shuffled."""

    name: str
    documents: World
    size: int
    shuffle_training: bool = False
    shuffle_measured: bool = False


@dataclass(frozen=True)
class Outcome:
    """What the gate said, and each share's metrics on all held-out queries."""

    comparison: Comparison
    by_share: dict[float, Metrics]
    threads: list[str]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--data", type=Path, default=Path("../shared/data"), help="the sets' folder")
    add("--seeds", type=int, default=20, help="of each kind of world")
    add("--cases", nargs="+", metavar="CASE", help="of those above; default: all")
    add("--flips", type=int, default=2000, help="worlds of `flipped`")
    add("--quick", action="store_true", help="one seed, 400 flips")
    options = parser.parse_args()
    if options.quick:
        options.seeds, options.flips = 1, 400
    missing = [name for name in (MAIL, PAPERS) if not (options.data / name).is_dir()]
    if missing:
        print(f"Skipped: {options.data} does not have {', '.join(missing)}.", file=sys.stderr)
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
    claims, changes = [], []
    for case in cases:
        if options.cases and case.name not in options.cases:
            continue
        print(f"== {case.name}: {case.size} documents", flush=True)
        found = []
        for seed in range(options.seeds):
            found.append(run(case, seed))
            print(f"seed {seed}: {verdict_text(found[-1])}", flush=True)
        claims.append(claim(case.name, [one.comparison.verdict.ships_adapted for one in found]))
        if case.name == "wrong pairs":
            changes = found
    if changes:
        flipped = [flip(changes[n % len(changes)], n) for n in range(options.flips)]
        claims.append(claim("flipped", flipped))
    print(json.dumps({"claims": claims}))


def read_mails(folder: Path) -> World:
    """Mails with the subject lines that annotators gave them."""
    texts = {row["_id"]: row["text"] for row in rows_of(folder / "corpus.jsonl")}
    asked = {row["_id"]: row["text"] for row in rows_of(folder / "queries.jsonl")}
    with (folder / "qrels" / "dev.tsv").open(encoding="utf-8", newline="") as file:
        pairs = [(row[0], row[1]) for row in list(csv.reader(file, delimiter="\t"))[1:]]
    belong = {passage for _, passage in pairs}
    return World(
        [as_passage(key, text) for key, text in texts.items() if key in belong],
        [Query(key, passage, "subject", asked[key], None, "train") for key, passage in pairs],
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
    drawn = random.permutation(len(case.documents.passages))[: case.size]
    passages = [case.documents.passages[number] for number in sorted(drawn)]
    part: dict[str, Split] = {
        passage.key: SPLITS[number % len(SPLITS)]
        for number, passage in zip(random.permutation(case.size), passages, strict=True)
    }
    queries: list[Query] = [
        replace(query, split=part[query.passage])
        for query in case.documents.queries
        if query.passage in part
    ]
    wrong = wrong_passages(passages, part, random)
    training = [query for query in queries if query.split == "train"]
    if case.shuffle_training:
        training = [replace(query, passage=wrong[query.passage]) for query in training]
    if case.shuffle_measured:
        queries = [replace(query, passage=wrong[query.passage]) for query in queries]
    dev, test = ([query for query in queries if query.split == split] for split in ("dev", "test"))
    by_key = {passage.key: passage for passage in passages}
    examples = [
        Example(query.text, TrainingPassage(found.key, found.text, found.thread, found.duplicates))
        for query in training
        for found in [by_key[query.passage]]
    ]
    settings = SETTINGS.model_copy(update={"seed": seed})
    base = models.locate("minilm", "embedder")
    with tempfile.TemporaryDirectory() as temporary, Workspace(Path(temporary)) as workspace:
        trained = train(
            base, examples, settings.training, seed, "cpu", Path(temporary) / "training", Silent()
        )

        def compared(queries: Sequence[Query]) -> Comparison:
            # Without self-supervised queries: the LLM's part of the gate alone, which decides more easily.
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

        # With all of them in place of dev, every share's metrics of every query are told.
        every = compared([replace(query, split="dev") for query in (*dev, *test)]).dev
        comparison = compared([*dev, *test])
    return Outcome(comparison, dict(every), threads_of([*dev, *test], passages))


def wrong_passages(
    passages: Sequence[Passage], part: Mapping[str, Split], random: np.random.Generator
) -> dict[str, str]:
    """For each passage another one of its part: what belonged to it belongs to that one now."""
    wrong: dict[str, str] = {}
    for split in ("train", "dev", "test"):
        keys = [passage.key for passage in passages if part[passage.key] == split]
        order = random.permutation(len(keys))
        wrong |= {keys[a]: keys[b] for a, b in zip(order, np.roll(order, 1), strict=True)}
    return wrong


def flip(outcome: Outcome, seed: int) -> bool:
    """Whether the gate ships in a world where gains and losses have their signs by chance."""
    random = np.random.default_rng(seed)
    names, thread = np.unique(outcome.threads, return_inverse=True)
    sign = random.choice([-1.0, 1.0], len(names))[thread]
    is_dev = (random.random(len(names)) < DEV_SHARE)[thread]
    base = outcome.by_share[0.0]
    flipped = {
        share: {name: base[name] + sign * (values[name] - base[name]) for name in values}
        for share, values in outcome.by_share.items()
    }

    def of(share: float, where: np.ndarray) -> Metrics:
        return {name: values[where] for name, values in flipped[share].items()}

    chosen = choose_weight({share: of(share, is_dev) for share in flipped})
    decided_by = [name for name, dev in zip(outcome.threads, is_dev, strict=True) if not dev]
    held = PairedMetrics(of(chosen, ~is_dev), of(0.0, ~is_dev), decided_by)
    verdict = decide(chosen, held, None, SETTINGS.evaluation, seed)
    return verdict.ships_adapted


def verdict_text(outcome: Outcome) -> str:
    verdict = outcome.comparison.verdict
    return f"{'SHIPS' if verdict.ships_adapted else 'base'}. {verdict.reason}"


def claim(name: str, shipped: Sequence[bool]) -> dict[str, Any]:
    """How often it shipped, with the exact (Clopper-Pearson) 95% interval."""
    count, total = sum(shipped), len(shipped)
    interval = binomtest(count, total).proportion_ci(0.95)
    print(
        f"{name}: shipped {count} of {total}, {count / total:.1%} "
        f"({interval.low:.1%} to {interval.high:.1%})"
    )
    return {
        "name": f"shipped, {name}",
        "ours": count / total,
        "peer": "limit" if name != "true pairs" else "control: it should ship",
        "peer_figure": LIMIT if name != "true pairs" else None,
        "ratio": count / total / LIMIT if name != "true pairs" else None,
        "measured": f"{count} of {total} worlds",
    }


if __name__ == "__main__":
    main()
