"""Which prompt makes the better judge, by the area under the ROC curve on pairs that people judged.

Positives are pairs of the training qrels. Negatives are the same passage with a random other query, and
with the query of another passage for which BM25 finds this passage ("near"). It then asks whether the judge
favours what its own LLM wrote: the same passages with a query by a person, by the LLM, and with the
passage's own subject, each against such a query of another passage; and how many of people's queries pass a
threshold that was set on each kind. Needs `scifact` and `aeslc-enron` in BEIR's layout (`--data`).

    python bench/judge.py --passages 60
    python bench/judge.py --quick
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
from customir.queries.styles import ENGLISH, STYLES
from customir.retrieval.bm25 import Bm25
from customir.text.mail_labels import without_prefixes

# Folder and qrels. The test qrels of scifact stay unseen; aeslc-enron has dev qrels only.
SETS = (("aeslc-enron", "dev"), ("scifact", "train"))
NEAR_DEPTH = 20
SEED = 0


@dataclass(frozen=True)
class Trio:
    """A passage with its own query, a random one, and a near one.

    `subject` is what the author wrote above the passage, or empty if the set has no subjects.
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
    query_keys, keys = sorted(relevant), list(corpus)
    rows_found, scores = Bm25(list(corpus.values())).top(
        [texts[query] for query in query_keys], NEAR_DEPTH
    )
    near: dict[str, tuple[int, str]] = {}
    own: dict[str, str] = {}
    for number, query in enumerate(query_keys):
        for passage in sorted(relevant[query]):
            own.setdefault(passage, query)
        for rank, row in enumerate(rows_found[number]):
            passage = keys[row]
            if scores[number][rank] > 0 and passage not in relevant[query]:
                near[passage] = min(near.get(passage, (NEAR_DEPTH, "")), (rank, query))
    chosen = sorted(own.keys() & near.keys())
    random_source = random.Random(SEED)
    random_source.shuffle(chosen)
    trios = []
    for passage in chosen[:count]:
        others = [query for query in query_keys if passage not in relevant[query]]
        three = (own[passage], random_source.choice(others), near[passage][1])
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
    """The expected grade, from the probabilities of the four digits."""
    examples = "".join(
        f"{in_order(Pair(query, passage), True)}Grade: {3 if answer == 'Yes' else 0}\n\n"
        for passage, query, answer in EXAMPLES
    )
    prompts = [
        Prompt(GRADED + examples, in_order(pair, True), "Grade:") for pair in pairs for _ in GRADES
    ]
    scores = engine.score(prompts, [f" {grade}" for _ in pairs for grade in GRADES])
    likelihoods = np.exp(np.array(scores).reshape(len(pairs), len(GRADES)))
    return (likelihoods @ np.arange(len(GRADES)) / likelihoods.sum(axis=1)).tolist()


def likelihood(engine: Engine, pairs: list[Pair]) -> list[float]:
    """The judge that CustomIR uses."""
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
DEFAULT = "query likelihood"


def areas(engine: Engine, ask: Ask, trios: list[Trio]) -> tuple[float, float]:
    """AUC of own queries against random ones, and against near ones."""
    pairs = []
    for trio in trios:
        passage = engine.truncate(trio.passage, PASSAGE_TOKENS).replace("\n", " ")
        pairs += [Pair(query, passage) for query in trio.queries]
    odds = np.array(ask(engine, pairs)).reshape(len(trios), 3)
    own, other, near = odds.T
    return calibrate(own, other, 0.5).auc, calibrate(own, near, 0.5).auc


def self_preference(engine: Engine, trios: list[Trio]) -> list[dict[str, object]]:
    """How the judge that CustomIR uses scores queries by people, by the LLM, and subjects."""
    trios = [trio for trio in trios if trio.subject]
    passages = [engine.truncate(trio.passage, PASSAGE_TOKENS).replace("\n", " ") for trio in trios]
    # All prompts of a call share their examples.
    queries_by_llm = [""] * len(trios)
    for rotation in range(len(ENGLISH.rotations)):
        rows = range(rotation, len(trios), len(ENGLISH.rotations))
        prompts = [
            ENGLISH.prompt(passages[row], STYLES[row % len(STYLES)], rotation) for row in rows
        ]
        answers = engine.generate(prompts, rows, Sampling(0.7, 32))
        for row, answer in zip(rows, answers, strict=True):
            queries_by_llm[row] = answer
    kinds = {
        "by people": [trio.queries[0] for trio in trios],
        "by the LLM": queries_by_llm,
        "subjects": [trio.subject for trio in trios],
    }
    scores = {}
    for kind, queries in kinds.items():
        others = queries[1:] + queries[:1]
        own = relevance(engine, [Pair(*pair) for pair in zip(queries, passages, strict=True)])
        other = relevance(engine, [Pair(*pair) for pair in zip(others, passages, strict=True)])
        scores[kind] = own, other
    people, strangers = scores["by people"]
    print(f"{'known positives':34} median    AUC  threshold  people's above it: own, random")
    claims: list[dict[str, object]] = []
    for kind, (own, other) in scores.items():
        calibration = calibrate(own, other, 0.5)
        passing, passing_at_random = (
            float(np.mean(s >= calibration.threshold)) for s in (people, strangers)
        )
        print(
            f"{kind:34} {np.median(own):6.1f} {calibration.auc:6.3f} {calibration.threshold:10.1f} "
            f"{passing:20.3f} {passing_at_random:7.3f}",
            flush=True,
        )
        claims.append(
            {
                "claim": f"people's pairs above the threshold set on queries {kind}",
                "ours": round(passing, 3),
                "peer": "random pairs above it",
                "peer_figure": round(passing_at_random, 3),
                "ratio": round(passing / passing_at_random, 1) if passing_at_random else None,
                "measured_on": f"{len(trios)} pairs of each kind",
            }
        )
    return claims


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="8 passages of each set")
    parser.add_argument(
        "--data", type=Path, default=Path("data"), help="the folder with scifact and aeslc-enron"
    )
    parser.add_argument("--model", default="qwen2.5-coder-0.5b", help="a name, or a GGUF file")
    parser.add_argument("--passages", type=int, default=60, help="of each set")
    parser.add_argument("--only", help="the title of the only prompt to measure")
    parser.add_argument("--threads", type=int, default=usable_processors())
    arguments = parser.parse_args()
    count = 8 if arguments.quick else arguments.passages
    claims: list[dict[str, object]] = []
    for name, split in SETS:
        if not (arguments.data / name).is_dir():
            print(f"Skipped: {arguments.data} has no {name}.", file=sys.stderr)
            continue
        trios = read_set(arguments.data / name, split, count)
        areas_by_prompt: dict[str, tuple[float, float]] = {}
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
                areas_by_prompt[title] = areas(engine, ask, trios)
                seconds = time.perf_counter() - start
                auc, near = areas_by_prompt[title]
                print(
                    f"{title:34} {auc:6.3f} {near:6.3f} {engine.usage.computed:8} {seconds:8.1f}",
                    flush=True,
                )
            if any(trio.subject for trio in trios):
                claims += self_preference(engine, trios)
        for title, peer_areas in areas_by_prompt.items():
            if title == DEFAULT:
                continue
            for against, ours, theirs in zip(
                ("random", "near"), areas_by_prompt.get(DEFAULT, ()), peer_areas, strict=False
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
