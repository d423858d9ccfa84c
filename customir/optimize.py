"""The fastest weights of an LLM on this machine: requantised, measured, and kept where they hold.

On a CPU a GGUF's format decides how fast it is; some formats have kernels for its vector units and
others have none.
"""

import shlex
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
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
)
from customir.mining.judge import Pair, relevance
from customir.progress import Reporter
from customir.synthesis.styles import EXAMPLES, STYLES
from customir.workspace import Workspace, content_key
from customir.workspace.passages import read_passages
from customir.workspace.queries import read_queries

# Of all judgments, as many have to fall on the same side of the threshold as the original's.
AGREEMENT = 0.98
# A winner has to read and write this much faster together, or the original stays.
WORTH = 1.1
PAIRS = 200


@dataclass(frozen=True)
class Candidate:
    """A file with its speed, and how often its judgments are the original's.

    Attributes:
        name: The format; "original" for the file that was given.
        agreement: Share of pairs on the same side of the original's median; 1 for the original.
    """

    name: str
    megabytes: float
    speed: Speed
    agreement: float

    @property
    def holds(self) -> bool:
        return self.agreement >= AGREEMENT

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


def optimize(model: Path, pairs: Sequence[Pair], threads: int, reporter: Reporter) -> Optimized:
    """Requantise `model` to every format that could win on a CPU, and keep the winner.

    Args:
        model: GGUF file.
        pairs: What judgments are compared on: half of them relevant, so that the median parts them.

    Raises:
        UserError: the file can't be loaded or written anew.
    """
    reporter.say("measuring the original")
    original, reference = _measure("original", model, pairs, threads, None)
    candidates, best, winner = [original], original, model
    for left in model.parent.glob(f".{model.stem}.optimizing-*"):  # by a run that was killed
        shutil.rmtree(left)
    prefix = f".{model.stem}.optimizing-"
    with tempfile.TemporaryDirectory(dir=model.parent, prefix=prefix) as folder:
        for name in FORMATS:
            made = Path(folder) / f"{name}.gguf"
            reporter.say(f"writing and measuring {name}")
            requantize(model, made, name, threads)
            candidate, _ = _measure(name, made, pairs, threads, reference)
            candidates.append(candidate)
            if (
                candidate.holds
                and candidate.faster_than(original) >= WORTH
                and candidate.faster_than(best) > 1
            ):
                best, winner = candidate, made
            else:
                made.unlink()
        if winner != model:
            kept = kept_name(model, winner, best.name)
            winner.rename(kept)
            winner = kept
    return Optimized(tuple(candidates), winner)


def _measure(
    name: str, path: Path, pairs: Sequence[Pair], threads: int, reference: np.ndarray | None
) -> tuple[Candidate, np.ndarray]:
    with Engine(path, device="cpu", threads=threads) as engine:
        odds = relevance(engine, pairs)
        speed = measure_speed(engine)
    agreement = 1.0 if reference is None else agreement_of(odds, reference)
    return Candidate(name, path.stat().st_size / 1e6, speed, agreement), odds


def agreement_of(odds: np.ndarray, reference: np.ndarray) -> float:
    """The share of pairs that are on the same side of the reference's median by both.

    Args:
        odds, reference: float64 (pairs,), in nats.
    """
    threshold = np.median(reference)
    return float(np.mean((odds >= threshold) == (reference >= threshold)))


def builtin_pairs() -> list[Pair]:
    """Passages that come with the prompts, each with its own queries and those of the next."""
    pairs = []
    for number, example in enumerate(EXAMPLES):
        for asked in (example, EXAMPLES[number - 1]):
            pairs += [Pair(getattr(asked, style.name), example.passage) for style in STYLES]
    return pairs


def workspace_pairs(folder: Path) -> list[Pair]:
    """At most PAIRS pairs of a workspace: queries with their own passage, and with another's.

    Raises:
        UserError: there are no queries yet.
    """
    with Workspace(folder, write=False) as workspace:
        contents = {passage.key: passage.content for passage in read_passages(workspace)}
        queries = read_queries(workspace, splits=("train",))
    queries = sorted(queries, key=lambda query: content_key("optimize", query.key))[: PAIRS // 2]
    if len(queries) < 2:
        raise UserError(f"{folder}: no queries in it yet. Run: customir generate {folder}")
    return [
        Pair(query.text, contents[passage])
        for number, query in enumerate(queries)
        for passage in (query.passage, queries[number - 1].passage)
    ]


def advice(model: Path, name: str) -> str | None:
    """What to say where faster weights for a CPU are at hand, or could be had; else None.

    Args:
        name: What the user calls the model.
    """
    if any(form in model.name.lower() for form in FORMATS):
        return None
    if kept := kept_beside(model):
        return f"Faster weights of this LLM are here: --llm {shlex.quote(str(kept[0]))}"
    return f"It may run faster in another format. To try: customir models optimize {name}"
