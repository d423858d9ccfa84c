"""How long does each stage of `customir adapt` take, and how much memory, as a mailbox grows?

Synthetic mailboxes of 1,000, 10,000 and 100,000 messages, with threads, senders, quotes and lengths as
real mailing lists have them, go through the stages one by one, each in a process of its own. What an
LLM writes is capped, as it is in use, so that it does not grow; here it is capped at a few queries.

    python bench/growth.py --quick                              # 1,000 and 2,000 messages
    python bench/growth.py --messages 1000 10000 --out /tmp/growth
    python bench/growth.py --messages 100000 --until ingest --out /tmp/growth
    python bench/growth.py --table --out /tmp/growth            # what is measured so far
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import accumulate
from pathlib import Path

import numpy as np
import psutil
from tokenizers import Tokenizer

from customir import models
from customir.pipeline import STAGES
from customir.settings import EvaluationSettings, QuerySettings, Settings, write_settings
from customir.workspace import Workspace
from customir.workspace.passages import count_passages

SIZES, QUICK_SIZES = (1_000, 10_000, 100_000), (1_000, 2_000)
LARGE = max(SIZES)
# Two queries for each of 48 passages: the LLM's part is short, and the same for every mailbox.
SETTINGS = Settings(
    llm="smollm2-135m",
    device="cpu",
    queries=QuerySettings(passages=48, queries_per_passage=2),
    evaluation=EvaluationSettings(reference_model=""),
)
SAMPLED_EVERY = 0.5  # seconds
EMBEDDING = ("generate", "evaluate", "index")  # the stages that embed the whole corpus
STAGE_NAMES = tuple(stage.name for stage in STAGES)


@dataclass(frozen=True)
class Measured:
    """One stage on one mailbox.

    Attributes:
        seconds: Of the whole process, start included.
        embedding: Of these, the seconds in which passages of the whole corpus were embedded.
        megabytes: Highest sum of the proportional set sizes (PSS) of the stage's processes.
    """

    messages: int
    passages: int
    stage: str
    seconds: float
    embedding: float
    megabytes: float


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--messages", type=int, nargs="+", default=list(SIZES), help="sizes of the mailboxes")
    add("--until", choices=STAGE_NAMES, default=STAGE_NAMES[-1], help="the last stage that is run")
    add("--out", type=Path, help="folder for mailboxes and results; default: a temporary one")
    add("--table", action="store_true", help="measure nothing, print what --out holds")
    add("--quick", action="store_true", help="1,000 and 2,000 messages")
    options = parser.parse_args()
    if options.quick:
        options.messages = list(QUICK_SIZES)
    with tempfile.TemporaryDirectory() as temporary:
        out = options.out or Path(temporary)
        out.mkdir(parents=True, exist_ok=True)
        if not options.table:
            for messages in options.messages:
                measure(out, messages, options.until)
        report(read_results(out))


def measure(out: Path, messages: int, until: str) -> None:
    """Run the stages on a mailbox of so many messages; those that are done already are left."""
    mailbox, folder = out / f"{messages}.mbox", out / f"adapted-{messages}"
    if not mailbox.exists():
        write_mailbox(mailbox, messages)
    if not folder.exists():
        folder.mkdir(mode=0o700)
        write_settings(folder, SETTINGS.model_copy(update={"sources": (str(mailbox),)}))
    done = {(each.messages, each.stage) for each in read_results(out)}
    for stage in STAGE_NAMES[: STAGE_NAMES.index(until) + 1]:
        if (messages, stage) in done:
            continue
        command = ["ingest", "--out", str(folder)] if stage == "ingest" else [stage, str(folder)]
        seconds, megabytes = run_measured([sys.executable, "-m", "customir", *command])
        with Workspace(folder, write=False) as workspace:
            passages = count_passages(workspace)
            state = workspace.stage(stage)
        works = state.work if state and stage == "generate" else ()
        embedding = sum(work.seconds for work in works if work.kind == "embedding passages")
        if stage == "index":
            embedding = seconds
        found = Measured(messages, passages, stage, seconds, embedding, megabytes)
        print(f"{found}", file=sys.stderr, flush=True)
        with (out / "results.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(found)) + "\n")


def run_measured(command: Sequence[str]) -> tuple[float, float]:
    """Run a command; its seconds, and the highest memory of it and its children in megabytes."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    highest = 0.0
    ended = threading.Event()

    def sample() -> None:
        nonlocal highest
        while not ended.wait(SAMPLED_EVERY):
            highest = max(highest, memory_of(process.pid))

    sampler = threading.Thread(target=sample)
    sampler.start()
    status = process.wait()
    seconds = time.perf_counter() - start
    ended.set()
    sampler.join()
    if status:
        sys.exit(f"{' '.join(command)} ended with exit status {status}.")
    return seconds, highest


def memory_of(pid: int) -> float:
    """Megabytes that a process and its children have in memory, what they share counted once."""
    total = 0
    try:
        process = psutil.Process(pid)
        for each in (process, *process.children(recursive=True)):
            total += each.memory_full_info().pss
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        pass  # it has just ended
    return total / 1e6


def read_results(out: Path) -> list[Measured]:
    path = out / "results.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [Measured(**json.loads(line)) for line in lines]


def report(results: Sequence[Measured]) -> None:
    """Print each stage's seconds and memory by size, and what they grow to."""
    sizes = sorted({each.messages for each in results})
    by = {(each.messages, each.stage): each for each in results}
    print(f"{'stage':10}", *(f"{size:>10,} messages" for size in sizes), f"{'growth':>8}")
    for stage in STAGE_NAMES:
        cells = [by.get((size, stage)) for size in sizes]
        shown = [f"{c.seconds:9.1f} s {c.megabytes:5.0f} MB" if c else " " * 19 for c in cells]
        print(f"{stage:10}", *shown, f"{exponent([c for c in cells if c]):>8}")
    claims = []
    whole = [size for size in sizes if all((size, stage) in by for stage in STAGE_NAMES)]
    for size in whole:
        total = sum(by[size, stage].seconds for stage in STAGE_NAMES)
        print(
            f"{size:,} messages: {total:.0f} s in all, {share(by, size):.0%} in the embedding passes"
        )
    if len(whole) > 1:
        seconds = {stage: extrapolated(by, whole, stage) for stage in STAGE_NAMES}
        total = sum(seconds.values())
        passes = sum(extrapolated(by, whole, stage, "embedding") for stage in EMBEDDING)
        print(
            f"{LARGE:,} messages, extrapolated from {whole[-2]:,} and {whole[-1]:,} in a straight "
            f"line: {total:.0f} s in all, {passes / total:.0%} in the embedding passes; "
            + ", ".join(f"{stage} {value:.0f} s" for stage, value in seconds.items())
        )
        claims.append(
            {
                "name": f"share of the embedding passes at {LARGE:,} messages, extrapolated",
                "ours": round(passes / total, 3), "peer": None, "peer_figure": None, "ratio": None,
                "measured": f"mailboxes of {' and '.join(f'{size:,}' for size in whole)} messages",
            }
        )  # fmt: skip
    claims += [
        {
            "name": f"memory of ingest, {size:,} messages, MB",
            "ours": round(by[size, "ingest"].megabytes), "peer": "limit at 100,000 messages",
            "peer_figure": 1000, "ratio": None, "measured": "synthetic mailbox, all processes",
        }
        for size in sizes
        if (size, "ingest") in by
    ]  # fmt: skip
    print(json.dumps({"bench": "growth", "claims": claims}))


def exponent(cells: Sequence[Measured]) -> str:
    """Of the power of the number of messages that the seconds grow with, over the largest two."""
    if len(cells) < 2:
        return ""
    before, after = cells[-2:]
    ratio = np.log(after.seconds / before.seconds) / np.log(after.messages / before.messages)
    return f"n^{ratio:.2f}"


def extrapolated(
    by: dict[tuple[int, str], Measured], sizes: Sequence[int], stage: str, what: str = "seconds"
) -> float:
    """Seconds of a stage at LARGE messages, on the line through the two largest sizes."""
    x = sizes[-2:]
    y = [getattr(by[size, stage], what) for size in x]
    return max(0.0, y[0] + (y[1] - y[0]) * (LARGE - x[0]) / (x[1] - x[0]))


def share(by: dict[tuple[int, str], Measured], size: int) -> float:
    """The share of the embedding passes in all stages' seconds."""
    stages = [by[size, stage] for stage in STAGE_NAMES]
    return sum(each.embedding for each in stages) / sum(each.seconds for each in stages)


def write_mailbox(path: Path, messages: int) -> None:
    """Write a synthetic mbox.

    Words are those of the base's vocabulary, drawn by Zipf's law, a third of each message's from its
    thread's own topic. Lengths, quotes and sizes of threads are near those of r-sig-debian and r-help:
    95 words of one's own in the median and 970 in the 99th percentile, 3 messages in a thread.
    """
    chance = random.Random(0)
    tokenizer = Tokenizer.from_file(str(models.locate("minilm", "embedder") / "tokenizer.json"))
    ranked = sorted(tokenizer.get_vocab().items(), key=lambda entry: entry[1])
    words = [word for word, _ in ranked if word.isalpha() and word.isascii() and len(word) > 1]
    zipf = list(accumulate(1 / rank for rank in range(2, len(words) + 2)))
    people = [f"{chance.choice(words)}{number}" for number in range(max(20, messages // 25))]
    often = list(accumulate(1 / rank for rank in range(1, len(people) + 1)))
    time_of = datetime(2010, 1, 1, tzinfo=UTC)
    number = 0
    with path.open("w", encoding="utf-8") as file:
        while number < messages:
            topic = chance.choices(words, k=40)
            subject = " ".join(chance.sample(topic, chance.randint(2, 6)))
            earlier: list[tuple[str, str, list[str]]] = []
            for _ in range(min(1 + int(chance.expovariate(1 / 2.2)), messages - number)):
                sender = chance.choices(people, cum_weights=often)[0]
                time_of += timedelta(minutes=chance.expovariate(1 / 30))
                length = max(5, int(chance.lognormvariate(np.log(95), 1.0)))
                text = [
                    chance.choice(topic) if chance.random() < 1 / 3 else word
                    for word in chance.choices(words, cum_weights=zipf, k=length)
                ]
                lines = sentences(text)
                head = [
                    f"From {sender}@example.org {time_of:%a %b %d %H:%M:%S %Y}",
                    f"From: {sender.title()} <{sender}@example.org>",
                    "To: list@example.org",
                    f"Date: {format_datetime(time_of)}",
                    f"Message-ID: <{number}@example.org>",
                    f"Subject: {'Re: ' if earlier else ''}{subject}",
                ]
                body = [*lines, "", sender.title()]
                if earlier:
                    answered, by, said = chance.choice(earlier)
                    head += [f"In-Reply-To: <{answered}@example.org>"]
                    if chance.random() < 0.7:
                        quoted = said[: chance.randint(1, len(said))]
                        body = [
                            f"{by.title()} wrote:",
                            *(f"> {line}" for line in quoted),
                            "",
                            *body,
                        ]
                earlier.append((str(number), sender, lines))
                escaped = (">" + line if line.startswith("From ") else line for line in body)
                file.write("\n".join([*head, "", *escaped, "", ""]))
                number += 1


def sentences(words: Sequence[str]) -> list[str]:
    """Lines of twelve words, every second one the end of a sentence; some ask."""
    lines = [" ".join(words[start : start + 12]) for start in range(0, len(words), 12)]
    return [
        line + (("?" if number % 6 == 1 else ".") if number % 2 else "")
        for number, line in enumerate(line[:1].upper() + line[1:] for line in lines)
    ]


if __name__ == "__main__":
    main()
