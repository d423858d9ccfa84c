"""Judged test sets in BEIR's layout: queries that people wrote, to measure what was adapted.

Nothing of a set is used but to measure: it is read after the model is made, and written nowhere.
"""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from customir.encoder import Encoder
from customir.errors import UserError
from customir.evaluation.metrics import DEPTH, Qrels, by_query
from customir.evaluation.significance import Difference, paired_bootstrap
from customir.progress import Reporter
from customir.retrieval.bm25 import Bm25
from customir.retrieval.dense import top_k
from customir.runtime.embedder import Embedder
from customir.runtime.fusion import reciprocal_rank_fusion
from customir.settings import Settings

# Of the qrels that a set has, the one that published figures are for.
QRELS_IN_ORDER = ("test.tsv", "dev.tsv", "train.tsv")
# Of each ranking, into a hybrid one.
FUSED = 100


@dataclass(frozen=True)
class BeirSet:
    """A test set. Passages are title and text; only queries with a relevant passage are kept."""

    name: str
    passage_keys: tuple[str, ...]
    passages: tuple[str, ...]
    query_keys: tuple[str, ...]
    queries: tuple[str, ...]
    qrels: Qrels


@dataclass(frozen=True)
class SystemResult:
    """Mean metrics of one system over a set's queries, and their differences to the base."""

    system: str
    metrics: Mapping[str, float]
    differences: Mapping[str, Difference]


def read_beir(folder: Path) -> BeirSet:
    """Read corpus.jsonl, queries.jsonl and qrels/*.tsv (test, else dev, else train).

    Raises:
        UserError: a file is missing, a line is not as it should be (names file and line), or no
            query has a relevant passage.
    """
    corpus = _read_jsonl(folder / "corpus.jsonl")
    texts = _read_jsonl(folder / "queries.jsonl")
    path = next(
        (folder / "qrels" / name for name in QRELS_IN_ORDER if (folder / "qrels" / name).exists()),
        None,
    )
    if path is None:
        raise UserError(f"{folder / 'qrels'}: none of {', '.join(QRELS_IN_ORDER)} is there.")
    qrels: dict[str, dict[str, int]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for number, row in enumerate(csv.reader(file, delimiter="\t"), start=1):
            if number == 1:
                continue
            try:
                query, passage, grade = row[0], row[1], int(row[2])
            except (IndexError, ValueError) as error:
                raise UserError(f"{path}, line {number}: not query, passage and grade.") from error
            if grade > 0 and passage in corpus and query in texts:
                qrels.setdefault(query, {})[passage] = grade
    if not qrels:
        raise UserError(
            f"{path}: no query of queries.jsonl has a relevant passage in corpus.jsonl."
        )
    return BeirSet(
        folder.name,
        tuple(corpus),
        tuple(corpus.values()),
        tuple(qrels),
        tuple(texts[query] for query in qrels),
        qrels,
    )


def compare_on(
    test: BeirSet, base: Path, model: Path, settings: Settings, reporter: Reporter
) -> list[SystemResult]:
    """BM25, base, adapted (fp32 and INT8) and both hybrids on a test set, in one run.

    Args:
        base: The base embedder's folder.
        model: DIR/model.
    """
    bm25_rows, bm25_scores = Bm25(test.passages).top(test.queries, FUSED)
    by_words = [row[score > 0] for row, score in zip(bm25_rows, bm25_scores, strict=True)]
    runs: dict[str, Sequence[np.ndarray]] = {"BM25": by_words}
    for name, folder in (("base", base), ("adapted", model)):
        encoder = Encoder.load(folder, settings.device, settings.training.max_tokens, "fp32")
        runs[name] = _dense(
            encoder.encode(test.queries, "query"),
            encoder.encode(test.passages, "passage", reporter, f"embedding {test.name}, {name}"),
        )
    runtime = Embedder(model)
    reporter.say(f"  embedding {test.name} in INT8")
    runs["adapted INT8"] = _dense(
        runtime.encode(test.queries, "query"), runtime.encode(test.passages, "passage")
    )
    for name in ("base", "adapted"):
        runs[f"hybrid of BM25 and {name}"] = [
            _fused(first, second) for first, second in zip(by_words, runs[name], strict=True)
        ]
    measured = {
        name: by_query(test.qrels, test.query_keys, test.passage_keys, run)
        for name, run in runs.items()
    }
    evaluation = settings.evaluation
    return [
        SystemResult(
            name,
            {metric: float(np.mean(values)) for metric, values in metrics.items()},
            {
                metric: paired_bootstrap(
                    values,
                    measured["base"][metric],
                    test.query_keys,
                    evaluation.confidence,
                    evaluation.resamples,
                    settings.seed,
                )
                for metric, values in metrics.items()
                if name != "base"
            },
        )
        for name, metrics in measured.items()
    ]


def _dense(queries: np.ndarray, passages: np.ndarray) -> list[np.ndarray]:
    return list(top_k(queries, passages, FUSED)[0])


def _fused(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    fused = reciprocal_rank_fusion([[f"{row:09}" for row in rows] for rows in (first, second)])
    return np.array([int(row) for row, _ in fused[:DEPTH]], dtype=np.int64)


def _read_jsonl(path: Path) -> dict[str, str]:
    """Texts by `_id`, with the title above where there is one."""
    texts: dict[str, str] = {}
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                try:
                    row = json.loads(line)
                    title = row.get("title") or ""
                    texts[row["_id"]] = f"{title}\n{row['text']}" if title else row["text"]
                except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
                    raise UserError(
                        f"{path}, line {number}: not a JSON object with `_id` and `text`."
                    ) from error
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; a test set has BEIR's layout.") from error
    return texts
