"""DIR/report.md: the verdict, followed by the figures of every stage."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any

from customir.evaluation.significance import Difference
from customir.files import write_atomically
from customir.report.run import Run, StageSummary
from customir.report.wording import (
    COMPARED,
    chosen_by,
    comparison_rows,
    corpus_figures,
    difference_text,
    headline,
    learned_from,
    membership_line,
    movement_line,
    pairs_line,
    query_figures,
    rank_text,
    reasons,
    senders_line,
    shown_examples,
    three_digits,
    training_figures,
    verdict_line,
    written_line,
)
from customir.workspace.documents import SkippedRow

REPORT_NAME = "report.md"
BLOCKS = "▁▂▃▄▅▆▇█"
CURVE_POINTS = 40
VERDICTS = ("negative", "ambiguous", "relevant")


def write_report(run: Run) -> Path:
    """Write DIR/report.md; return its path."""
    path = run.folder / REPORT_NAME
    write_atomically(path, report_text(run).encode())
    return path


def report_text(run: Run) -> str:
    """The report as Markdown. Stages that have not run are left out."""
    sections = [
        ["# CustomIR report", ""],
        _verdict(run),
        _examples(run.evaluate),
        _comparison(run),
        _corpus(run),
        _queries(run.generate),
        _judge(run.mine),
        _training(run.train),
        _membership(run.evaluate),
        _export(run.export, run.index),
        _times(run.seconds),
        _skipped(run.skipped),
    ]
    return "\n".join(line for section in sections for line in section) + "\n"


def sparkline(values: Sequence[float], points: int = CURVE_POINTS) -> str:
    """Draw `values` as a line of at most `points` block characters, low to high."""
    if not values:
        return ""
    size = max(1, -(-len(values) // points))
    means = [
        sum(values[start : start + size]) / len(values[start : start + size])
        for start in range(0, len(values), size)
    ]
    low, span = min(means), (max(means) - min(means)) or 1.0
    return "".join(BLOCKS[round((mean - low) / span * (len(BLOCKS) - 1))] for mean in means)


def _verdict(run: Run) -> list[str]:
    if not run.evaluate:
        return []
    lines = [f"**{headline(run.evaluate)}**", "", verdict_line(run.evaluate), ""]
    lines += [f"- {reason}" for reason in reasons(run.evaluate)]
    return [*lines, "", learned_from(run), ""]


def _examples(evaluated: StageSummary) -> list[str]:
    """The hits of single queries, before and after."""
    moved = evaluated.get("movement")
    if not moved:
        return []
    lines = ["## Searches before and after", "", movement_line(moved), ""]
    for example in shown_examples(moved):
        lines += [f"Query: {_cell(example['query'])}", ""]
        columns = [
            f"base: {rank_text(example['rank_before'])}",
            f"{evaluated['candidate']}: {rank_text(example['rank_after'])}",
        ]
        hits = zip(example["hits_before"], example["hits_after"], strict=False)
        lines += _table([columns, *([_hit(hit) for hit in pair] for pair in hits)])
        lines.append("")
    return lines


def _hit(hit: Mapping[str, Any]) -> str:
    title = _cell(hit["title"] or hit["text"])
    return f"**{title}**" if hit["is_answer"] else title


def _comparison(run: Run) -> list[str]:
    evaluated, confidence = run.evaluate, run.settings.evaluation.confidence
    if not evaluated:
        return []
    lines = ["## Every system", "", f"{written_line(evaluated)}:", ""]
    compared = [*evaluated["table"], *run.export.get("table", [])]
    lines += _table(comparison_rows(compared, confidence))
    if pairs := evaluated["self_supervised"]["table"]:
        lines += ["", f"{pairs_line(evaluated)}:", ""]
        lines += _table(comparison_rows(pairs, confidence))
    for title, dev in chosen_by(evaluated):
        lines += ["", f"Interpolation weights of the adapter on {title}:", ""]
        lines += _table(
            [["weight", *COMPARED]]
            + [
                [f"{row['weight']:g}", *(three_digits(row[name]) for name in COMPARED)]
                for row in dev
            ]
        )
    if styles := evaluated.get("by_style"):
        lines += ["", f"{COMPARED[0]} by the style of the query:", ""]
        lines += _table(
            [["style", "queries", "base", "adapted", "difference"]]
            + [
                [
                    row["style"], str(row["queries"]), three_digits(row["base"]),
                    three_digits(row["adapted"]), difference_text(Difference(*row["difference"])),
                ]
                for row in styles
            ]
        )  # fmt: skip
    return [*lines, ""]


def _corpus(run: Run) -> list[str]:
    if not run.ingest:
        return []
    sources = ", ".join(f"`{source}`" for source in run.settings.sources)
    named = [f"Sources: {sources}", ""] if sources else []
    return ["## Corpus", "", *named, *_figures(corpus_figures(run.ingest)), ""]


def _queries(generated: StageSummary) -> list[str]:
    if not generated:
        return []
    samples = [[row["style"], _cell(row["text"])] for row in generated["samples"]]
    shown = [*_table([["style", "query"], *samples]), ""] if samples else []
    senders = _cell(senders_line(generated))
    named = [senders, ""] if senders else []
    return ["## Queries", "", *_figures(query_figures(generated)), "", *named, *shown]


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


def _training(trained: StageSummary) -> list[str]:
    if not trained:
        return []
    losses = trained["losses"]
    if not losses:
        return ["## Training", "", f"Not trained: only {trained['examples']} pairs.", ""]
    curve = f"Loss, first step to last: {losses[0]:.3f} `{sparkline(losses)}` {losses[-1]:.3f}"
    return ["## Training", "", *_figures(training_figures(trained)), "", curve, ""]


def _membership(evaluated: StageSummary) -> list[str]:
    line = membership_line(evaluated)
    return ["## What the model gives away", "", line, ""] if line else []


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


def _times(seconds: Sequence[tuple[str, float]]) -> list[str]:
    total = sum(own for _, own in seconds)
    table = [["stage", "seconds"], *([name, f"{own:.1f}"] for name, own in seconds)]
    return ["## Times", "", *_table([*table, ["all", f"{total:.1f}"]]), ""]


def _skipped(rows: Sequence[SkippedRow]) -> list[str]:
    if not rows:
        return []
    table = [["source", "message, line or file", "reason"]]
    table += [[_cell(value) for value in astuple(row)] for row in rows]
    return ["## Skipped", "", "Read, but not kept:", "", *_table(table), ""]


def _figures(figures: Mapping[str, Any]) -> list[str]:
    return _table([["", ""], *([name, str(value)] for name, value in figures.items())])


def _table(rows: Iterable[Sequence[str]]) -> list[str]:
    header, *body = rows
    line = ["---"] * len(header)
    return [f"| {' | '.join(cells)} |" for cells in (header, line, *body)]


def _cell(text: str) -> str:
    """Escape a text so that it stays within a table cell and is not read as HTML."""
    return " ".join(re.sub(r"([\\|<`])", r"\\\1", text).split())
