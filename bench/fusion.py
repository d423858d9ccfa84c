"""Hybrid search: words beside vectors, by several weights and by reciprocal rank fusion, on judged sets.

Measures the base and, if `--out` names the folder of a run of bench/quality.py, the adapted model of
one of its arms; the embeddings of that run are reused.

    python bench/fusion.py --sets rhelp-2025-qa
    python bench/fusion.py --out /tmp/quality --arm default --precision bf16
    python bench/fusion.py --quick
"""

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
from quality import (
    SETS,
    available_sets,
    markdown,
    parser_for_sets,
    smaller,
    trained_on,
    views,
    without,
)

from customir import models
from customir.embeddings import embed
from customir.encoder.torch_encoder import Encoder
from customir.evaluation.beir import STAGE, BeirSet
from customir.evaluation.metrics import Rankings, by_query
from customir.evaluation.systems import (
    ADAPTED,
    BASE,
    BM25,
    fuse_with_words,
    hybrid,
    rank_by_vectors,
    rank_by_words,
    rrf,
)
from customir.progress import reporter_for_terminal
from customir.runtime.fusion import WORD_WEIGHT
from customir.settings import TrainingSettings
from customir.workspace import Workspace

WEIGHTS = (1.0, 2.0, 3.0, 4.0, 5.0, 7.0)  # in standard deviations of the cosines
METRIC = "Recall@10"


def main() -> None:
    options = read_options()
    sets, missing = available_sets(options)
    columns: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        for name in sets:
            root = (options.out or Path(temporary)) / name
            trained = trained_on(root / options.arm) if options.out else set()
            for label, _, test in views(options.data / name, SETS[name]):
                test, _ = without(test, trained)
                test, _ = smaller(test, options.measured, options.among)
                columns[label] = recalls(test, root, options)
    systems = list(dict.fromkeys(system for column in columns.values() for system in column))
    rows = [["", *columns, "mean"]]
    for system in systems:
        values = [100 * column[system] for column in columns.values() if system in column]
        cells = [f"{100 * c[system]:.1f}" if system in c else "" for c in columns.values()]
        rows.append([system, *cells, f"{np.mean(values):.1f}"])
    print(markdown(rows))
    claims = [
        {
            "name": f"{METRIC} on {label}, {hybrid(name)}",
            "ours": column[hybrid(name)],
            "peer": rrf(name),
            "peer_figure": column[rrf(name)],
            "ratio": column[hybrid(name)] / column[rrf(name)] if column[rrf(name)] else None,
            "measured": f"queries that people wrote, weight of the words {WORD_WEIGHT}",
        }
        for label, column in columns.items()
        for name in (BASE, ADAPTED)
        if hybrid(name) in column
    ]
    print(json.dumps({"bench": "fusion", "claims": claims, "skipped": missing}))


def read_options() -> argparse.Namespace:
    parser = parser_for_sets(__doc__, list(SETS))
    add = parser.add_argument
    add(
        "--out",
        type=Path,
        help="the folder of a run of bench/quality.py; default: only the base is measured",
    )
    add("--arm", default="default", help="an arm of that run")
    add("--quick", action="store_true", help="one small set, few queries")
    options = parser.parse_args()
    if options.quick:
        options.sets, options.measured, options.among = ["rhelp-2025-qa"], 50, 200
    return options


def recalls(test: BeirSet, root: Path, options: argparse.Namespace) -> dict[str, float]:
    """Mean Recall@10 by system."""
    word_ranking = rank_by_words(test.queries, test.passages)
    runs: dict[str, Rankings] = {BM25: word_ranking.rows}
    reporter = reporter_for_terminal()
    with Workspace(root / "shared") as workspace:
        for name, folder in embedders(root / options.arm).items():
            encoder = Encoder.load(
                folder, "auto", TrainingSettings().max_seq_length, options.precision
            )
            title = f"embedding {test.name}, {name}"
            queries = embed(workspace, STAGE, encoder, test.queries, "query", reporter, title)
            passages = embed(workspace, STAGE, encoder, test.passages, "passage", reporter, title)
            runs[name] = rank_by_vectors(queries, passages)
            runs |= fuse_with_words(queries, passages, word_ranking).of(name)
            for weight in WEIGHTS:
                fused = fuse_with_words(queries, passages, word_ranking, weight)
                runs[f"{name}, weight of the words {weight:g}"] = fused.hybrid
    return {
        name: float(np.mean(by_query(test.qrels, test.query_keys, test.passage_keys, run)[METRIC]))
        for name, run in runs.items()
    }


def embedders(arm: Path) -> dict[str, Path]:
    """The base and, if the arm has one, the adapted model, whether the gate accepted it or not."""
    base = {BASE: models.locate("minilm", "embedder")}
    for folder in (arm / "candidate", arm / "model"):
        if folder.is_dir():
            return {**base, ADAPTED: folder}
    return base


if __name__ == "__main__":
    main()
