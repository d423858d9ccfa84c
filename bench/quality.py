"""Does adaptation help on queries that people wrote? The whole way on a judged set's corpus.

An arm is one way of adapting (its settings). For each set, it is adapted to the set's corpus
alone; queries and qrels are read after the model is made, to measure it. What an LLM wrote or
judged, and what the base embedded, is kept beside the arms and shared by them: another arm costs
its training and its measuring.

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
from customir.report.markdown import comparison_rows, difference_text, verdict_line
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
    """What a set is.

    Attributes:
        group: Whose mean it counts in.
        title: The field of corpus.jsonl that users would have as the title. It is there when the
            corpus is adapted to; the set is measured both without it and with it.
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
    sets, missing = sets_there(options)
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


def options_of_sets(description: str | None, sets: Sequence[str]) -> argparse.ArgumentParser:
    """The options of every script that measures on judged sets: which, how much of them, and how."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--data", type=Path, default=Path("../shared/data"), help="the sets' folder")
    add("--sets", nargs="+", default=list(sets), help="folders below it")
    add("--measured", type=int, help="measure on so many queries; default: all")
    add("--among", type=int, help="rank so many passages, all answers with them; default: all")
    add("--precision", choices=("fp32", "bf16"), default="fp32", help="of the embedders")
    return parser


def read_options() -> argparse.Namespace:
    parser = options_of_sets(__doc__, list(SETS))
    add = parser.add_argument
    add("--out", type=Path, help="kept there; a temporary folder without it")
    add("--arm", default="default", help="the name of these settings")
    add("--set", action="append", default=[], metavar="NAME=VALUE", help="as in customir.toml")
    add(
        "--until", choices=UNTIL, default="export",
        help="nothing: only the baselines are measured; train: the whole adapter, without a gate; "
        "evaluate: the share that dev chose; export: its INT8, too",
    )  # fmt: skip
    add("--documents", type=int, help="adapt to so many, drawn by their names; default: all")
    add(
        "--shares", type=float, nargs="+", default=[], metavar="SHARE",
        help="measure these shares of the adapter, too (customir.toml: evaluation.interpolation_weights)",
    )  # fmt: skip
    add("--against", help="an arm measured before: print the difference to it, too")
    add("--table", action="store_true", help="print all that is measured in --out, and stop")
    add("--quick", action="store_true", help="one small set, few queries")
    options = parser.parse_args()
    if options.quick:
        for name, value in QUICK.items():
            setattr(options, name, value)
    if options.table and not options.out:
        parser.error("--table needs --out")
    return options


def sets_there(options: argparse.Namespace) -> tuple[list[str], list[str]]:
    """The sets asked for that the data's folder has, and those that it has not, which are named."""
    missing = [name for name in options.sets if not (options.data / name).is_dir()]
    if missing:
        print(f"Skipped: {options.data} does not have {', '.join(missing)}.", file=sys.stderr)
    return [name for name in options.sets if name not in missing], missing


def run_arm(
    name: str, root: Path, options: argparse.Namespace, reporter: Reporter
) -> list[dict[str, Any]]:
    """Adapt to one set, then measure; print the tables and return what was measured."""
    kind, out = SETS.get(name, Kind("other")), root / options.arm
    cut = write_corpus(options.data / name / "corpus.jsonl", kind, root, options.documents)
    reporter.say(f"== {name}, {options.arm}")
    shared = root / "shared"
    with Workspace(shared) as kept:
        settings = settings_of(out, root / "corpus.jsonl", options.set)
        with Workspace(out) as workspace:
            write_settings(out, settings)
            job = Job(workspace, settings, reporter)
            made = None
            if options.until != "nothing":
                adapt(job, shared, options.until)
                made = candidate(job, options.until, options.shares)
        # From here on the set's queries and qrels are read; nothing is trained any more.
        found = []
        for label, group, test in views(options.data / name, kind):
            test, left_out = without(test, trained_on(out))
            test, fewer = smaller(test, options.measured, options.among)
            results = compare_on(
                test,
                {
                    **embedders(job.embedder, made.model if made else None, settings.evaluation),
                    **(made.shares if made else {}),
                },
                made.int8 if made else {},
                settings,
                kept,
                reporter,
                options.precision,
            )
            found.append(
                {
                    "set": label, "group": group, "arm": options.arm, "set_by": options.set,
                    "until": options.until, "precision": options.precision, "passages": len(test.passages),
                    "queries": len(test.queries), "cut": [*cut, *left_out, *fewer],
                    "weight": made.alpha if made else 0.0, "gate": made.gate if made else {},
                    "seconds": made.seconds if made else {},
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
    """ROOT/corpus.jsonl: the set's own, with sender and date where it has them; what was cut."""
    rows = list(rows_of(path))
    if documents and documents < len(rows):
        # Whole threads, as a mailbox has them.
        chosen = sorted(
            rows, key=lambda row: content_key("subset", row.get("thread") or row["_id"])
        )
        cut = [f"adapted to {documents} of {len(rows)} documents"]
        rows = chosen[:documents]
    else:
        cut = []
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
    return cut


def settings_of(out: Path, corpus: Path, assigned: Sequence[str]) -> Settings:
    """The defaults with NAME=VALUE laid over."""
    overrides = {"sources": [str(corpus.resolve())], **overrides_of(assigned)}
    # Of this command alone: what an earlier one left in customir.toml is not part of it.
    (out / "customir.toml").unlink(missing_ok=True)
    settings = read_settings(out, overrides)
    check(settings)
    return settings


def overrides_of(assigned: Sequence[str]) -> dict[str, Any]:
    """Values by dotted name, from NAME=VALUE; a value is TOML, or else a text."""
    overrides: dict[str, Any] = {}
    for assignment in assigned:
        name, _, value = assignment.partition("=")
        try:
            overrides[name] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            overrides[name] = value
    return overrides


def adapt(job: Job, shared: Path, until: str) -> None:
    """Every stage up to `until`, with what other arms had computed, and for them."""
    take_results(job.workspace, shared)
    for stage in STAGES:
        run_stage(stage, job)
        if stage.name == "mine":
            give_results(job.workspace, shared)
        if stage.name == until:
            return


def take_results(workspace: Workspace, other: Path) -> None:
    """Copy the results of units of work that the workspace does not have."""
    copy_results(workspace, other, "INSERT OR IGNORE INTO result SELECT * FROM other.result")


def give_results(workspace: Workspace, other: Path) -> None:
    """The other way round."""
    copy_results(workspace, other, "INSERT OR IGNORE INTO other.result SELECT * FROM result")


def copy_results(workspace: Workspace, other: Path, statement: str) -> None:
    workspace.database.execute("ATTACH ? AS other", (str(other / DATABASE_NAME),))
    try:
        with workspace.transaction() as database:
            database.execute(statement)
    finally:
        workspace.database.execute("DETACH other")


@dataclass(frozen=True)
class Made:
    """What an arm made.

    Attributes:
        alpha: Share of the adapter that is measured: the dev queries' choice among all but the
            base, whatever the gate said; 0 where nothing was trained.
        gate: Its verdict on held-out queries, and the difference that it saw.
        int8: The model with its INT8 export, by system; empty unless asked for.
        shares: Models with other shares of the adapter, by system.
    """

    model: Path
    alpha: float
    gate: dict[str, Any]
    int8: dict[str, Path]
    shares: dict[str, Path]
    seconds: dict[str, float]


def candidate(job: Job, until: str, shares: Sequence[float]) -> Made:
    """The adapted model to measure, shipped or refused, and other shares of its adapter."""
    state = {stage.name: job.workspace.stage(stage.name) for stage in STAGES}
    trained, evaluated = state["train"], state["evaluate"]
    adapter = trained.detail["adapter"] if trained else None
    alpha, gate = (1.0 if adapter else 0.0), {}
    if until != "train" and evaluated:
        detail = evaluated.detail
        shares_on_dev = [
            row for row in detail["self_supervised"]["dev"] or detail["dev"] if row["weight"]
        ]
        if adapter and shares_on_dev:
            alpha = max(shares_on_dev, key=lambda row: (row["nDCG@10"], -row["weight"]))["weight"]
        gate = {"ships": detail["weight"], "said": verdict_line(detail)}
        for row in detail["table"]:
            if row["system"] == ADAPTED:
                gate["held_out"] = differences_of(row)
        for row in detail["self_supervised"]["table"]:
            if row["system"] == ADAPTED:
                gate["free"] = differences_of(row)
    seconds = {name: found.seconds for name, found in state.items() if found and found.finished}
    if gate.get("ships") and until == "export":
        model = job.folder / "model"
    else:
        model = merge_adapter(
            job.embedder, job.folder / (adapter or ""), alpha, job.folder / "candidate"
        )
        if until == "export":
            job.reporter.say("  exporting what the gate refused")
            export_onnx(model)
            quantize(model, parity_queries_of(job))
    others = {
        f"{ADAPTED}, share {share:g}": merge_adapter(
            job.embedder, job.folder / adapter, share, job.folder / "shares" / f"{share:g}"
        )
        for share in shares
        if adapter
    }
    return Made(model, alpha, gate, {INT8: model} if until == "export" else {}, others, seconds)


def differences_of(row: dict[str, Any]) -> dict[str, list[float]]:
    return {name: row[f"{name} difference"] for name in ("Recall@10", "nDCG@10")}


def views(folder: Path, kind: Kind) -> Iterator[tuple[str, str, BeirSet]]:
    """The set as it is and, where users would have more of a title, with that above the text."""
    test = read_beir(folder)
    yield test.name, kind.group, test
    if kind.title != "title":
        titles = {row["_id"]: row.get(kind.title) or "" for row in rows_of(folder / "corpus.jsonl")}
        passages = [
            f"{titles[key]}\n{text}" if titles[key] else text
            for key, text in zip(test.passage_keys, test.passages, strict=True)
        ]
        label = f"{test.name}, {kind.title} and text"
        yield label, f"{kind.group}, titled", replace(test, name=label, passages=tuple(passages))


def trained_on(out: Path) -> set[str]:
    """The words of every training query."""
    with Workspace(out, write=False) as workspace:
        return {plain(query.text) for query in read_queries(workspace, splits=("train",))}


def without(test: BeirSet, texts: set[str]) -> tuple[BeirSet, list[str]]:
    """The set less the queries whose words are those of a training query; what was left out."""
    kept = [n for n, text in enumerate(test.queries) if plain(text) not in texts]
    lost = len(test.queries) - len(kept)
    return only(test, kept), [f"left out {lost} queries that were trained on"] if lost else []


def smaller(test: BeirSet, queries: int | None, among: int | None) -> tuple[BeirSet, list[str]]:
    """Fewer queries and passages, drawn by their names, the answers kept; what was cut."""
    cut = []
    if queries and queries < len(test.queries):
        cut.append(f"measured on {queries} of {len(test.queries)} queries")
        test = only(test, subsample(test.query_keys)[:queries])
    if among and among < len(test.passages):
        answers = {key for query in test.query_keys for key in test.qrels[query]}
        order = subsample(test.passage_keys)
        kept = [n for n in order if test.passage_keys[n] in answers]
        kept += [n for n in order if test.passage_keys[n] not in answers][
            : max(0, among - len(kept))
        ]
        cut.append(f"ranked {len(kept)} of {len(test.passages)} passages")
        test = replace(
            test,
            passage_keys=tuple(test.passage_keys[n] for n in sorted(kept)),
            passages=tuple(test.passages[n] for n in sorted(kept)),
        )
    return test, cut


def subsample(keys: Sequence[str]) -> list[int]:
    """Row numbers in an order that the keys alone decide."""
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
    print(f"cut: {'; '.join(one['cut']) or 'nothing'}")
    if one["gate"]:
        print(f"The gate, on queries that nobody wrote: {one['gate']['said']}")
    print(f"measured in {one['precision']}")
    if one["weight"]:
        print(f"measured: {one['weight']:g} of the adapter")
    else:
        print("Nothing was trained.")
    times = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in one["seconds"].items())
    print(f"work, of this arm alone: {times}")
    print(markdown(comparison_rows(one["table"], settings.evaluation.confidence)))
    if other:
        print(f"against {other['arm']}: {against(one, other, settings)}")


def against(one: dict[str, Any], other: dict[str, Any], settings: Settings) -> str:
    """The adapted models of two arms on the queries that both were measured on."""
    place = {key: n for n, key in enumerate(other["query_keys"])}
    both = [(n, place[key]) for n, key in enumerate(one["query_keys"]) if key in place]
    said = []
    for metric in ("Recall@10", "nDCG@10"):
        ours, theirs = (np.array(arm["values"][ADAPTED][metric]) for arm in (one, other))
        difference = paired_difference(
            ours[[n for n, _ in both]], theirs[[n for _, n in both]],
            [one["clusters"][n] for n, _ in both],
            settings.evaluation.confidence, settings.evaluation.resamples, settings.seed,
        )  # fmt: skip
        said.append(f"{metric} {difference_text(difference)}, p {difference.p:.4f}")
    return "; ".join(said)


def measured_in(out: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(out.glob("*/*/measured.json")):
        yield from json.loads(path.read_text())


def table_of(measured: Sequence[dict[str, Any]]) -> str:
    """A row an arm and set: gains in points of Recall@10, and the means of the groups."""
    rows = [
        ["set", "arm", "queries", "base", "adapted - base", "INT8 - base", "mpnet - base",
         "hybrid: adapted - base", "gate's own: the LLM's", "people's", "share", "cut"],
    ]  # fmt: skip
    gains: dict[tuple[str, str], list[float]] = {}
    for one in measured:
        by_system = {row["system"]: row for row in one["table"]}
        gain = points(by_system.get(ADAPTED))
        held_out, free = (
            one["gate"].get(kind, {}).get("Recall@10") for kind in ("held_out", "free")
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
                points_of(free) if free else "",
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
    """How the gate's verdict, on queries that nobody wrote, fits what people's queries say."""
    pairs: Counter[tuple[str, str]] = Counter()
    for one in measured:
        adapted = next((row for row in one["table"] if row["system"] == ADAPTED), None)
        if adapted and one["gate"]:
            difference = Difference(*adapted["nDCG@10 difference"])
            people = (
                "surely better" if difference.significantly_better
                else "surely worse" if difference.significantly_worse else "unsure"
            )  # fmt: skip
            pairs["shipped" if one["gate"]["ships"] else "refused", people] += 1
    said = [
        f"{count} {gate}, by people {people}" for (gate, people), count in sorted(pairs.items())
    ]
    return f"The gate and people's nDCG@10: {'; '.join(said) or 'nothing to compare'}."


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
