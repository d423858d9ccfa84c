"""What makes an embedder better at people's queries: each arm changes one thing of the start.

Every arm adapts to the corpora of a few judged sets alone and is then measured on the queries that
people wrote (bench/quality.py). The start is run first; what its LLM wrote, judged and embedded is
given to all others. Gains are points of Recall@10 on the base, and the difference to the start,
with 95% intervals.

    python bench/recipe.py --out /tmp/recipe --jobs 1
    python bench/recipe.py --out /tmp/recipe --only "learning rate" --sets aeslc-enron
    python bench/recipe.py --quick
"""

import argparse
import json
import multiprocessing
import shutil
import sys
import tempfile
import traceback
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
from quality import against, markdown, options_of_sets, points, run_arm, sets_there

from customir.evaluation.systems import ADAPTED, BASE
from customir.progress import Silent
from customir.settings import Settings

# Mail, messages, and a specialist corpus whose queries are many enough to tell arms apart.
SETS = ("aeslc-enron", "slack-dev-chat", "mlquestions")
START = (
    "queries.passages=600",
    "queries.queries_per_passage=4",
    "negatives.candidates_per_query=0",
    'evaluation.reference_model=""',
    "evaluation.resamples=2000",
    "queries.max_self_supervised_pairs=1000",
    "queries.sufficient_self_supervised_pairs=1000000000",
    "training.learning_rate=2e-4",
    "training.epochs=2",
)
SHARES = "share of the adapter: chosen by dev queries"
FEW = ("queries.passages=1",)  # of the LLM's queries: next to none
BOTH = ("negatives.candidates_per_query=1", "negatives.negatives_per_query=1")
FUSION = ('training.teacher="hybrid"',)
MPNET = ('training.teacher="reference"', 'evaluation.reference_model="mpnet"')
LONG = ("training.distillation_weight=100.0", "training.learning_rate=5e-4", "training.epochs=8")
ARMS: dict[str, tuple[str, ...]] = {
    "start": (),
    "pairs: LLM queries alone": ("queries.self_supervised=[]",),
    "pairs: free alone": FEW,
    "pairs: subjects alone": (*FEW, 'queries.self_supervised=["subject"]'),
    "pairs: replies alone": (*FEW, 'queries.self_supervised=["reply"]'),
    "pairs: openings alone": (*FEW, 'queries.self_supervised=["ict"]'),
    "pairs: no openings": ('queries.self_supervised=["subject", "reply"]',),
    "pairs: one reply a thread": ("queries.replies_per_thread=1",),
    "pairs: up to 4,000 of each free kind": ("queries.max_self_supervised_pairs=4000",),
    "pairs: up to 4,000 of each free kind, one epoch": (
        "queries.max_self_supervised_pairs=4000", "training.epochs=1",
    ),
    "passages: 150": ("queries.passages=150",),
    "passages: 300": ("queries.passages=300",),
    "passages: 1,500": ("queries.passages=1500",),
    "passages: 1,500, LLM queries alone": ("queries.passages=1500", "queries.self_supervised=[]"),
    "queries a passage: 1": ("queries.queries_per_passage=1",),
    "queries a passage: 2": ("queries.queries_per_passage=2",),
    "queries a passage: 2, of 1,200 passages": (
        "queries.passages=1200", "queries.queries_per_passage=2",
    ),
    **{
        f"style: {style} alone": (
            "queries.self_supervised=[]", f'queries.styles=["{style}"]', "queries.queries_per_passage=1",
        )
        for style in ("keywords", "question", "need", "summary", "attribute")
    },
    "style: all, one a passage": ("queries.self_supervised=[]", "queries.queries_per_passage=1"),
    "round trip: off": ("queries.round_trip_depth=1000000",),
    "round trip: 10": ("queries.round_trip_depth=10",),
    "negatives: BM25": (
        *BOTH, "negatives.use_judge=false", 'negatives.candidate_sources=["bm25"]', "negatives.relative_margin=0.0",
    ),
    "negatives: dense": (
        *BOTH, "negatives.use_judge=false", 'negatives.candidate_sources=["dense"]', "negatives.relative_margin=0.0",
    ),
    "negatives: both": (*BOTH, "negatives.use_judge=false", "negatives.relative_margin=0.0"),
    "negatives: both, 95%": (*BOTH, "negatives.use_judge=false"),
    "negatives: both, 95%, judged": (*BOTH, "negatives.min_judge_auc=0.5"),
    **{
        f"distillation: fusion, by {weight}": (*FUSION, f"training.distillation_weight={weight}")
        for weight in ("0.3", "1.0", "10.0")
    },
    "distillation: mpnet": (*MPNET, "training.distillation_weight=1.0"),
    "distillation: mpnet, by 10": (*MPNET, "training.distillation_weight=10.0"),
    # Next to no InfoNCE, and long enough to learn another's order.
    "distillation: mpnet alone, 8 epochs": (*MPNET, *LONG),
    "distillation: the judge": (
        *BOTH, "negatives.min_judge_auc=0.5", "training.distillation_weight=1.0", 'training.teacher="judge"',
    ),
    **{f"learning rate: {rate}": (f"training.learning_rate={rate}",) for rate in (
        "5e-5", "1e-4", "5e-4", "1e-3",
    )},
    "learning rate: 5e-4, three epochs": ("training.learning_rate=5e-4", "training.epochs=3"),
    "learning rate: 1e-3, four epochs": ("training.learning_rate=1e-3", "training.epochs=4"),
    **{f"temperature: {tau}": (f"training.temperature={tau}",) for tau in (
        "0.01", "0.02", "0.03", "0.1",
    )},
    **{f"epochs: {count}": (f"training.epochs={count}",) for count in (1, 3, 5)},
    **{f"batch: {size}": (f"training.batch_size={size}",) for size in (32, 64, 256, 512, 1024)},
    "rank: 64": ("training.lora_r=64", "training.lora_alpha=128"),
    "rank: 4": ("training.lora_r=4", "training.lora_alpha=8"),
    "top 3 of 6 layers": ("training.trainable_layers=3",),
    "whole weights, 2e-5": ("training.full_fine_tuning=true", "training.learning_rate=2e-5"),
    "whole weights, 1e-4": ("training.full_fine_tuning=true", "training.learning_rate=1e-4"),
    "queries alone": ("training.freeze_passage_encoder=true",),
    "not symmetric": ("training.symmetric=false",),
    "anchor: 1": ("training.embedding_regularization=1.0",),
    "anchor: 10": ("training.embedding_regularization=10.0",),
    "dropout: .1": ("training.lora_dropout=0.1",),
    SHARES: (),
}  # fmt: skip
QUICK = {
    "sets": ["rhelp-2025-qa"],
    "documents": 100,
    "measured": 100,
    "among": 300,
    "set": ["queries.passages=16", "queries.queries_per_passage=2", "training.epochs=1"],
    "only": ["learning rate: 1e-3"],
}


def main() -> None:
    options = read_options()
    sets, missing = sets_there(options)
    wanted = [
        arm
        for arm in ARMS
        if arm != "start"
        and (not options.only or any(arm == o or arm.startswith(f"{o}:") for o in options.only))
    ]
    with tempfile.TemporaryDirectory() as temporary:
        out = options.out or Path(temporary)
        # One process a set can write what the others then read.
        run(out, [(name, "start") for name in sets], options, min(options.jobs, len(sets)))
        run(out, [(name, arm) for arm in wanted for name in sets], options, options.jobs)
        found = {
            (arm, name): measured(out, name, arm) for arm in ["start", *wanted] for name in sets
        }
        print(table(found))
    claims = [
        {
            "name": f"Recall@10 on {one['set']}, {arm}",
            "ours": row["Recall@10"],
            "peer": BASE,
            "peer_figure": base["Recall@10"],
            "ratio": row["Recall@10"] / base["Recall@10"],
            "measured": f"{one['queries']} queries that people wrote",
        }
        for (arm, _), ones in found.items()
        for one in ones
        for base, row in [rows_of(one)]
    ]
    print(json.dumps({"bench": "recipe", "claims": claims, "skipped": missing}))


def read_options() -> argparse.Namespace:
    parser = options_of_sets(__doc__, SETS)
    add = parser.add_argument
    add("--out", type=Path, help="kept there; a temporary folder without it")
    add("--only", nargs="+", default=[], metavar="ARM", help="these arms, or all of a kind")
    add("--set", action="append", default=[], metavar="NAME=VALUE", help="for all arms")
    add("--shares", type=float, nargs="+", default=[], help="of the adapter, as rows of their own")
    add("--jobs", type=int, default=1, help="processes")
    add("--documents", type=int, help="adapt to so many")
    add("--quick", action="store_true", help="one small set, one arm beside the start")
    options = parser.parse_args()
    if options.quick:
        for name, value in QUICK.items():
            setattr(options, name, value)
    return options


def run(
    out: Path, tasks: Sequence[tuple[str, str]], options: argparse.Namespace, jobs: int
) -> None:
    work = [(out, name, arm, options) for name, arm in tasks]
    if jobs <= 1:
        for each in work:
            run_one(*each)
        return
    with multiprocessing.get_context("spawn").Pool(jobs, maxtasksperchild=1) as pool:
        pool.starmap(run_one, work, chunksize=1)


def run_one(out: Path, name: str, arm: str, options: argparse.Namespace) -> None:
    """One arm on one set, in a folder of its own; what fails is printed and left out."""
    root = root_of(out, name, arm)
    if (root / "arm" / "measured.json").exists():
        return
    first = root_of(out, name, "start")
    if arm != "start" and not root.exists():
        shutil.copytree(first / "shared", root / "shared")
        # With the start's rows, the stages before what the arm changes are done.
        shutil.copytree(first / "arm", root / "arm", ignore=shutil.ignore_patterns("measured.json"))
    until = "evaluate" if arm == SHARES else "train"
    settings = [*START, *options.set, *ARMS[arm]]
    asked = argparse.Namespace(
        data=options.data, arm="arm", set=settings, until=until, against=None,
        documents=options.documents, measured=options.measured, among=options.among,
        precision=options.precision, shares=options.shares,
    )  # fmt: skip
    root.mkdir(parents=True, exist_ok=True)
    try:
        with (root / "log.txt").open("w") as log, redirect_stdout(log):
            run_arm(name, root, asked, Silent())
    except Exception:
        print(f"{arm}, {name}: {traceback.format_exc()}", file=sys.stderr)
        return
    print(f"done: {name}, {arm}", file=sys.stderr, flush=True)


def root_of(out: Path, name: str, arm: str) -> Path:
    plain = "".join(c if c.isalnum() else "-" for c in arm)
    return out / plain / name


def measured(out: Path, name: str, arm: str) -> list[dict[str, Any]]:
    """What an arm gave on a set and its second view (mail with its subjects); nothing if it failed."""
    path = root_of(out, name, arm) / "arm" / "measured.json"
    found: list[dict[str, Any]] = json.loads(path.read_text()) if path.exists() else []
    return found


def rows_of(one: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    by_system = {row["system"]: row for row in one["table"]}
    return by_system[BASE], by_system[ADAPTED]


def table(found: dict[tuple[str, str], list[dict[str, Any]]]) -> str:
    """A row an arm, and one a share: gains on the base with intervals, their mean, and, for the
    whole adapter, the difference to the start."""
    by_arm: dict[str, dict[str, dict[str, Any]]] = {"start": {}}
    for (arm, _), measurements in found.items():
        by_arm.setdefault(arm, {}).update({one["set"]: one for one in measurements})
    starts = by_arm["start"]
    rows = [["arm", *starts, "mean", "less the start's, by set"]]
    for arm, ones in by_arm.items():
        shares = {row["system"] for one in ones.values() for row in one["table"]}
        for system in [ADAPTED, *sorted(name for name in shares if name.startswith(f"{ADAPTED},"))]:
            gains, cells, apart = [], [], []
            for label, start in starts.items():
                by_system = {row["system"]: row for row in ones.get(label, {}).get("table", [])}
                if system not in by_system:
                    cells.append("")
                    continue
                gain = by_system[system]["Recall@10"] - by_system[BASE]["Recall@10"]
                gains.append(100 * gain)
                cells.append(points(by_system[system]))
                if arm != "start" and system == ADAPTED:
                    said = against(ones[label], start, Settings())
                    apart.append(said.split(";")[0].removeprefix("Recall@10 "))
            mean = f"{float(np.mean(gains)):+.1f}" if gains else ""
            rows.append([f"{arm}{system.removeprefix(ADAPTED)}", *cells, mean, " / ".join(apart)])
    return markdown(rows)


if __name__ == "__main__":
    main()
