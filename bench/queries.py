"""What temperature and searchers do to the queries that the LLM writes.

The same passages of a judged set, asked in every style by each arm; of each arm: the share of
queries that the filters keep (form, repetition, round trip by BM25), the share of different word
pairs among those (distinct-2, Li et al. 2016), how many of a kept query's words are not in its
passage, and how well BM25 finds the passage with it (nDCG@10), beside the same of the queries that
people wrote for the same passages. A query that is kept, varied and no easier than people's is
worth training on; whether it trains better only bench/quality.py can say. The data are a folder
with `aeslc-enron` in BEIR's layout (`--data PATH`); without it the script says so.
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
from customir.queries.personas import ROLES
from customir.queries.styles import ROTATIONS, STYLES, query_prompt, shown_queries
from customir.retrieval.bm25 import Bm25
from customir.text.tokenize import words_of

SET, MATTER, SEED = "aeslc-enron", "business mail", 0
DEPTH, MAX_TOKENS, PASSAGE_TOKENS = 50, 32, 128


@dataclass(frozen=True)
class Arm:
    """A way of asking. `roles`: who asks; an empty one is nobody."""

    name: str
    temperature: float
    roles: tuple[str, ...] = ("",)


ARMS = (
    Arm("temperature 0.3", 0.3),
    Arm("temperature 0.7", 0.7),
    Arm("temperature 1.0", 1.0),
    Arm("temperature 0.7, searchers", 0.7, ROLES),
)
IN_FORCE = ARMS[1]


@dataclass(frozen=True)
class Asked:
    """A query, the row of its passage, and what its prompt showed."""

    text: str
    row: int
    shown: tuple[str, ...] = ()


def write(engine: Engine, passages: list[str], rows: list[int], arm: Arm) -> list[Asked]:
    """A query in each style for each of `rows`."""
    made = []
    for rotation in range(len(ROTATIONS)):
        mine = rows[rotation :: len(ROTATIONS)]
        who = {row: arm.roles[row % len(arm.roles)].format(MATTER) for row in mine}
        asked = [(row, style) for row in mine for style in STYLES]
        prompts = [
            query_prompt(engine.truncate(passages[row], PASSAGE_TOKENS), who[row], style, rotation)
            for row, style in asked
        ]
        answers = engine.generate(
            prompts, range(len(prompts)), Sampling(arm.temperature, MAX_TOKENS)
        )
        shown = tuple(shown_queries(rotation))
        made += [
            Asked(answer, row, (who[row], *shown))
            for (row, _), answer in zip(asked, answers, strict=True)
        ]
    return made


def measure(queries: list[Asked], passages: list[str], bm25: Bm25) -> dict[str, float]:
    """The figures of one arm."""
    formed = [
        filters.reject_by_form(query.text, passages[query.row], query.shown) is None
        for query in queries
    ]
    again = filters.repeated([query.text for query in queries])
    left = [q for q, good, said in zip(queries, formed, again, strict=True) if good and not said]
    found, scores = bm25.top([query.text for query in left], DEPTH)
    ranks = [
        next((rank for rank in range(found.shape[1]) if scores[number][rank] > 0
              and found[number][rank] == query.row), None)
        for number, query in enumerate(left)
    ]  # fmt: skip
    kept = [(query, rank) for query, rank in zip(left, ranks, strict=True) if rank is not None]
    pairs = [pair for query, _ in kept for pair in itertools.pairwise(words_of(query.text))]
    new = [
        np.mean([word not in words_of(passages[query.row]) for word in words_of(query.text)])
        for query, _ in kept
    ]
    gains = [1 / np.log2(rank + 2) if rank < 10 else 0.0 for _, rank in kept]
    return {
        "kept": len(kept) / len(queries),
        "distinct-2": len(set(pairs)) / max(1, len(pairs)),
        "new words": float(np.mean(new)) if new else 0.0,
        "nDCG@10 of BM25": float(np.mean(gains)) if gains else 0.0,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="6 passages")
    parser.add_argument("--data", type=Path, help=f"the folder with {SET}")
    parser.add_argument("--model", default="qwen2.5-coder-0.5b", help="a name, or a GGUF file")
    parser.add_argument("--passages", type=int, default=60)
    parser.add_argument("--threads", type=int, default=usable_processors())
    options = parser.parse_args()
    if options.data is None or not (options.data / SET).is_dir():
        print(f"{SET}: skipped, no such folder in --data", file=sys.stderr)
        print(json.dumps({"bench": "queries", "claims": []}))
        return
    test = read_beir(options.data / SET)
    row_of = {key: row for row, key in enumerate(test.passage_keys)}
    texts = dict(zip(test.query_keys, test.queries, strict=True))
    passages = list(test.passages)
    people = [
        Asked(texts[query], row_of[key])
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
    print("by people", {name: round(value, 3) for name, value in by_people.items()})
    claims = [
        {
            "claim": f"queries' {name}",
            "ours": round(value, 3),
            "peer": peer,
            "peer_figure": round(figures[name], 3),
            "ratio": round(value / figures[name], 2) if figures[name] else None,
            "measured_on": f"{options.model}, {len(rows)} mails of {SET}, {len(STYLES)} queries each",
        }
        for peer, figures in {**results, "by people": by_people}.items()
        if peer != IN_FORCE.name
        for name, value in results[IN_FORCE.name].items()
    ]
    print(json.dumps({"bench": "queries", "claims": claims}))


if __name__ == "__main__":
    main()
