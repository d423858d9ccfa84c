"""The fastest weights of an LLM on this machine: requantised, measured, and kept where they hold.

On a CPU a GGUF's format decides how fast it is; some formats have kernels for its vector units and
others have none.
"""

import shlex
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from customir.errors import UserError
from customir.llm import Engine
from customir.llm.requantize import (
    FORMATS,
    Speed,
    kept_beside,
    kept_name,
    measure_speed,
    requantize,
    was_kept,
)
from customir.negatives.calibration import calibrate
from customir.negatives.judge import Pair, relevance
from customir.progress import Reporter
from customir.queries.styles import EXAMPLES, STYLES
from customir.workspace import Workspace, content_key
from customir.workspace.passages import read_passages
from customir.workspace.queries import read_queries

# Of all verdicts, as many have to be the original's.
AGREEMENT = 0.98
# A winner has to read and write this much faster together, or the original stays.
WORTH = 1.1
# Each passage with its own queries and as many of others: it is computed once for all of them.
PASSAGES, QUERIES = 25, 2
# Fewer queries are written before a faster format would have paid for being tried.
MANY_QUERIES = 400
# Writing a larger file takes minutes.
LARGEST_TRIAL_BYTES = 2_000_000_000


@dataclass(frozen=True)
class JudgedPair:
    """A pair, and whether the query was written for the passage."""

    pair: Pair
    relevant: bool


@dataclass(frozen=True)
class Candidate:
    """A file with its speed, and how often its judgments are the original's.

    Attributes:
        name: The format; "original" for the file that was given.
        agreement: Share of the pairs that it gives the original's verdict on; None where it is
            too slow to be asked.
    """

    name: str
    megabytes: float
    speed: Speed
    agreement: float | None

    @property
    def holds(self) -> bool:
        return self.agreement is not None and self.agreement >= AGREEMENT

    def faster_than(self, other: "Candidate") -> float:
        """How many times as fast, prefill and decoding weighed alike (geometric mean)."""
        prefill = self.speed.prefill / other.speed.prefill
        decode = self.speed.decode / other.speed.decode
        return float(np.sqrt(prefill * decode))


@dataclass(frozen=True)
class Optimized:
    """What was measured, the original first, and the winner: the original's own path, or a new
    file beside it."""

    candidates: tuple[Candidate, ...]
    path: Path


def optimize(
    model: Path, pairs: Sequence[JudgedPair], threads: int, reporter: Reporter
) -> Optimized:
    """Requantise `model` to every format that could win on a CPU, and keep the winner.

    Args:
        model: GGUF file.
        pairs: What verdicts are compared on, relevant and not.

    Raises:
        UserError: the file can't be loaded or written anew.
    """
    asked = [judged.pair for judged in pairs]
    relevant = np.array([judged.relevant for judged in pairs])
    reporter.say("measuring the original")
    with Engine(model, device="cpu", threads=threads) as engine:
        original = Candidate("original", _megabytes(model), measure_speed(engine), 1.0)
        reference = relevance(engine, asked)
    threshold = calibrate(reference[relevant], reference[~relevant], 0.5).threshold
    candidates, best, winner = [original], original, model
    with _workshop(model, model.parent) as folder:
        for name in FORMATS:
            made = folder / f"{name}.gguf"
            reporter.say(f"writing and measuring {name}")
            requantize(model, made, name, threads)
            with Engine(made, device="cpu", threads=threads) as engine:
                candidate = Candidate(name, _megabytes(made), measure_speed(engine), None)
                if candidate.faster_than(original) >= WORTH:
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


def _megabytes(path: Path) -> float:
    return path.stat().st_size / 1e6


@contextmanager
def _workshop(model: Path, parent: Path) -> Iterator[Path]:
    """A folder for files that may not stay; those that a kill left are removed."""
    prefix = f".{model.stem}.optimizing-"
    for left in parent.glob(f"{prefix}*"):
        shutil.rmtree(left)
    with tempfile.TemporaryDirectory(dir=parent, prefix=prefix) as folder:
        yield Path(folder)


def builtin_pairs() -> list[JudgedPair]:
    """Passages that come with the prompts, each with its own queries and those of the one before."""
    return [
        JudgedPair(Pair(getattr(asked, style.name), example.passage), asked is example)
        for number, example in enumerate(EXAMPLES)
        for asked in (example, EXAMPLES[number - 1])
        for style in STYLES
    ]


def workspace_pairs(folder: Path) -> list[JudgedPair]:
    """Some passages of a workspace, each with queries of its own and with those of another.

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


def worth_trying(model: Path, queries: int) -> bool:
    """Whether so much is to be written that a trial of another format would pay."""
    return (
        queries >= MANY_QUERIES
        and model.stat().st_size <= LARGEST_TRIAL_BYTES
        and not kept_beside(model)
        and not was_kept(model)
    )


def try_formats(model: Path, threads: int, folder: Path) -> tuple[str, float]:
    """The format that reads and writes fastest here, and how many times as fast as `model` is.

    Takes seconds; nothing is kept, and nobody asked whether it judges alike.

    Args:
        folder: Where the formats are written meanwhile.
    """
    with Engine(model, device="cpu", threads=threads) as engine:
        original = Candidate("original", _megabytes(model), measure_speed(engine, 1), None)
    found = ("original", 1.0)
    with _workshop(model, folder) as bench:
        for name in FORMATS:
            made = bench / f"{name}.gguf"
            requantize(model, made, name, threads)
            with Engine(made, device="cpu", threads=threads) as engine:
                tried = Candidate(name, _megabytes(made), measure_speed(engine, 1), None)
            made.unlink()
            found = max(found, (name, tried.faster_than(original)), key=lambda pair: pair[1])
    return found


def advice(model: Path, name: str, tried: tuple[str, float] | None) -> str | None:
    """What to say where faster weights for a CPU are at hand, or were measured; else None.

    Args:
        name: What the user calls the model.
        tried: What `try_formats` found.
    """
    if kept := kept_beside(model):
        return f"Faster weights of this LLM are here: --llm {shlex.quote(str(kept[0]))}"
    if tried and tried[1] >= WORTH:
        return (
            f"As {tried[0]} this LLM is {tried[1]:.1f} times as fast here. Whether it judges alike: "
            f"customir models optimize {shlex.quote(name)}"
        )
    return None
