"""The choice of the weight format of a GGUF file that is fastest on this machine.

On a CPU the format decides the speed, because some formats have kernels for its vector units and
others do not.
"""

import shlex
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from customir.llm.engine import Engine
from customir.llm.requantize import (
    FORMATS,
    Speed,
    kept_beside,
    measure_speed,
    requantize,
    was_kept,
)

# At least this share of the verdicts must agree with the original's.
MIN_AGREEMENT = 0.98
# The original is replaced only if prefill and decoding together are at least this much faster.
MIN_SPEEDUP = 1.1
# With fewer queries to write, trying formats takes longer than it saves.
MIN_QUERIES = 400
# Writing a larger file takes minutes.
MAX_TRIAL_BYTES = 2_000_000_000


@dataclass(frozen=True)
class Candidate:
    """A file with its speed, and how often its judgments agree with the original's.

    Attributes:
        name: The format; "original" for the given file.
        agreement: Share of the pairs on which its verdict agrees with the original's; None if it
            was too slow to be judged.
    """

    name: str
    megabytes: float
    speed: Speed
    agreement: float | None

    @property
    def holds(self) -> bool:
        """Whether its verdicts agree with the original's often enough."""
        return self.agreement is not None and self.agreement >= MIN_AGREEMENT

    def faster_than(self, other: "Candidate") -> float:
        """The speedup over `other`: the geometric mean of those of prefill and decoding."""
        prefill = self.speed.prefill / other.speed.prefill
        decode = self.speed.decode / other.speed.decode
        return float(np.sqrt(prefill * decode))


def megabytes(path: Path) -> float:
    """Size of a file in MB."""
    return path.stat().st_size / 1e6


@contextmanager
def temporary_folder(model: Path, parent: Path) -> Iterator[Path]:
    """A folder for candidate files; folders that killed runs left behind are removed."""
    prefix = f".{model.stem}.optimizing-"
    for left in parent.glob(f"{prefix}*"):
        shutil.rmtree(left)
    with tempfile.TemporaryDirectory(dir=parent, prefix=prefix) as folder:
        yield Path(folder)


def worth_trying(model: Path, queries: int) -> bool:
    """Whether so many queries are to be written that a trial of other formats pays off."""
    return (
        queries >= MIN_QUERIES
        and model.stat().st_size <= MAX_TRIAL_BYTES
        and not kept_beside(model)
        and not was_kept(model)
    )


def try_formats(model: Path, threads: int, folder: Path) -> tuple[str, float]:
    """The fastest format, and its speedup over `model`.

    The trial takes seconds and leaves no file. It does not measure whether a format judges like the
    original.

    Args:
        folder: The folder for temporary files in these formats.
    """
    with Engine(model, device="cpu", threads=threads) as engine:
        original = Candidate("original", megabytes(model), measure_speed(engine, 1), None)
    found = ("original", 1.0)
    with temporary_folder(model, folder) as bench:
        for name in FORMATS:
            made = bench / f"{name}.gguf"
            requantize(model, made, name, threads)
            with Engine(made, device="cpu", threads=threads) as engine:
                tried = Candidate(name, megabytes(made), measure_speed(engine, 1), None)
            made.unlink()
            found = max(found, (name, tried.faster_than(original)), key=lambda pair: pair[1])
    return found


def advice(model: Path, name: str, tried: tuple[str, float] | None) -> str | None:
    """What to tell the user about faster weights for this CPU; None if there is nothing to tell.

    Args:
        name: The user's name for the model.
        tried: What `try_formats` returned.
    """
    if kept := kept_beside(model):
        return f"Faster weights of this LLM are here: --llm {shlex.quote(str(kept[0]))}"
    if tried and tried[1] >= MIN_SPEEDUP:
        return (
            f"As {tried[0]} this LLM is {tried[1]:.1f} times as fast here. Whether it judges alike: "
            f"customir models optimize {shlex.quote(name)}"
        )
    return None
