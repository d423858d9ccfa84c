"""`customir models optimize`: requantise an LLM to a faster format that gives the same verdicts."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from customir.errors import UserError
from customir.llm import Engine
from customir.llm.formats import MIN_SPEEDUP, Candidate, megabytes, temporary_folder
from customir.llm.requantize import FORMATS, kept_name, measure_speed, requantize
from customir.negatives.calibration import calibrate
from customir.negatives.judge import Pair, relevance
from customir.progress import Reporter
from customir.queries.styles import ENGLISH
from customir.workspace import Workspace, content_key
from customir.workspace.passages import read_passages
from customir.workspace.queries import read_queries

# Each passage with its own queries and as many of another: it is computed once for all of them.
PASSAGES, QUERIES = 25, 2


@dataclass(frozen=True)
class JudgedPair:
    """A pair, and whether the query was written for the passage."""

    pair: Pair
    relevant: bool


@dataclass(frozen=True)
class Optimized:
    """The measured formats, the original first, and the path of the fastest: the original, or a new
    file next to it."""

    candidates: tuple[Candidate, ...]
    path: Path


def optimize(
    model: Path, pairs: Sequence[JudgedPair], threads: int, reporter: Reporter
) -> Optimized:
    """Requantise `model` to every format that could win on a CPU, and keep the winner.

    Args:
        model: GGUF file.
        pairs: Relevant and irrelevant pairs whose verdicts are compared.

    Raises:
        UserError: the file cannot be loaded or requantised.
    """
    asked = [judged.pair for judged in pairs]
    relevant = np.array([judged.relevant for judged in pairs])
    reporter.say("measuring the original")
    with Engine(model, device="cpu", threads=threads) as engine:
        original = Candidate("original", megabytes(model), measure_speed(engine), 1.0)
        reference = relevance(engine, asked)
    threshold = calibrate(reference[relevant], reference[~relevant], 0.5).threshold
    candidates, best, winner = [original], original, model
    with temporary_folder(model, model.parent) as folder:
        for name in FORMATS:
            made = folder / f"{name}.gguf"
            reporter.say(f"writing and measuring {name}")
            requantize(model, made, name, threads)
            with Engine(made, device="cpu", threads=threads) as engine:
                candidate = Candidate(name, megabytes(made), measure_speed(engine), None)
                if candidate.faster_than(original) >= MIN_SPEEDUP:
                    verdicts = relevance(engine, asked) >= threshold
                    agreement = float(np.mean(verdicts == (reference >= threshold)))
                    candidate = replace(candidate, agreement=agreement)
            candidates.append(candidate)
            if candidate.holds and candidate.faster_than(best) > 1:
                best, winner = candidate, made
            else:
                made.unlink()
        if winner != model:
            kept = kept_name(model, winner, best.name)
            winner.rename(kept)
            winner = kept
    return Optimized(tuple(candidates), winner)


def builtin_pairs() -> list[JudgedPair]:
    """Pairs from the examples of the prompts: each passage with its own queries and with those of another."""
    return [
        JudgedPair(Pair(query, example.passage), asked is example)
        for number, example in enumerate(ENGLISH.examples)
        for asked in (example, ENGLISH.examples[number - 1])
        for query in asked.queries.values()
    ]


def workspace_pairs(folder: Path) -> list[JudgedPair]:
    """Pairs from a workspace: some passages, each with its own queries and with those of another.

    Raises:
        UserError: there are no queries yet.
    """
    with Workspace(folder, write=False) as workspace:
        contents = {passage.key: passage.content for passage in read_passages(workspace)}
        queries = read_queries(workspace, splits=("train",))
    own: dict[str, list[str]] = {}
    for query in sorted(queries, key=lambda query: content_key("optimize", query.key)):
        if not query.is_self_supervised:
            own.setdefault(query.passage, []).append(query.text)
    chosen = list(own.items())[:PASSAGES]
    if len(chosen) < 2:
        raise UserError(f"{folder}: no queries in it yet. Run: customir generate {folder}")
    return [
        JudgedPair(Pair(text, contents[passage]), texts is mine)
        for number, (passage, mine) in enumerate(chosen)
        for texts in (mine, chosen[number - 1][1])
        for text in texts[:QUERIES]
    ]
