"""Judged test sets in BEIR's layout: queries that people wrote, to evaluate the adapted model.

A set is used only for evaluation: it is read after the model is finished. Only its embeddings are
stored, by key.
"""

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from customir.embeddings import embed
from customir.encoder.torch_encoder import Encoder, Precision
from customir.errors import UserError
from customir.evaluation.metrics import Qrels, Rankings
from customir.evaluation.systems import (
    ADAPTED,
    BASE,
    BM25,
    SystemResult,
    fuse_with_words,
    measure,
    rank_by_vectors,
    rank_by_words,
)
from customir.progress import Reporter
from customir.runtime.embedder import Embedder, passage_model
from customir.settings import Settings
from customir.workspace import Workspace, content_key

STAGE = "evaluate --beir"
# The first one that exists is used. Published figures are for the test queries.
QRELS_IN_ORDER = ("test.tsv", "dev.tsv", "train.tsv")


@dataclass(frozen=True)
class BeirSet:
    """A test set. A passage is its title and text. Every query has a relevant passage."""

    name: str
    passage_keys: tuple[str, ...]
    passages: tuple[str, ...]
    query_keys: tuple[str, ...]
    queries: tuple[str, ...]
    qrels: Qrels


def read_beir(folder: Path) -> BeirSet:
    """Read corpus.jsonl, queries.jsonl and qrels/*.tsv (test, else dev, else train).

    Queries without a relevant passage are left out.

    Raises:
        UserError: a file is missing, a line is malformed (the message names file and line), or no
            query has a relevant passage.
    """
    corpus = _read_jsonl(folder / "corpus.jsonl")
    texts = _read_jsonl(folder / "queries.jsonl")
    path = next(
        (folder / "qrels" / name for name in QRELS_IN_ORDER if (folder / "qrels" / name).exists()),
        None,
    )
    if path is None:
        raise UserError(f"{folder / 'qrels'}: has none of {', '.join(QRELS_IN_ORDER)}.")
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
    test: BeirSet,
    embedders: Mapping[str, Path],
    int8: Mapping[str, Path],
    settings: Settings,
    workspace: Workspace,
    reporter: Reporter,
    precision: Precision = "fp32",
) -> list[SystemResult]:
    """Compare BM25, every embedder, and the hybrids of base and adapted model on a test set.

    Embeddings are stored in the workspace, each under the key of its text and model.

    Args:
        embedders: sentence-transformers folders by system, "base" among them.
        int8: Folders with an ONNX INT8 export, by system.
        precision: The precision in which `embedders` are run.
    """
    by_words = rank_by_words(test.queries, test.passages)
    runs: dict[str, Rankings] = {BM25: by_words.rows}
    fused: dict[str, Rankings] = {}
    for name, folder in embedders.items():
        encoder, for_passages = (
            Encoder.load(each, settings.device, settings.training.max_seq_length, precision)
            for each in (folder, passage_model(folder))
        )
        title = f"embedding {test.name}, {name}"
        vectors = (
            embed(workspace, STAGE, encoder, test.queries, "query", reporter, title),
            embed(workspace, STAGE, for_passages, test.passages, "passage", reporter, title),
        )
        runs[name] = rank_by_vectors(*vectors)
        if name in (BASE, ADAPTED):
            fused |= fuse_with_words(*vectors, by_words).of(name)
    for name, folder in int8.items():
        runtime = Embedder(folder)
        reporter.say(f"  embedding {test.name}, {name}")
        runs[name] = rank_by_vectors(
            runtime.encode(test.queries, "query"),
            Embedder(passage_model(folder)).encode(test.passages, "passage"),
        )
    runs |= fused
    return measure(
        runs, test.qrels, test.query_keys, test.passage_keys, clusters_of(test),
        settings.evaluation, settings.seed,
    )  # fmt: skip


def clusters_of(test: BeirSet) -> list[str]:
    """A cluster key per query. Queries of several people with the same answers share one key."""
    return [content_key(*sorted(test.qrels[query])) for query in test.query_keys]


def _read_jsonl(path: Path) -> dict[str, str]:
    """The texts by `_id`, each below its title if it has one."""
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
