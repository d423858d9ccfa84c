"""Which prompt makes the better judge: the area under its ROC curve on pairs judged by people.

Positives are pairs of the training qrels. Against each stand the same passage with a random other
query, and with the query of another passage that BM25 finds this passage for (near). Then: does the
judge favour what its own LLM wrote? The same passages with a query by a person, by the LLM, and
with the passage's own subject, each against such a query of another passage; and how many of the
people's queries a threshold keeps that was set on each kind. The data are a folder with `scifact`
and `aeslc-enron` in BEIR's layout (`--data PATH`); without it there is nothing to measure on, and
the script says so.
"""

import argparse
import csv
import json
import random
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from customir import models
from customir.llm import Engine, Prompt, Sampling, Usage
from customir.negatives.calibration import calibrate
from customir.negatives.judge import EXAMPLES, INSTRUCTION, PASSAGE_TOKENS, Pair, relevance
from customir.processors import usable_processors
from customir.queries.styles import ROTATIONS, STYLES, query_prompt
from customir.retrieval.bm25 import Bm25
from customir.text.mail_labels import without_prefixes

# Folder and qrels. scifact's test part stays unseen; aeslc-enron has only the one.
SETS = (("aeslc-enron", "dev"), ("scifact", "train"))
NEAR_DEPTH = 20
SEED = 0


@dataclass(frozen=True)
class Trio:
    """A passage with the query that is its own, a random one, and a near one.

    `subject` is what the passage's author wrote above it; empty where the set has none.
    """

    passage: str
    queries: tuple[str, str, str]
    subject: str


def read_set(folder: Path, split: str, count: int) -> list[Trio]:
    """`count` passages of a BEIR folder, each with three queries."""
    with (folder / "corpus.jsonl").open(encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    corpus = {
        row["_id"]: f"{row['title']}\n{row['text']}" if row["title"] else row["text"]
        for row in rows
    }
    subjects = {row["_id"]: without_prefixes(row.get("subject", "")) for row in rows}
    with (folder / "queries.jsonl").open(encoding="utf-8") as file:
        texts = {row["_id"]: row["text"] for row in map(json.loads, file)}
    relevant: dict[str, set[str]] = defaultdict(set)
    with (folder / "qrels" / f"{split}.tsv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            if int(row["score"]) > 0:
                relevant[row["query-id"]].add(row["corpus-id"])
    asked, keys = sorted(relevant), list(corpus)
    found, scores = Bm25(list(corpus.values())).top([texts[query] for query in asked], NEAR_DEPTH)
    near: dict[str, tuple[int, str]] = {}
    own: dict[str, str] = {}
    for number, query in enumerate(asked):
        for passage in sorted(relevant[query]):
            own.setdefault(passage, query)
        for rank, row in enumerate(found[number]):
            passage = keys[row]
            if scores[number][rank] > 0 and passage not in relevant[query]:
                near[passage] = min(near.get(passage, (NEAR_DEPTH, "")), (rank, query))
    chosen = sorted(own.keys() & near.keys())
    draw = random.Random(SEED)
    draw.shuffle(chosen)
    trios = []
    for passage in chosen[:count]:
        others = [query for query in asked if passage not in relevant[query]]
        three = (own[passage], draw.choice(others), near[passage][1])
        trios.append(
            Trio(corpus[passage], tuple(texts[query] for query in three), subjects[passage])
        )
    return trios


Ask = Callable[[Engine, list[Pair]], list[float]]


def yes_or_no(build: Callable[[Pair], Prompt]) -> Ask:
    """The judge that compares the logits of Yes and No after the prompt."""
    return lambda engine, pairs: engine.choice([build(pair) for pair in pairs], "Yes", "No")


def shots(passage_first: bool) -> str:
    return "".join(
        f"{in_order(Pair(query, passage), passage_first)}Relevant: {answer}\n\n"
        for passage, query, answer in EXAMPLES
    )


def in_order(pair: Pair, passage_first: bool) -> str:
    parts = (f"Passage: {pair.passage}\n", f"Search: {pair.query}\n")
    return "".join(parts if passage_first else parts[::-1])


def passage_first(pair: Pair) -> Prompt:
    leaf = f"Search: {pair.query}\nRelevant:"
    return Prompt(INSTRUCTION + shots(True), f"Passage: {pair.passage}\n", leaf)


def query_first(pair: Pair) -> Prompt:
    leaf = f"Passage: {pair.passage}\nRelevant:"
    return Prompt(INSTRUCTION + shots(False), f"Search: {pair.query}\n", leaf)


def zero_shot(pair: Pair) -> Prompt:
    leaf = f"Search: {pair.query}\nRelevant:"
    return Prompt(INSTRUCTION, f"Passage: {pair.passage}\n", leaf)


def chat_few_shot(pair: Pair) -> Prompt:
    leaf = f"Search: {pair.query}\nRelevant:"
    return Prompt(INSTRUCTION + shots(True), f"Passage: {pair.passage}\n", leaf, chat=True)


def chat_zero_shot(pair: Pair) -> Prompt:
    leaf = f"Search: {pair.query}"
    return Prompt(INSTRUCTION, f"Passage: {pair.passage}\n", leaf, chat=True)


GRADES = ("0", "1", "2", "3")
GRADED = (
    "How well does the passage fit the search? 0: not at all, 1: the same matter, 2: partly, 3: it "
    "is what the searcher looks for.\n\n"
)


def graded(engine: Engine, pairs: list[Pair]) -> list[float]:
    """The expected grade, of the probabilities of the four digits."""
    shown = "".join(
        f"{in_order(Pair(query, passage), True)}Grade: {3 if answer == 'Yes' else 0}\n\n"
        for passage, query, answer in EXAMPLES
    )
    prompts = [
        Prompt(GRADED + shown, in_order(pair, True), "Grade:") for pair in pairs for _ in GRADES
    ]
    scores = engine.score(prompts, [f" {grade}" for _ in pairs for grade in GRADES])
    likelihoods = np.exp(np.array(scores).reshape(len(pairs), len(GRADES)))
    return (likelihoods @ np.arange(len(GRADES)) / likelihoods.sum(axis=1)).tolist()


def likelihood(engine: Engine, pairs: list[Pair]) -> list[float]:
    """The judge in force."""
    return relevance(engine, pairs).tolist()


PROMPTS: dict[str, Ask] = {
    "query likelihood": likelihood,
    "passage first, 4 examples": yes_or_no(passage_first),
    "passage first, no example": yes_or_no(zero_shot),
    "query first, 4 examples": yes_or_no(query_first),
    "passage first, 4 examples, chat": yes_or_no(chat_few_shot),
    "passage first, no example, chat": yes_or_no(chat_zero_shot),
    "graded 0 to 3, passage first": graded,
}
IN_FORCE = "query likelihood"


def areas(engine: Engine, ask: Ask, trios: list[Trio]) -> tuple[float, float]:
    """AUC of own against random queries, and against near ones."""
    pairs = []
    for trio in trios:
        passage = engine.truncate(trio.passage, PASSAGE_TOKENS).replace("\n", " ")
        pairs += [Pair(query, passage) for query in trio.queries]
    odds = np.array(ask(engine, pairs)).reshape(len(trios), 3)
    own, other, near = odds.T
    return calibrate(own, other, 0.5).auc, calibrate(own, near, 0.5).auc


def self_preference(engine: Engine, trios: list[Trio]) -> list[dict[str, object]]:
    """How the judge in force scores queries by people, by the LLM, and subjects."""
    trios = [trio for trio in trios if trio.subject]
    passages = [engine.truncate(trio.passage, PASSAGE_TOKENS).replace("\n", " ") for trio in trios]
    # All prompts of a call share their examples.
    written = [""] * len(trios)
    for rotation in range(len(ROTATIONS)):
        rows = range(rotation, len(trios), len(ROTATIONS))
        prompts = [
            query_prompt(passages[row], "", STYLES[row % len(STYLES)], rotation) for row in rows
        ]
        answers = engine.generate(prompts, rows, Sampling(0.7, 32))
        for row, answer in zip(rows, answers, strict=True):
            written[row] = answer
    kinds = {
        "by people": [trio.queries[0] for trio in trios],
        "by the LLM": written,
        "subjects": [trio.subject for trio in trios],
    }
    scores = {}
    for kind, queries in kinds.items():
        others = queries[1:] + queries[:1]
        own = relevance(engine, [Pair(*pair) for pair in zip(queries, passages, strict=True)])
        other = relevance(engine, [Pair(*pair) for pair in zip(others, passages, strict=True)])
        scores[kind] = own, other
    people, strangers = scores["by people"]
    print(f"{'known positives':34} median    AUC  threshold  people's kept: own, random")
    claims: list[dict[str, object]] = []
    for kind, (own, other) in scores.items():
        made = calibrate(own, other, 0.5)
        kept, wrong = (float(np.mean(s >= made.threshold)) for s in (people, strangers))
        print(
            f"{kind:34} {np.median(own):6.1f} {made.auc:6.3f} {made.threshold:10.1f} "
            f"{kept:20.3f} {wrong:7.3f}",
            flush=True,
        )
        claims.append(
            {
                "claim": f"people's pairs above the threshold set on queries {kind}",
                "ours": round(kept, 3),
                "peer": "random pairs above it",
                "peer_figure": round(wrong, 3),
                "ratio": round(kept / wrong, 1) if wrong else None,
                "measured_on": f"{len(trios)} pairs of each kind",
            }
        )
    return claims


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="8 passages a set")
    parser.add_argument("--data", type=Path, help="the folder with scifact and aeslc-enron")
    parser.add_argument("--model", default="qwen2.5-coder-0.5b", help="a name, or a GGUF file")
    parser.add_argument("--passages", type=int, default=60, help="of each set")
    parser.add_argument("--only", help="ask with this prompt alone, and compare kinds of queries")
    parser.add_argument("--threads", type=int, default=usable_processors())
    arguments = parser.parse_args()
    count = 8 if arguments.quick else arguments.passages
    claims: list[dict[str, object]] = []
    for name, split in SETS:
        if arguments.data is None or not (arguments.data / name).is_dir():
            print(f"{name}: skipped, no such folder in --data", file=sys.stderr)
            continue
        trios = read_set(arguments.data / name, split, count)
        found: dict[str, tuple[float, float]] = {}
        print(f"{name}: {len(trios)} passages\n{'':34} random   near   tokens  seconds")
        with Engine(models.locate(arguments.model), threads=arguments.threads) as engine:
            for title, ask in PROMPTS.items():
                if arguments.only not in (None, title):
                    continue
                if title.endswith("chat") and engine.chat_frame is None:
                    print(f"{title:34} skipped: the model has no chat template")
                    continue
                engine.usage = Usage()
                start = time.perf_counter()
                found[title] = areas(engine, ask, trios)
                seconds = time.perf_counter() - start
                auc, near = found[title]
                print(
                    f"{title:34} {auc:6.3f} {near:6.3f} {engine.usage.computed:8} {seconds:8.1f}",
                    flush=True,
                )
            if any(trio.subject for trio in trios):
                claims += self_preference(engine, trios)
        for title, both in found.items():
            if title == IN_FORCE:
                continue
            for against, ours, theirs in zip(
                ("random", "near"), found.get(IN_FORCE, ()), both, strict=False
            ):
                claims.append(
                    {
                        "claim": f"judge's AUC against {against} pairs, {name}",
                        "ours": round(ours, 3),
                        "peer": title,
                        "peer_figure": round(theirs, 3),
                        "ratio": round(ours / theirs, 2),
                        "measured_on": f"{len(trios)} pairs of each kind, {arguments.model}",
                    }
                )
    print(json.dumps({"bench": "judge", "claims": claims}))


if __name__ == "__main__":
    main()
