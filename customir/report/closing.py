"""The closing output of `customir adapt`, in lines of at most 80 columns."""

import sys
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from shlex import quote
from textwrap import wrap

from rich.cells import cell_len, set_cell_size

from customir.report import wording
from customir.report.page import PAGE_NAME
from customir.report.run import Run, StageSummary
from customir.terminal import one_line

WIDTH = 80
COLUMN = (WIDTH - 2) // 2


def opening_lines(run: Run) -> list[str]:
    """The result, the training data, and, if the base ships, the reasons."""
    evaluated = run.evaluate
    said = [
        wording.headline(evaluated),
        *wording.reasons(evaluated),
        f"{wording.learned_from(run)} {wording.tested_on(evaluated)}",
    ]
    return [line for part in said for line in [*wrap(part, WIDTH), ""]]


def comparison_tables(run: Run) -> list[tuple[str, list[list[str]]]]:
    """A title and a table for each kind of held-out queries, the deciding kind first."""
    evaluated = run.evaluate
    written = [*evaluated["table"], *run.export.get("table", [])]
    tables = [
        ("Queries that people wrote, which decide", evaluated["self_supervised"]["table"]),
        ("Queries that the LLM wrote (customir search ranks by the hybrid)", written),
    ]
    percent = round(100 * run.settings.evaluation.confidence)
    header = ["", *wording.COMPARED, f"gain ({percent}% interval)"]
    return [
        (title, [header, *(_row(row) for row in rows if not row["system"].startswith("RRF"))])
        for title, rows in tables
        if rows
    ]


def _row(row: StageSummary) -> list[str]:
    metric = wording.COMPARED[-1]
    difference = wording.difference_of(row, metric)
    return [
        row["system"],
        *(wording.three_digits(row[name]) for name in wording.COMPARED),
        wording.difference_text(difference) if difference else "",
    ]


def search_lines(evaluated: StageSummary) -> list[str]:
    """Three searches, before and after side by side; only the base's hits if nothing changed."""
    if "movement" not in evaluated:
        return []
    compared = evaluated["candidate"] != "base"
    title = "Searches before and after" if compared else "Searches"
    lines = [f"{title} (* is the passage that the query was written for)"]
    for example in wording.shown_examples(evaluated["movement"]):
        change = f"  [{wording.change_of(example)}]" if compared else ""
        query = _shortened(example["query"], WIDTH - len(change))
        after = _column(evaluated["candidate"], example["rank_after"], example["hits_after"])
        lines += ["", f"{query}{change}"]
        if not compared:
            lines += after
            continue
        before = _column("base", example["rank_before"], example["hits_before"])
        lines += [
            f"{set_cell_size(left, COLUMN)}  {right}".rstrip()
            for left, right in zip_longest(before, after, fillvalue="")
        ]
    return lines


def _column(system: str, rank: int | None, hits: Sequence[StageSummary]) -> list[str]:
    """One system's hits, in lines of at most COLUMN columns."""
    lines = [f"  {system}: {wording.rank_text(rank)}"]
    for place, hit in enumerate(hits, start=1):
        mark = "*" if hit["is_answer"] else " "
        lines.append(f"{mark} {place}. {hit['title'] or hit['text']}")
    return [_shortened(line, COLUMN) for line in lines]


def _shortened(text: str, columns: int) -> str:
    """Shorten a text to one line of at most `columns`, where wide characters take two columns."""
    text = one_line(text)
    if cell_len(text) <= columns:
        return text
    return set_cell_size(text, columns - 1).rstrip() + "…"


def next_lines(folder: Path) -> list[str]:
    """Commands to copy for the report and for searching, and the folder of the model."""
    open_file = "open" if sys.platform == "darwin" else "xdg-open"
    shown = quote(str(folder))
    commands = {
        "Read the report": f"{open_file} {quote(str(folder / PAGE_NAME))}",
        "Search in a browser": f"customir serve {shown}",
        "Search here": f'customir search {shown} "what you are looking for"',
        "Use the model": f"{folder / 'model'} (sentence-transformers, ONNX, ONNX INT8)",
    }
    return [f"{name + ':':21}{command}" for name, command in commands.items()]
