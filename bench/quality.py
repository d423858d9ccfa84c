"""Does adaptation help on queries that people wrote? Runs the whole pipeline on the corpora of judged sets.

An arm is one way of adapting, that is, a set of settings. Each arm adapts to the corpus of each set alone;
queries and qrels are read when the model is finished, to measure it. What the LLM wrote and judged, and what
the base embedded, is shared by all arms of a set, so another arm costs only its training and measuring.

    python bench/quality.py --sets aeslc-enron rhelp-2025-qa --out /tmp/quality
    python bench/quality.py --sets aeslc-enron --out /tmp/quality --arm hot --against default \\
        --set training.temperature=0.02 --set evaluation.interpolation_weights=[1.0] --until train
    python bench/quality.py --out /tmp/quality --table
    python bench/quality.py --quick
"""

import argparse
import json
import re
import sys
import tempfile
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from customir.exporters.int8 import quantize
from customir.exporters.merge import merge_adapter
from customir.exporters.onnx import export_onnx

from customir.evaluation.beir import BeirSet, clusters_of, compare_on, read_beir
from customir.evaluation.significance import Difference, paired_difference
from customir.evaluation.systems import ADAPTED, BASE, SystemResult, embedders
from customir.files import write_atomically
from customir.job import Job
from customir.job.parity_queries import parity_queries_of
from customir.pipeline import STAGES, check, run_stage
from customir.progress import Reporter, reporter_for_terminal
from customir.report.wording import comparison_rows, difference_text, verdict_line
from customir.settings import Settings, read_settings, write_settings
from customir.workspace import Workspace, content_key
from customir.workspace.database import DATABASE_NAME
from customir.workspace.queries import read_queries

INT8 = f"{ADAPTED} INT8"
UNTIL = ("nothing", "train", "evaluate", "export")
QUICK = {
    "sets": ["rhelp-2025-qa"],
    "documents": 100,
    "measured": 100,
    "among": 300,
    "set": [
        "queries.passages=16", "queries.queries_per_passage=2", "negatives.candidates_per_query=0",
        "evaluation.interpolation_weights=[1.0]", 'evaluation.reference_model=""',
    ],
}  # fmt: skip


@dataclass(frozen=True)
class Kind:
    """The kind of a judged set.

    Attributes:
        group: The group of sets whose mean it is part of.
        title: The field of corpus.jsonl that is the title for users. Adaptation sees it; if it is not
            "title", the set is measured both without and with it.
    """

    group: str
    title: str = "title"


SETS = {
    "aeslc-enron": Kind("mail", "subject"),
    "spamassassin-ham-qa": Kind("mail"),
    "spamassassin-ham-subject": Kind("mail"),
    "rsig-qa": Kind("mail"),
    "rhelp-2025-qa": Kind("mail"),
    "slack-dev-chat": Kind("messages"),
    "ubuntu-irc-conv": Kind("messages"),
    "scifact": Kind("specialist"),
    "nfcorpus": Kind("specialist"),
    "mlquestions": Kind("specialist"),
}


def main() -> None:
    options = read_options()
    if options.table:
        found = list(measured_in(options.out))
        print(f"{table_of(found)}\n{agreement(found)}")
        return
    sets, missing = available_sets(options)
    reporter = reporter_for_terminal()
    found = []
    with tempfile.TemporaryDirectory() as temporary:
        for name in sets:
            root = (options.out or Path(temporary)) / name
            found += run_arm(name, root, options, reporter)
    if found:
        print(f"\n{table_of(found)}\n{agreement(found)}")
    claims = [claim for one in found for claim in claims_of(one)]
    print(json.dumps({"claims": claims, "skipped": missing}))


def parser_for_sets(description: str | None, sets: Sequence[str]) -> argparse.ArgumentParser:
    """A parser with the options of every script that measures on judged sets."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--data", type=Path, default=Path("data"), help="the folder of the judged sets")
    add("--sets", nargs="+", default=list(sets), help="folders in it; default: all")
    add("--measured", type=int, help="how many queries are measured; default: all")
    add(
        "--among",
        type=int,
        help="how many passages are ranked, including all answers; default: all",
    )
    add("--precision", choices=("fp32", "bf16"), default="fp32", help="precision of the embedders")
    return parser


def read_options() -> argparse.Namespace:
    parser = parser_for_sets(__doc__, list(SETS))
    add = parser.add_argument
    add("--out", type=Path, help="the folder for results; default: a temporary folder")
    add("--arm", default="default", help="a name for these settings")
    add(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a setting of customir.toml",
    )
    add(
        "--until", choices=UNTIL, default="export",
        help="the last stage, and so what is measured. nothing: only the baselines; train: the adapted model "
        "with weight 1; evaluate: with the weight chosen on dev; export: also its INT8 export",
    )  # fmt: skip
    add("--documents", type=int, help="how many documents are adapted to; default: all")
    add(
        "--interpolation-weights", type=float, nargs="+", default=[], metavar="WEIGHT",
        help="also measure the interpolations of base and adapted model with these weights",
    )  # fmt: skip
    add("--against", help="also print the difference to this arm, which was measured before")
    add("--table", action="store_true", help="only print everything that was measured in --out")
    add("--quick", action="store_true", help="one small set, few queries")
    options = parser.parse_args()
    if options.quick:
        for name, value in QUICK.items():
            setattr(options, name, value)
    if options.table and not options.out:
        parser.error("--table needs --out.")
    return options


def available_sets(options: argparse.Namespace) -> tuple[list[str], list[str]]:
    """Of the sets in the options, those that the data folder has, and those that it lacks."""
    missing = [name for name in options.sets if not (options.data / name).is_dir()]
    if missing:
        print(f"Skipped: {options.data} has no {', '.join(missing)}.", file=sys.stderr)
    return [name for name in options.sets if name not in missing], missing


def run_arm(
    name: str, root: Path, options: argparse.Namespace, reporter: Reporter
) -> list[dict[str, Any]]:
    """Adapt to one set, measure, print the tables and return them."""
    kind, out = SETS.get(name, Kind("other")), root / options.arm
    reductions = write_corpus(options.data / name / "corpus.jsonl", kind, root, options.documents)
    reporter.say(f"== {name}, {options.arm}")
    shared = root / "shared"
    with Workspace(shared) as shared_workspace:
        settings = settings_of(out, root / "corpus.jsonl", options.set)
        with Workspace(out) as workspace:
            write_settings(out, settings)
            job = Job(workspace, settings, reporter)
            model_of_arm = None
            if options.until != "nothing":
                adapt(job, shared, options.until)
                model_of_arm = candidate(job, options.until, options.interpolation_weights)
        # Only now, when nothing is trained any more, are the set's queries and qrels read.
        found = []
        for label, group, test in views(options.data / name, kind):
            test, left_out = without(test, trained_on(out))
            test, also_reduced = smaller(test, options.measured, options.among)
            results = compare_on(
                test,
                {
                    **embedders(
                        job.embedder,
                        model_of_arm.model if model_of_arm else None,
                        settings.evaluation,
                    ),
                    **(model_of_arm.interpolations if model_of_arm else {}),
                },
                model_of_arm.int8 if model_of_arm else {},
                settings,
                shared_workspace,
                reporter,
                options.precision,
            )
            found.append(
                {
                    "set": label, "group": group, "arm": options.arm, "set_by": options.set,
                    "until": options.until, "precision": options.precision, "passages": len(test.passages),
                    "queries": len(test.queries), "cut": [*reductions, *left_out, *also_reduced],
                    "weight": model_of_arm.weight if model_of_arm else 0.0, "gate": model_of_arm.gate if model_of_arm else {},
                    "seconds": model_of_arm.seconds if model_of_arm else {},
                    "table": [result.as_row() for result in results],
                    "values": values_of(results), "query_keys": test.query_keys,
                    "clusters": clusters_of(test),
                }
            )  # fmt: skip
    write_atomically(out / "measured.json", json.dumps(found).encode())
    for one in found:
        show(one, settings, other_arm(root, options.against, one["set"]))
    return found


def write_corpus(path: Path, kind: Kind, root: Path, documents: int | None) -> list[str]:
    """Write ROOT/corpus.jsonl from the set's corpus; return how it was reduced."""
    rows = list(rows_of(path))
    if documents and documents < len(rows):
        # Whole threads, as in a mailbox.
        chosen = sorted(
            rows, key=lambda row: content_key("subset", row.get("thread") or row["_id"])
        )
        reductions = [f"adapted to {documents} of {len(rows)} documents"]
        rows = chosen[:documents]
    else:
        reductions = []
    lines = [
        json.dumps(
            {
                "_id": row["_id"],
                "title": row.get(kind.title) or "",
                "text": row["text"],
                "thread": row.get("thread") or "",
                "sender": row.get("from") or "",
                "date": row.get("date") or None,
            }
        )
        for row in rows
    ]
    text = "\n".join(lines).encode()
    root.mkdir(parents=True, exist_ok=True)
    if not (root / "corpus.jsonl").exists() or (root / "corpus.jsonl").read_bytes() != text:
        write_atomically(root / "corpus.jsonl", text)
    return reductions


def settings_of(out: Path, corpus: Path, assignments: Sequence[str]) -> Settings:
    """The defaults, overridden by NAME=VALUE assignments."""
    overrides = {"sources": [str(corpus.resolve())], **overrides_of(assignments)}
    # An earlier command may have left other settings.
    (out / "customir.toml").unlink(missing_ok=True)
    settings = read_settings(out, overrides)
    check(settings)
    return settings


def overrides_of(assignments: Sequence[str]) -> dict[str, Any]:
    """Values by dotted name, from NAME=VALUE; a value that is not TOML is a string."""
    overrides: dict[str, Any] = {}
    for assignment in assignments:
        name, _, value = assignment.partition("=")
        try:
            overrides[name] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            overrides[name] = value
    return overrides


def adapt(job: Job, shared: Path, until: str) -> None:
    """Run every stage up to `until`, sharing results with the other arms."""
    fetch_results(job.workspace, shared)
    for stage in STAGES:
        run_stage(stage, job)
        if stage.name == "mine":
            share_results(job.workspace, shared)
        if stage.name == until:
            return


def fetch_results(workspace: Workspace, other: Path) -> None:
    """Copy results of units of work that the workspace lacks from the other workspace."""
    copy_results(workspace, other, "INSERT OR IGNORE INTO result SELECT * FROM other.result")


def share_results(workspace: Workspace, other: Path) -> None:
    """Copy results of units of work to the other workspace."""
    copy_results(workspace, other, "INSERT OR IGNORE INTO other.result SELECT * FROM result")


def copy_results(workspace: Workspace, other: Path, statement: str) -> None:
    workspace.database.execute("ATTACH ? AS other", (str(other / DATABASE_NAME),))
    try:
        with workspace.transaction() as database:
            database.execute(statement)
    finally:
        workspace.database.execute("DETACH other")


@dataclass(frozen=True)
class ArmResult:
    """The model of an arm.

    Attributes:
        weight: The interpolation weight that is measured: the best one above 0 on dev queries,
            whatever the gate decided; 0 if nothing was trained.
        gate: The gate's verdict on held-out queries, and the difference that it measured.
        int8: The model with its INT8 export, by system; empty without an export.
        interpolations: Models with other interpolation weights, by system.
    """

    model: Path
    weight: float
    gate: dict[str, Any]
    int8: dict[str, Path]
    interpolations: dict[str, Path]
    seconds: dict[str, float]


def candidate(job: Job, until: str, weights: Sequence[float]) -> ArmResult:
    """The adapted model to measure, whether shipped or refused, and its other interpolations."""
    state = {stage.name: job.workspace.stage(stage.name) for stage in STAGES}
    trained, evaluated = state["train"], state["evaluate"]
    adapter = trained.detail["adapter"] if trained else None
    weight, gate = (1.0 if adapter else 0.0), {}
    if until != "train" and evaluated:
        detail = evaluated.detail
        weights_on_dev = [
            row for row in detail["self_supervised"]["dev"] or detail["dev"] if row["weight"]
        ]
        if adapter and weights_on_dev:
            weight = max(weights_on_dev, key=lambda row: (row["nDCG@10"], -row["weight"]))["weight"]
        gate = {"ships": detail["weight"], "verdict": verdict_line(detail)}
        for row in detail["table"]:
            if row["system"] == ADAPTED:
                gate["held_out"] = differences_of(row)
        for row in detail["self_supervised"]["table"]:
            if row["system"] == ADAPTED:
                gate["self_supervised"] = differences_of(row)
    seconds = {name: found.seconds for name, found in state.items() if found and found.finished}
    if gate.get("ships") and until == "export":
        model = job.folder / "model"
    else:
        model = merge_adapter(
            job.embedder, job.folder / (adapter or ""), weight, job.folder / "candidate"
        )
        if until == "export":
            job.reporter.say("  exporting the model that the gate refused")
            export_onnx(model)
            quantize(model, parity_queries_of(job))
    interpolations = {
        f"{ADAPTED}, weight {each_weight:g}": merge_adapter(
            job.embedder,
            job.folder / adapter,
            each_weight,
            job.folder / "interpolations" / f"{each_weight:g}",
        )
        for each_weight in weights
        if adapter
    }
    return ArmResult(
        model, weight, gate, {INT8: model} if until == "export" else {}, interpolations, seconds
    )


def differences_of(row: dict[str, Any]) -> dict[str, list[float]]:
    return {name: row[f"{name} difference"] for name in ("Recall@10", "nDCG@10")}


def views(folder: Path, kind: Kind) -> Iterator[tuple[str, str, BeirSet]]:
    """The set as it is and, if users see another title, with that title above the text."""
    test = read_beir(folder)
    yield test.name, kind.group, test
    if kind.title != "title":
        titles = {row["_id"]: row.get(kind.title) or "" for row in rows_of(folder / "corpus.jsonl")}
        passages = [
            f"{titles[key]}\n{text}" if titles[key] else text
            for key, text in zip(test.passage_keys, test.passages, strict=True)
        ]
        label = f"{test.name}, {kind.title} and text"
        yield (
            label,
            f"{kind.group}, with titles",
            replace(test, name=label, passages=tuple(passages)),
        )


def trained_on(out: Path) -> set[str]:
    """The words of every training query, in lower case without punctuation."""
    with Workspace(out, write=False) as workspace:
        return {plain(query.text) for query in read_queries(workspace, splits=("train",))}


def without(test: BeirSet, texts: set[str]) -> tuple[BeirSet, list[str]]:
    """The set without queries that have the words of a training query; how it was reduced."""
    keep = [n for n, text in enumerate(test.queries) if plain(text) not in texts]
    removed = len(test.queries) - len(keep)
    return only(test, keep), [f"left out {removed} queries that were trained on"] if removed else []


def smaller(test: BeirSet, queries: int | None, among: int | None) -> tuple[BeirSet, list[str]]:
    """A sample of the queries, and of the passages with all answers; how it was reduced."""
    reductions = []
    if queries and queries < len(test.queries):
        reductions.append(f"measured on {queries} of {len(test.queries)} queries")
        test = only(test, subsample(test.query_keys)[:queries])
    if among and among < len(test.passages):
        answers = {key for query in test.query_keys for key in test.qrels[query]}
        order = subsample(test.passage_keys)
        keep = [n for n in order if test.passage_keys[n] in answers]
        keep += [n for n in order if test.passage_keys[n] not in answers][
            : max(0, among - len(keep))
        ]
        reductions.append(f"ranked {len(keep)} of {len(test.passages)} passages")
        test = replace(
            test,
            passage_keys=tuple(test.passage_keys[n] for n in sorted(keep)),
            passages=tuple(test.passages[n] for n in sorted(keep)),
        )
    return test, reductions


def subsample(keys: Sequence[str]) -> list[int]:
    """Row numbers in a random order that depends on the keys only."""
    return sorted(range(len(keys)), key=lambda n: content_key("drawn", keys[n]))


def only(test: BeirSet, numbers: Sequence[int]) -> BeirSet:
    return replace(
        test,
        query_keys=tuple(test.query_keys[n] for n in sorted(numbers)),
        queries=tuple(test.queries[n] for n in sorted(numbers)),
    )


def plain(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.lower()))


def values_of(results: Sequence[SystemResult]) -> dict[str, dict[str, list[float]]]:
    return {
        result.system: {name: values.tolist() for name, values in result.by_query.items()}
        for result in results
    }


def other_arm(root: Path, arm: str | None, label: str) -> dict[str, Any] | None:
    if not arm:
        return None
    rows: list[dict[str, Any]] = json.loads((root / arm / "measured.json").read_text())
    return next(row for row in rows if row["set"] == label)


def show(one: dict[str, Any], settings: Settings, other: dict[str, Any] | None) -> None:
    print(f"\n## {one['set']}, {one['arm']}: {one['passages']} passages, {one['queries']} queries")
    print(f"reduced: {'; '.join(one['cut']) or 'nothing'}")
    if one["gate"]:
        print(f"The gate, on held-out queries: {one['gate']['verdict']}")
    print(f"measured in {one['precision']}")
    if one["weight"]:
        print(f"measured with interpolation weight {one['weight']:g}")
    else:
        print("Nothing was trained.")
    times = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in one["seconds"].items())
    print(f"computed by this arm: {times}")
    print(markdown(comparison_rows(one["table"], settings.evaluation.confidence)))
    if other:
        print(f"against {other['arm']}: {against(one, other, settings)}")


def against(one: dict[str, Any], other: dict[str, Any], settings: Settings) -> str:
    """Differences of two arms' adapted models on the queries that both were measured on."""
    position = {key: n for n, key in enumerate(other["query_keys"])}
    both = [(n, position[key]) for n, key in enumerate(one["query_keys"]) if key in position]
    texts = []
    for metric in ("Recall@10", "nDCG@10"):
        ours, theirs = (np.array(arm["values"][ADAPTED][metric]) for arm in (one, other))
        difference = paired_difference(
            ours[[n for n, _ in both]], theirs[[n for _, n in both]],
            [one["clusters"][n] for n, _ in both],
            settings.evaluation.confidence, settings.evaluation.resamples, settings.seed,
        )  # fmt: skip
        texts.append(f"{metric} {difference_text(difference)}, p {difference.p:.4f}")
    return "; ".join(texts)


def measured_in(out: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(out.glob("*/*/measured.json")):
        yield from json.loads(path.read_text())


def table_of(measured: Sequence[dict[str, Any]]) -> str:
    """A row for each arm and set: gains in points of Recall@10, and the means of the groups."""
    rows = [
        ["set", "arm", "queries", "base", "adapted - base", "INT8 - base", "mpnet - base",
         "hybrid: adapted - base", "gate: LLM's queries", "people's", "weight", "reduced"],
    ]  # fmt: skip
    gains: dict[tuple[str, str], list[float]] = {}
    for one in measured:
        by_system = {row["system"]: row for row in one["table"]}
        gain = points(by_system.get(ADAPTED))
        held_out, self_supervised = (
            one["gate"].get(kind, {}).get("Recall@10") for kind in ("held_out", "self_supervised")
        )
        hybrids = [by_system.get(f"hybrid of BM25 and {name}") for name in (ADAPTED, BASE)]
        rows.append(
            [
                one["set"], one["arm"], str(one["queries"]),
                f"{100 * by_system[BASE]['Recall@10']:.1f}", gain,
                points(by_system.get(INT8)), points(by_system.get("mpnet")),
                f"{100 * (hybrids[0]['Recall@10'] - hybrids[1]['Recall@10']):+.1f}"
                if hybrids[0] and hybrids[1] else "",
                f"{points_of(held_out)}{'' if one['gate'].get('ships') else ', refused'}"
                if held_out else "",
                points_of(self_supervised) if self_supervised else "",
                f"{one['weight']:g}",
                "; ".join(one["cut"]),
            ]
        )  # fmt: skip
        if ADAPTED in by_system:
            found = by_system[ADAPTED]["Recall@10"] - by_system[BASE]["Recall@10"]
            gains.setdefault((one["group"], one["arm"]), []).append(100 * found)
    for (group, arm), found in sorted(gains.items()):
        mean = f"{sum(found) / len(found):+.1f}"
        rows.append([f"**mean of {len(found)}: {group}**", arm, "", "", mean, *[""] * 7])
    return markdown(rows)


def agreement(measured: Sequence[dict[str, Any]]) -> str:
    """How often the gate's verdicts agree with people's queries."""
    pairs: Counter[tuple[str, str]] = Counter()
    for one in measured:
        adapted = next((row for row in one["table"] if row["system"] == ADAPTED), None)
        if adapted and one["gate"]:
            difference = Difference(*adapted["nDCG@10 difference"])
            verdict_by_people = (
                "significantly better" if difference.significantly_better
                else "significantly worse" if difference.significantly_worse else "undecided"
            )  # fmt: skip
            pairs["shipped" if one["gate"]["ships"] else "refused", verdict_by_people] += 1
    texts = [
        f"{count} {gate}, {verdict_by_people}"
        for (gate, verdict_by_people), count in sorted(pairs.items())
    ]
    return f"Verdicts of the gate, and nDCG@10 on people's queries: {'; '.join(texts) or 'nothing to compare'}."


def points(row: dict[str, Any] | None) -> str:
    return points_of(row["Recall@10 difference"]) if row else ""


def points_of(difference: Sequence[float]) -> str:
    mean, low, high = (100 * value for value in difference[:3])
    return f"{mean:+.1f} ({low:+.1f} to {high:+.1f})"


def claims_of(one: dict[str, Any]) -> list[dict[str, Any]]:
    by_system = {row["system"]: row["Recall@10"] for row in one["table"]}
    ours = next((name for name in (INT8, ADAPTED) if name in by_system), BASE)
    return [
        {
            "name": f"Recall@10 on {one['set']}",
            "ours": by_system[ours],
            "peer": peer,
            "peer_figure": by_system[peer],
            "ratio": by_system[ours] / by_system[peer] if by_system[peer] else None,
            "measured": f"{ours}, arm {one['arm']}, {one['queries']} queries that people wrote",
        }
        for peer in (BASE, "BM25", "mpnet")
        if peer in by_system and peer != ours
    ]


def rows_of(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def markdown(rows: Sequence[Sequence[str]]) -> str:
    header, *body = rows
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *body))


if __name__ == "__main__":
    main()
