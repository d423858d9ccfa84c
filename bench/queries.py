"""What the sampling temperature does to the queries that the LLM writes.

Each arm writes queries in every style for the same passages of a judged set. Printed for each arm: the share
of queries that the filters keep, the share of distinct word pairs among those (distinct-2, Li et al. 2016), how
many words of a query are not in its passage, and how well BM25 finds the passage with it (nDCG@10); beside the
same figures of queries that people wrote for these passages. A query that is kept, varied and no easier than
people's is worth training on. Needs `aeslc-enron` in BEIR's layout (`--data`).

    python bench/queries.py --passages 24
    python bench/queries.py --quick
"""

import argparse
import itertools
import json
import random
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from customir import models
from customir.evaluation.beir import read_beir
from customir.llm import Engine, Sampling
from customir.processors import usable_processors
from customir.queries import filters
from customir.queries.styles import ENGLISH, STYLES
from customir.retrieval.bm25 import Bm25
from customir.text.tokenize import words_of

SET, SEED = "aeslc-enron", 0
DEPTH, MAX_TOKENS, PASSAGE_TOKENS = 50, 32, 128


@dataclass(frozen=True)
class Arm:
    """A sampling temperature."""

    name: str
    temperature: float


ARMS = (
    Arm("temperature 0.3", 0.3),
    Arm("temperature 0.7", 0.7),
    Arm("temperature 1.0", 1.0),
)
DEFAULT = ARMS[1]


@dataclass(frozen=True)
class WrittenQuery:
    """A query, the row of its passage, and the examples in its prompt."""

    text: str
    row: int
    examples: tuple[str, ...] = ()


def write(engine: Engine, passages: list[str], rows: list[int], arm: Arm) -> list[WrittenQuery]:
    """A query in each style for each of `rows`."""
    queries = []
    for rotation in range(len(ENGLISH.rotations)):
        rows_of_rotation = rows[rotation :: len(ENGLISH.rotations)]
        prompted = [(row, style) for row in rows_of_rotation for style in STYLES]
        prompts = [
            ENGLISH.prompt(engine.truncate(passages[row], PASSAGE_TOKENS), style, rotation)
            for row, style in prompted
        ]
        answers = engine.generate(
            prompts, range(len(prompts)), Sampling(arm.temperature, MAX_TOKENS)
        )
        shown = tuple(ENGLISH.shown_queries(rotation))
        queries += [
            WrittenQuery(answer, row, shown)
            for (row, _), answer in zip(prompted, answers, strict=True)
        ]
    return queries


def measure(queries: list[WrittenQuery], passages: list[str], bm25: Bm25) -> dict[str, float]:
    """The figures of one arm."""
    formed = [
        filters.reject_by_form(query.text, passages[query.row], query.examples) is None
        for query in queries
    ]
    repeats = filters.repeated([query.text for query in queries])
    remaining = [
        query
        for query, good, repeat in zip(queries, formed, repeats, strict=True)
        if good and not repeat
    ]
    rows_found, scores = bm25.top([query.text for query in remaining], DEPTH)
    ranks = [
        next((rank for rank in range(rows_found.shape[1]) if scores[number][rank] > 0
              and rows_found[number][rank] == query.row), None)
        for number, query in enumerate(remaining)
    ]  # fmt: skip
    kept = [(query, rank) for query, rank in zip(remaining, ranks, strict=True) if rank is not None]
    pairs = [pair for query, _ in kept for pair in itertools.pairwise(words_of(query.text))]
    new_words = [
        np.mean([word not in words_of(passages[query.row]) for word in words_of(query.text)])
        for query, _ in kept
    ]
    gains = [1 / np.log2(rank + 2) if rank < 10 else 0.0 for _, rank in kept]
    return {
        "kept": len(kept) / len(queries),
        "distinct-2": len(set(pairs)) / max(1, len(pairs)),
        "new words": float(np.mean(new_words)) if new_words else 0.0,
        "nDCG@10 of BM25": float(np.mean(gains)) if gains else 0.0,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="6 passages")
    parser.add_argument("--data", type=Path, default=Path("data"), help=f"the folder with {SET}")
    parser.add_argument("--model", default="qwen2.5-coder-0.5b", help="a name, or a GGUF file")
    parser.add_argument("--passages", type=int, default=60, help="how many passages")
    parser.add_argument("--threads", type=int, default=usable_processors())
    options = parser.parse_args()
    if not (options.data / SET).is_dir():
        print(f"Skipped: {options.data} has no {SET}.", file=sys.stderr)
        print(json.dumps({"bench": "queries", "claims": []}))
        return
    test = read_beir(options.data / SET)
    row_of = {key: row for row, key in enumerate(test.passage_keys)}
    texts = dict(zip(test.query_keys, test.queries, strict=True))
    passages = list(test.passages)
    people = [
        WrittenQuery(texts[query], row_of[key])
        for query, grades in test.qrels.items()
        for key, grade in grades.items()
        if grade > 0
    ]
    rows = sorted({query.row for query in people})
    random.Random(SEED).shuffle(rows)
    rows = rows[: 6 if options.quick else options.passages]
    bm25 = Bm25(passages)
    results = {}
    with Engine(models.locate(options.model), device="cpu", threads=options.threads) as engine:
        for arm in ARMS:
            results[arm.name] = measure(write(engine, passages, rows, arm), passages, bm25)
            print(arm.name, {name: round(value, 3) for name, value in results[arm.name].items()})
    chosen = set(rows)
    by_people = measure([query for query in people if query.row in chosen], passages, bm25)
    print("written by people", {name: round(value, 3) for name, value in by_people.items()})
    claims = [
        {
            "claim": f"queries' {name}",
            "ours": round(value, 3),
            "peer": peer,
            "peer_figure": round(figures[name], 3),
            "ratio": round(value / figures[name], 2) if figures[name] else None,
            "measured_on": f"{options.model}, {len(rows)} mails of {SET}, {len(STYLES)} queries each",
        }
        for peer, figures in {**results, "written by people": by_people}.items()
        if peer != DEFAULT.name
        for name, value in results[DEFAULT.name].items()
    ]
    print(json.dumps({"bench": "queries", "claims": claims}))


if __name__ == "__main__":
    main()
