"""DIR/report.md: what was read, written, judged, trained and measured, the verdict first."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any

from customir.evaluation.metrics import METRICS
from customir.evaluation.significance import Difference
from customir.files import write_atomically
from customir.settings import Settings
from customir.workspace import Workspace
from customir.workspace.documents import read_skipped

REPORT_NAME = "report.md"
BLOCKS = "▁▂▃▄▅▆▇█"
CURVE_POINTS = 40
# The differences that tables show.
COMPARED = ("Recall@10", "nDCG@10")
VERDICTS = ("negative", "ambiguous", "relevant")

StageSummary = dict[str, Any]


def write_report(workspace: Workspace, settings: Settings) -> Path:
    """Write DIR/report.md from the workspace's rows; return its path."""
    path = workspace.folder / REPORT_NAME
    write_atomically(path, report_text(workspace, settings).encode())
    return path


def report_text(workspace: Workspace, settings: Settings) -> str:
    """The report as Markdown. Stages that have not run are left out."""
    sections = [
        _verdict(stage_detail(workspace, "evaluate"), stage_detail(workspace, "export"), settings),
        _corpus(stage_detail(workspace, "ingest"), settings),
        _queries(stage_detail(workspace, "generate")),
        _judge(stage_detail(workspace, "mine")),
        _training(stage_detail(workspace, "train")),
        _export(stage_detail(workspace, "export"), stage_detail(workspace, "index")),
        _times(workspace),
        _skipped(workspace),
    ]
    return "\n".join(line for section in sections for line in section) + "\n"


def comparison_rows(rows: Iterable[StageSummary], confidence: float) -> list[list[str]]:
    """The table of systems, with its header: metrics, and differences to the base.

    Args:
        rows: As `SystemResult.as_row` makes them.
    """
    interval = f"against base ({round(100 * confidence)}% interval)"
    table = [["", *METRICS, *(f"{name} {interval}" for name in COMPARED), f"p ({COMPARED[-1]})"]]
    for row in rows:
        found = [
            Difference(*row[f"{name} difference"]) if f"{name} difference" in row else None
            for name in COMPARED
        ]
        table.append(
            [
                row["system"],
                *(_three(row[name]) for name in METRICS),
                *(difference_text(difference) if difference else "" for difference in found),
                f"{found[-1].p:.4f}" if found[-1] else "",
            ]
        )
    return table


def difference_text(difference: Difference) -> str:
    """A difference with its interval."""
    return f"{difference.mean:+.3f} ({difference.low:+.3f} to {difference.high:+.3f})"


def verdict_line(evaluated: StageSummary) -> str:
    """What ships, and why, in one line."""
    what = "the base model"
    if weight := evaluated["weight"]:
        what = f"the adapted model, with interpolation weight {weight:g}"
    return f"Ships: {what}. {evaluated['reason']}"


def pairs_line(evaluated: StageSummary) -> str:
    """What kinds of self-supervised queries the gate decided by."""
    styles = evaluated["self_supervised"]["styles"].items()
    kinds = ", ".join(f"{count} of style {style}" for style, count in sorted(styles))
    return (
        f"On test queries that people wrote ({kinds}): each searches for its own passage without the "
        "part that the query was taken from, and without the rest of its thread"
    )


def chosen_by(evaluated: StageSummary) -> list[tuple[str, list[StageSummary]]]:
    """The dev metrics by interpolation weight, on each kind of queries."""
    found = [
        ("the LLM's dev queries", evaluated["dev"]),
        ("people's dev queries, which choose the weight", evaluated["self_supervised"]["dev"]),
    ]
    return [(title, rows) for title, rows in found if len(rows) > 1]


def sparkline(values: Sequence[float], points: int = CURVE_POINTS) -> str:
    """The course of `values` in at most `points` block characters, low to high."""
    if not values:
        return ""
    size = max(1, -(-len(values) // points))
    means = [
        sum(values[start : start + size]) / len(values[start : start + size])
        for start in range(0, len(values), size)
    ]
    low, span = min(means), (max(means) - min(means)) or 1.0
    return "".join(BLOCKS[round((mean - low) / span * (len(BLOCKS) - 1))] for mean in means)


def _verdict(detail: StageSummary, exported: StageSummary, settings: Settings) -> list[str]:
    if not detail:
        return ["# CustomIR report", ""]
    lines = ["# CustomIR report", "", f"**{verdict_line(detail)}**", ""]
    lines += [
        f"On {detail['queries']} test queries that the LLM wrote, about {detail['threads']} threads "
        "that were never trained on:",
        "",
    ]
    compared = [*detail["table"], *exported.get("table", [])]
    lines += _table(comparison_rows(compared, settings.evaluation.confidence))
    if pairs := detail["self_supervised"]["table"]:
        lines += ["", f"{pairs_line(detail)}:", ""]
        lines += _table(comparison_rows(pairs, settings.evaluation.confidence))
    for title, dev in chosen_by(detail):
        lines += ["", f"Interpolation weights of the adapter on {title}:", ""]
        lines += _table(
            [["weight", "Recall@10", "nDCG@10"]]
            + [
                [f"{row['weight']:g}", _three(row["Recall@10"]), _three(row["nDCG@10"])]
                for row in dev
            ]
        )
    if styles := detail.get("by_style"):
        lines += ["", f"{COMPARED[0]} by the style of the query:", ""]
        lines += _table(
            [["style", "queries", "base", "adapted", "difference"]]
            + [
                [
                    row["style"], str(row["queries"]), _three(row["base"]), _three(row["adapted"]),
                    difference_text(Difference(*row["difference"])),
                ]
                for row in styles
            ]
        )  # fmt: skip
    return [*lines, ""]


def _corpus(detail: StageSummary, settings: Settings) -> list[str]:
    if not detail:
        return []
    sources = ", ".join(f"`{source}`" for source in settings.sources)
    figures = {
        "read": detail["read"],
        "kept": detail["kept"],
        "skipped": detail["skipped"],
        "new since the last run": detail["new"],
        "changed since then": detail["changed"],
        "removed since then": detail["removed"],
        "characters in the kept documents": detail["characters"],
        **{f"characters cut: {cause}": count for cause, count in detail["cut"].items()},
        "threads": detail["threads"],
        "passages": detail["passages"],
        "near-duplicate groups": detail["duplicate_groups"],
        "passages in these groups": detail["duplicate_passages"],
        "of these, passages that a longer one contains": detail["contained_passages"],
    }
    return ["## Corpus", "", f"Sources: {sources}", "", *_figures(figures), ""]


def _queries(detail: StageSummary) -> list[str]:
    if not detail:
        return []
    figures = {
        sampled_from(detail): detail["sampled_passages"],
        "queries written": detail["written"],
        **{f"rejected: {reason}": n for reason, n in sorted(detail["rejected"].items())},
        **{f"kept: {style}": n for style, n in sorted(detail["kept_by_style"].items())},
        **{f"for {split}": n for split, n in sorted(detail["kept_by_split"].items())},
        "tokens submitted": detail["tokens"]["submitted"],
        "tokens computed": detail["tokens"]["computed"],
    }
    samples = _table(
        [["style", "query"]] + [[row["style"], _cell(row["text"])] for row in detail["samples"]]
    )
    return ["## Queries", "", *_figures(figures), "", *samples, ""]


def sampled_from(detail: StageSummary) -> str:
    """What the LLM wrote for: with enough self-supervised pairs, held-out threads alone."""
    return (
        "passages sampled, from held-out threads" if detail["held_out_only"] else "passages sampled"
    )


def _judge(detail: StageSummary) -> list[str]:
    if not detail:
        return []
    calibration = detail["calibration"]
    if calibration is None:
        said = "No hard negatives were mined."
        if detail["candidates"]:
            said = (
                f"The {detail['candidates']} candidates were not judged; all of them may be used as hard "
                "negatives."
            )
        return ["## Judge", "", said, ""]
    rates = (
        f"Area under the ROC curve {calibration['auc']:.3f} on {calibration['pairs']} known "
        f"positives against as many random passages; at the threshold {calibration['threshold']:+.2f} its true positive rate is "
        f"{calibration['true_positive_rate']:.2f}, its false positive rate "
        f"{calibration['false_positive_rate']:.2f}."
    )
    near = ""
    if calibration["near_auc"] is not None:
        near = (
            f"Against the hardest candidates the area is {calibration['near_auc']:.3f} (at least "
            f"{detail['required_near_auc']:.2f} is required); of these it calls "
            f"{calibration['near_positive_rate']:.0%} relevant."
        )
    verdicts = {name: detail["verdicts"].get(name, 0) for name in VERDICTS}
    use = (
        f"Of {detail['candidates']} candidates for hard negatives, {verdicts['negative']} score "
        f"below {calibration['low']:+.2f} and are kept, {verdicts['ambiguous']} are ambiguous and "
        f"dropped, {verdicts['relevant']} score from {calibration['high']:+.2f} on and are masked."
        if calibration["used"]
        else f"That is too low to be trusted: the {detail['candidates']} candidates were not "
        "judged, and all of them may be used as hard negatives."
    )
    return ["## Judge", "", *(part for part in (rates, near, use) if part), ""]


def _training(detail: StageSummary) -> list[str]:
    if not detail:
        return []
    losses = detail["losses"]
    if not losses:
        return ["## Training", "", f"Not trained: only {detail['examples']} pairs.", ""]
    figures = {
        "pairs": detail["examples"],
        "hard negatives": detail["negatives"],
        "steps": detail["steps"],
        "padding": f"{100 * detail['padding']:.1f}%",
    }
    curve = f"Loss, first step to last: {losses[0]:.3f} `{sparkline(losses)}` {losses[-1]:.3f}"
    return ["## Training", "", *_figures(figures), "", curve, ""]


def _export(exported: StageSummary, indexed: StageSummary) -> list[str]:
    if not exported:
        return []
    parity = exported["parity"]
    figures = {
        **{name: f"{size / 1e6:.1f} MB" for name, size in exported["sizes"].items()},
        "INT8 setting": exported["setting"],
        "INT8 against fp32, cosine": f"mean {parity['mean_cosine']:.4f}, "
        f"smallest {parity['min_cosine']:.4f}",
    }
    if indexed:
        figures["passages in the index"] = indexed["total"]
    return ["## Export", "", *_figures(figures), ""]


def _times(workspace: Workspace) -> list[str]:
    rows = workspace.stage_seconds()
    total = sum(seconds for _, seconds in rows)
    table = [["stage", "seconds"], *([name, f"{seconds:.1f}"] for name, seconds in rows)]
    return ["## Times", "", *_table([*table, ["all", f"{total:.1f}"]]), ""]


def _skipped(workspace: Workspace) -> list[str]:
    rows = read_skipped(workspace)
    if not rows:
        return []
    table = [["source", "message, line or file", "reason"]]
    table += [[_cell(value) for value in astuple(row)] for row in rows]
    return ["## Skipped", "", "Read, but not kept:", "", *_table(table), ""]


def _figures(figures: dict[str, Any]) -> list[str]:
    return _table([["", ""], *([name, str(value)] for name, value in figures.items())])


def _table(rows: Iterable[Sequence[str]]) -> list[str]:
    header, *body = rows
    line = ["---"] * len(header)
    return [f"| {' | '.join(cells)} |" for cells in (header, line, *body)]


def _cell(text: str) -> str:
    """Text that cannot break out of a table cell and is not taken for HTML."""
    return " ".join(re.sub(r"([\\|<`])", r"\\\1", text).split())


def _three(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def stage_detail(workspace: Workspace, stage: str) -> StageSummary:
    """The summary of a finished stage; empty if it has not finished."""
    state = workspace.stage(stage)
    return state.detail if state and state.finished else {}
