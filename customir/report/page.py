"""DIR/report.html: the report for a browser, one file without scripts or external resources."""

from collections.abc import Sequence
from pathlib import Path
from shlex import quote
from typing import Any

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup

from customir.evaluation.metrics import CURVE_DEPTHS, METRICS
from customir.evaluation.systems import ADAPTED, BASE
from customir.files import write_atomically
from customir.report import wording
from customir.report.plots import (
    Interval,
    Series,
    bars,
    forest,
    group_colour,
    lines,
    palette,
    scatter,
)
from customir.report.run import Run, StageSummary

PAGE_NAME = "report.html"
# The colour of each system's line. A hybrid's line is dashed, in the colour of its embedder.
COLOUR = {"adapted": "c0", "base": "c7", "BM25": "c1", "adapted INT8": "c2", "base INT8": "c2"}
OTHER_COLOUR = "c4"
SKIPPED_SHOWN = 200


def write_page(run: Run) -> Path:
    """Write DIR/report.html; return its path."""
    path = run.folder / PAGE_NAME
    write_atomically(path, page_text(run).encode())
    return path


def page_text(run: Run) -> str:
    """The report as HTML, with corpus text escaped. Stages that have not run are left out."""
    folder = Path(__file__).parent
    templates = Environment(
        loader=FileSystemLoader(folder), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    css = Markup(palette() + (folder / "page.css").read_text(encoding="utf-8"))
    return templates.get_template("page.html").render(
        run=run,
        css=css,
        folder=quote(str(run.folder.resolve())),
        metrics=list(METRICS),
        percent=round(100 * run.settings.evaluation.confidence),
        skipped_shown=SKIPPED_SHOWN,
        wording=wording,
        **_evaluation(run),
        map=_map(run.generate),
        judge=_judge(run.mine),
        training=_training(run.train),
        times=_times(run),
        sizes=_sizes(run),
    )


def _evaluation(run: Run) -> dict[str, Any]:
    """The page's variables about the evaluation; empty if it has not run."""
    evaluated = run.evaluate
    if not evaluated:
        return {}
    written = [*evaluated["table"], *run.export.get("table", [])]
    moved = evaluated.get("movement", {"won": [], "lost": [], "unmoved": []})
    examples = wording.shown_examples(moved)
    return {
        "tiles": _tiles(evaluated),
        "people": _cells(evaluated["self_supervised"]["table"]),
        "written": _cells(written),
        "examples": examples,
        "more_examples": [
            example for example in (*moved["won"], *moved["lost"]) if example not in examples
        ],
        "evaluation_plots": [
            (title, plot, note) for title, plot, note in _plots(evaluated, written) if plot
        ],
    }


def _tiles(evaluated: StageSummary) -> list[dict[str, str]]:
    """The metrics before and after, times 100, on the queries that decide."""
    rows = {row["system"]: row for row in wording.deciding_table(evaluated)}
    if ADAPTED not in rows:
        return []
    return [
        {
            "metric": name,
            "before": f"{100 * rows[BASE][name]:.1f}",
            "after": f"{100 * rows[ADAPTED][name]:.1f}",
        }
        for name in METRICS
    ]


def _cells(rows: Sequence[StageSummary]) -> list[dict[str, Any]]:
    """The table of systems: each metric with its difference from the base."""
    table = []
    for row in rows:
        cells = []
        for name in METRICS:
            found = wording.difference_of(row, name)
            text = f"{wording.difference_text(found)}, p {found.p:.2g}" if found else ""
            cells.append(
                {
                    "value": wording.three_digits(row[name]),
                    "difference": text,
                    "change": wording.significance(found) if found else "",
                }
            )
        table.append({"system": row["system"], "cells": cells})
    return table


def _plots(evaluated: StageSummary, rows: Sequence[StageSummary]) -> list[tuple[str, Markup, str]]:
    """The plots that show where the gain comes from, each with its title and note."""
    metric = wording.COMPARED[0]
    against_base = [
        Interval(row["system"], difference.mean, difference.low, difference.high)
        for row in rows
        if (difference := wording.difference_of(row, metric))
    ]
    curves = [
        Series(
            row["system"],
            [(float(k), row["curve"][k]) for k in map(str, CURVE_DEPTHS) if k in row["curve"]],
            _colour(row["system"]),
            dashed=row["system"].startswith("hybrid"),
        )
        for row in rows
        if row.get("curve") and not row["system"].startswith("RRF")
    ]
    styles = [
        Interval(f"{row['style']}, {row['queries']} queries", *row["difference"][:3])
        for row in evaluated.get("by_style", [])
    ]
    weights = [
        (
            "Interpolation weight",
            lines(
                f"Interpolation weight, on {title}",
                [
                    Series(name, [(row["weight"], row[name]) for row in dev], colour)
                    for name, colour in zip(wording.COMPARED, ("c0", "c1"), strict=True)
                ],
                "interpolation weight of the adapter (0: the base)",
                "metric",
            ),
            f"On {title}. The test queries took no part in the choice.",
        )
        for title, dev in wording.chosen_by(evaluated)
    ]
    return [
        (
            f"{metric} against base",
            forest(f"{metric} against base", against_base),
            "On queries that the LLM wrote. Green: better than chance can explain; red: worse.",
        ),
        (
            "Recall@k",
            lines("Recall@k", curves, "k", "Recall@k", log_x=True, x_ticks=CURVE_DEPTHS),
            "The share of queries that the LLM wrote whose passage is among the first k hits.",
        ),
        (
            "Gain by query style",
            forest("Gain by query style", styles),
            f"{metric} of the adapted model minus that of the base.",
        ),
        *weights,
    ]


def _map(generated: StageSummary) -> dict[str, Any] | None:
    drawn = generated.get("map")
    if not drawn or not drawn["points"]:
        return None
    topics = [", ".join(words) for words in drawn["topics"]] if len(drawn["topics"]) > 1 else []
    points = [(x, y, int(topic)) for x, y, topic in drawn["points"]]
    return {
        "plot": scatter("Passages by topic", points, [words.split(", ")[0] for words in topics]),
        "topics": [
            {"words": words, "colour": group_colour(number)}
            for number, words in enumerate(topics)
            if group_colour(number) != "rest"
        ],
        "note": f"{len(points)} passages by their base embeddings, in the plane of the two principal "
        "components; passages near each other are about similar things. The largest topics are "
        "coloured.",
    }


def _judge(mined: StageSummary) -> dict[str, Any] | None:
    calibration = mined.get("calibration")
    if not calibration:
        return None
    figures = {
        "area under the curve": f"{calibration['auc']:.3f}",
        "known positives, and as many random passages": calibration["pairs"],
        "true positive rate at the threshold": f"{calibration['true_positive_rate']:.2f}",
        "false positive rate at the threshold": f"{calibration['false_positive_rate']:.2f}",
        "candidates for hard negatives": mined["candidates"],
        **{f"called {name}": count for name, count in mined["verdicts"].items()},
    }
    if calibration["near_auc"] is not None:
        figures["area against the hardest candidates"] = f"{calibration['near_auc']:.3f}"
    return {
        "figures": figures,
        "note": ""
        if calibration["used"]
        else "Too low to be trusted: the candidates were not judged.",
        "plot": lines(
            "ROC curve of the judge",
            [Series("judge", calibration["roc"], "c0")],
            "false positive rate", "true positive rate", diagonal=True,
        ),
    }  # fmt: skip


def _training(trained: StageSummary) -> dict[str, Any] | None:
    losses = trained.get("losses")
    if not losses:
        return None
    curve = Series("loss", list(enumerate(losses, start=1)), "c0")
    return {
        "figures": wording.training_figures(trained),
        "plot": lines("Training", [curve], "step", "loss"),
    }


def _times(run: Run) -> dict[str, Any]:
    return {
        "plot": bars("Time by stage", [(name, own, _duration(own)) for name, own in run.seconds]),
        "note": f"All: {_duration(sum(own for _, own in run.seconds))}.",
    }


def _sizes(run: Run) -> dict[str, Any]:
    databases = [run.folder / name for name in ("index.db", "workspace.db")]
    sizes = {
        **run.export.get("sizes", {}),
        **{path.name: path.stat().st_size for path in databases if path.exists()},
    }
    return {
        "plot": bars(
            "Sizes", [(name, size, f"{size / 1e6:.1f} MB") for name, size in sizes.items()]
        ),
        "note": f"{run.index['total']} passages in the index." if run.index else "",
    }


def _colour(system: str) -> str:
    return COLOUR.get(system.removeprefix("hybrid of BM25 and "), OTHER_COLOUR)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"
