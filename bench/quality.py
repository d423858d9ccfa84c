"""Does adaptation help on queries that people wrote? The whole way on a judged set's corpus.

For each set: `adapt` reads its corpus.jsonl alone; queries and qrels are read after the model is
exported, by `customir.evaluation.beir`. The peers in the same run are the base model, BM25 and
their fusion. Work is kept in --out and goes on there when it is run again.

    python bench/quality.py --data ../shared/data --sets rhelp-2025-qa aeslc-enron --out /tmp/quality
    python bench/quality.py --quick
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

from customir import models
from customir.errors import UserError
from customir.evaluation.beir import SystemResult, compare_on, read_beir
from customir.evaluation.report import difference_text, verdict_line
from customir.pipeline import Job, check, run_all
from customir.progress import Reporter, reporter_for_terminal
from customir.settings import Settings, read_settings, write_settings
from customir.workspace import Workspace

SETS = ("rhelp-2025-qa", "spamassassin-ham-qa", "aeslc-enron")
QUICK_SET, QUICK_PASSAGES, QUICK_QUERIES = "rhelp-2025-qa", 24, 2


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data", type=Path, default=Path("../shared/data"), help="the sets' folder"
    )
    parser.add_argument("--sets", nargs="+", default=SETS, help="folders below it")
    parser.add_argument("--passages", type=int, default=300, help="to write queries for")
    parser.add_argument("--queries", type=int, default=4, help="for each passage")
    parser.add_argument("--out", type=Path, help="kept there; a temporary folder without it")
    parser.add_argument("--quick", action="store_true", help="one small set, few queries")
    options = parser.parse_args()
    if options.quick:
        options.sets = [QUICK_SET]
        options.passages, options.queries = QUICK_PASSAGES, QUICK_QUERIES
    missing = [name for name in options.sets if not (options.data / name).is_dir()]
    if missing:
        print(f"Skipped: {options.data} does not have {', '.join(missing)}.", file=sys.stderr)
        print(json.dumps({"claims": [], "skipped": missing}))
        return
    reporter = reporter_for_terminal()
    claims = []
    with tempfile.TemporaryDirectory() as temporary:
        root = options.out or Path(temporary)
        for name in options.sets:
            claims += measure(options, name, root / name, reporter)
    print(json.dumps({"claims": claims}))


def measure(
    options: argparse.Namespace, name: str, out: Path, reporter: Reporter
) -> list[dict[str, object]]:
    """Adapt to one set's corpus, then measure; print the table and return the claims."""
    reporter.say(f"== {name}: {options.passages} passages, {options.queries} queries each")
    settings = adapt(options.data / name / "corpus.jsonl", out, options, reporter)
    test = read_beir(options.data / name)
    base = models.locate(settings.embedder, "embedder")
    results = {
        result.system: result
        for result in compare_on(test, base, out / "model", settings, reporter)
    }
    print(f"\n{name}: {len(test.passages)} passages, {len(test.queries)} queries by people")
    for result in results.values():
        print(line_of(result))
    return [claim(name, results, peer) for peer in ("base", "BM25")]


def adapt(corpus: Path, out: Path, options: argparse.Namespace, reporter: Reporter) -> Settings:
    """Run every stage on the corpus; say what the gate decided; return the settings in force."""
    overrides = {
        "sources": [str(corpus.resolve())],
        "synthesis.passages": options.passages,
        "synthesis.queries_per_passage": options.queries,
    }
    settings = read_settings(out, overrides)
    check(settings)
    with Workspace(out) as workspace:
        write_settings(out, settings)
        run_all(Job(workspace, settings, reporter))
        evaluated = workspace.stage("evaluate")
    if evaluated is None:
        raise UserError(f"{out}: not evaluated")
    print(verdict_line(evaluated.detail))
    return settings


def claim(name: str, results: dict[str, SystemResult], peer: str) -> dict[str, object]:
    ours = results["adapted INT8"].metrics["Recall@10"]
    theirs = results[peer].metrics["Recall@10"]
    return {
        "name": f"Recall@10 on {name}",
        "ours": ours,
        "peer": peer,
        "peer_figure": theirs,
        "ratio": ours / theirs if theirs else None,
        "measured": "adapted MiniLM, INT8, on queries that people wrote, all passages",
    }


def line_of(result: SystemResult) -> str:
    """One row: metrics, and the differences to the base with their 95% intervals."""
    parts = [f"{result.system:28}"]
    for metric, value in result.metrics.items():
        difference = result.differences.get(metric)
        text = difference_text(difference) if difference else ""
        parts.append(f"{metric} {value:.3f} {text:26}")
    return "  ".join(parts).rstrip()


if __name__ == "__main__":
    main()
