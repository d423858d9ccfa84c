"""What makes an embedder better at people's queries: each arm changes one setting of a starting point.

Every arm adapts to the corpora of a few judged sets and is then measured on the queries that people wrote
(bench/quality.py). The start runs first; what its LLM wrote and judged, and what it embedded, is reused by all
other arms. Printed are gains over the base in points of Recall@10, and differences to the start, with 95%
intervals.

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
from quality import against, available_sets, markdown, parser_for_sets, points, run_arm

from customir.evaluation.systems import ADAPTED, BASE
from customir.progress import Silent
from customir.settings import Settings

# Mail, messages, and a specialist corpus with enough queries to tell arms apart.
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
CHOSEN_WEIGHT = "interpolation weight: chosen on dev queries"
FEW = ("queries.passages=1",)  # next to no queries of the LLM
BOTH = ("negatives.candidates_per_query=1", "negatives.negatives_per_query=1")
ARMS: dict[str, tuple[str, ...]] = {
    "start": (),
    "pairs: LLM queries only": ("queries.self_supervised=[]",),
    "pairs: self-supervised only": FEW,
    "pairs: subjects only": (*FEW, 'queries.self_supervised=["subject"]'),
    "pairs: replies only": (*FEW, 'queries.self_supervised=["reply"]'),
    "pairs: ICT only": (*FEW, 'queries.self_supervised=["ict"]'),
    "pairs: no ICT": ('queries.self_supervised=["subject", "reply"]',),
    "pairs: one reply per thread": ("queries.replies_per_thread=1",),
    "pairs: up to 4,000 of each self-supervised kind": ("queries.max_self_supervised_pairs=4000",),
    "pairs: up to 4,000 of each self-supervised kind, one epoch": (
        "queries.max_self_supervised_pairs=4000", "training.epochs=1",
    ),
    "passages: 150": ("queries.passages=150",),
    "passages: 300": ("queries.passages=300",),
    "passages: 1,500": ("queries.passages=1500",),
    "passages: 1,500, LLM queries only": ("queries.passages=1500", "queries.self_supervised=[]"),
    "queries per passage: 1": ("queries.queries_per_passage=1",),
    "queries per passage: 2": ("queries.queries_per_passage=2",),
    "queries per passage: 2, of 1,200 passages": (
        "queries.passages=1200", "queries.queries_per_passage=2",
    ),
    **{
        f"style: {style} only": (
            "queries.self_supervised=[]", f'queries.styles=["{style}"]', "queries.queries_per_passage=1",
        )
        for style in ("keywords", "question", "need", "summary", "attribute")
    },
    "style: all, one per passage": ("queries.self_supervised=[]", "queries.queries_per_passage=1"),
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
    "queries only": ("training.freeze_passage_encoder=true",),
    "not symmetric": ("training.symmetric=false",),
    "dropout: 0.1": ("training.lora_dropout=0.1",),
    CHOSEN_WEIGHT: (),
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
    sets, missing = available_sets(options)
    wanted = [
        arm
        for arm in ARMS
        if arm != "start"
        and (not options.only or any(arm == o or arm.startswith(f"{o}:") for o in options.only))
    ]
    with tempfile.TemporaryDirectory() as temporary:
        out = options.out or Path(temporary)
        # One process per set writes what the others then read.
        run(out, [(name, "start") for name in sets], options, min(options.jobs, len(sets)))
        run(out, [(name, arm) for arm in wanted for name in sets], options, options.jobs)
        measured_by_arm = {
            (arm, name): measured(out, name, arm) for arm in ["start", *wanted] for name in sets
        }
        print(table(measured_by_arm))
    claims = [
        {
            "name": f"Recall@10 on {one['set']}, {arm}",
            "ours": row["Recall@10"],
            "peer": BASE,
            "peer_figure": base["Recall@10"],
            "ratio": row["Recall@10"] / base["Recall@10"],
            "measured": f"{one['queries']} queries that people wrote",
        }
        for (arm, _), by_set in measured_by_arm.items()
        for one in by_set
        for base, row in [rows_of(one)]
    ]
    print(json.dumps({"bench": "recipe", "claims": claims, "skipped": missing}))


def read_options() -> argparse.Namespace:
    parser = parser_for_sets(__doc__, SETS)
    add = parser.add_argument
    add("--out", type=Path, help="the folder for results; default: a temporary folder")
    add(
        "--only",
        nargs="+",
        default=[],
        metavar="ARM",
        help="only these arms, or all arms of a kind",
    )
    add("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting for all arms")
    add(
        "--interpolation-weights", type=float, nargs="+", default=[], metavar="WEIGHT",
        help="also print rows for the interpolations with these weights",
    )  # fmt: skip
    add("--jobs", type=int, default=1, help="processes at a time")
    add("--documents", type=int, help="how many documents are adapted to; default: all")
    add("--quick", action="store_true", help="one small set, one arm besides the start")
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
    """Run one arm on one set in a folder of its own; a failure is printed and left out."""
    root = root_of(out, name, arm)
    if (root / "arm" / "measured.json").exists():
        return
    start = root_of(out, name, "start")
    if arm != "start" and not root.exists():
        shutil.copytree(start / "shared", root / "shared")
        # With the start's rows, the stages before the changed setting are done already.
        shutil.copytree(start / "arm", root / "arm", ignore=shutil.ignore_patterns("measured.json"))
    until = "evaluate" if arm == CHOSEN_WEIGHT else "train"
    settings = [*START, *options.set, *ARMS[arm]]
    arm_options = argparse.Namespace(
        data=options.data, arm="arm", set=settings, until=until, against=None,
        documents=options.documents, measured=options.measured, among=options.among,
        precision=options.precision, interpolation_weights=options.interpolation_weights,
    )  # fmt: skip
    root.mkdir(parents=True, exist_ok=True)
    try:
        with (root / "log.txt").open("w") as log, redirect_stdout(log):
            run_arm(name, root, arm_options, Silent())
    except Exception:
        print(f"{arm}, {name}: {traceback.format_exc()}", file=sys.stderr)
        return
    print(f"done: {name}, {arm}", file=sys.stderr, flush=True)


def root_of(out: Path, name: str, arm: str) -> Path:
    plain = "".join(c if c.isalnum() else "-" for c in arm)
    return out / plain / name


def measured(out: Path, name: str, arm: str) -> list[dict[str, Any]]:
    """What was measured of an arm on a set and its second view (mail with subjects), if anything."""
    path = root_of(out, name, arm) / "arm" / "measured.json"
    rows: list[dict[str, Any]] = json.loads(path.read_text()) if path.exists() else []
    return rows


def rows_of(one: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    by_system = {row["system"]: row for row in one["table"]}
    return by_system[BASE], by_system[ADAPTED]


def table(measured_by_arm: dict[tuple[str, str], list[dict[str, Any]]]) -> str:
    """A row for each arm and interpolation weight: gains over the base with intervals, their mean,
    and, for the adapted model, the difference to the start."""
    by_arm: dict[str, dict[str, dict[str, Any]]] = {"start": {}}
    for (arm, _), measurements in measured_by_arm.items():
        by_arm.setdefault(arm, {}).update({one["set"]: one for one in measurements})
    starts = by_arm["start"]
    rows = [["arm", *starts, "mean", "difference to the start, by set"]]
    for arm, by_set in by_arm.items():
        systems = {row["system"] for one in by_set.values() for row in one["table"]}
        for system in [
            ADAPTED,
            *sorted(name for name in systems if name.startswith(f"{ADAPTED},")),
        ]:
            gains, cells, differences = [], [], []
            for label, start in starts.items():
                by_system = {row["system"]: row for row in by_set.get(label, {}).get("table", [])}
                if system not in by_system:
                    cells.append("")
                    continue
                gain = by_system[system]["Recall@10"] - by_system[BASE]["Recall@10"]
                gains.append(100 * gain)
                cells.append(points(by_system[system]))
                if arm != "start" and system == ADAPTED:
                    text = against(by_set[label], start, Settings())
                    differences.append(text.split(";")[0].removeprefix("Recall@10 "))
            mean = f"{float(np.mean(gains)):+.1f}" if gains else ""
            rows.append(
                [f"{arm}{system.removeprefix(ADAPTED)}", *cells, mean, " / ".join(differences)]
            )
    return markdown(rows)


if __name__ == "__main__":
    main()
