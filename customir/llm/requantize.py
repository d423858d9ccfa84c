"""Requantisation of a GGUF file, and its speed on this machine: on a CPU the format decides it."""

import os
import re
import time
from dataclasses import dataclass
from pathlib import Path

import llama_cpp

from customir.errors import UserError
from customir.files import sha256_of
from customir.llm.engine import Engine
from customir.llm.gguf import keep_log, last_log
from customir.llm.prompt import Prompt, Sampling

# The formats that llama.cpp repacks for the vector units of a CPU.
FORMATS = {
    "q4_0": llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_0,
    "q8_0": llama_cpp.LLAMA_FTYPE_MOSTLY_Q8_0,
}
SENTENCE = "The auditors moved the visit because the cold store is being defrosted that week. "
PREFILL_TOKENS = 500
ANSWERS, ANSWER_TOKENS = 16, 8


@dataclass(frozen=True)
class Speed:
    """Tokens per second of prefill, and of decoding sixteen answers at a time."""

    prefill: float
    decode: float


def requantize(source: Path, target: Path, name: str, threads: int) -> None:
    """Write the weights of `source` in the format `name` to `target`, readable by its owner alone.

    Args:
        name: One of `FORMATS`.

    Raises:
        UserError: llama.cpp cannot requantise the file, or the disk is full.
    """
    parameters = llama_cpp.llama_model_quantize_default_params()
    parameters.allow_requantize = True
    parameters.ftype = FORMATS[name]
    parameters.nthread = threads
    keep_log()
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT, 0o600))
    status = llama_cpp.llama_model_quantize(str(source).encode(), str(target).encode(), parameters)
    if status != 0:
        target.unlink(missing_ok=True)
        raise UserError(
            f"{source}: llama.cpp cannot write it as {name} ({last_log()}). "
            f"It needs up to twice the file's size free in {target.parent}."
        )


def kept_name(source: Path, made: Path, name: str) -> Path:
    """The path of a requantised file: it is beside the original, and its name contains its hash."""
    return source.with_name(f"{source.stem}.{name}-{sha256_of(made)[:12]}.gguf")


def was_kept(path: Path) -> bool:
    """Whether the file has a name that `kept_name` returns."""
    return re.search(rf"\.({'|'.join(FORMATS)})-[0-9a-f]{{12}}\.gguf$", path.name) is not None


def kept_beside(source: Path) -> list[Path]:
    """The requantised files beside `source`."""
    return sorted(
        path for name in FORMATS for path in source.parent.glob(f"{source.stem}.{name}-*.gguf")
    )


def measure_speed(engine: Engine, rounds: int = 3) -> Speed:
    """The best speed of several rounds, each of which takes seconds."""
    prefill, decode = 0.0, 0.0
    text = SENTENCE * (PREFILL_TOKENS // engine.count_tokens(SENTENCE))
    for number in range(rounds):
        before, start = engine.usage.computed, time.perf_counter()
        engine.score([Prompt("", "", f"{number} {text}")], [""])
        prefill = max(prefill, (engine.usage.computed - before) / (time.perf_counter() - start))
    starts = [Prompt("", "", f"{SENTENCE}{number}:") for number in range(ANSWERS)]

    def write(tokens: int) -> tuple[float, int]:
        written, start = engine.usage.written, time.perf_counter()
        engine.generate(starts, range(ANSWERS), Sampling(1.0, tokens))
        return time.perf_counter() - start, engine.usage.written - written

    write(1)  # creates the context for writing
    for _ in range(rounds):
        # The time for reading the prompts is measured and subtracted.
        reading, first = write(1)
        seconds, written = write(1 + ANSWER_TOKENS)
        decode = max(decode, (written - first) / max(seconds - reading, 1e-9))
    return Speed(prefill, decode)
