"""Messages per second and memory: CustomIR's mbox reader beside Python's mailbox.mbox.

Both give subject, sender, date and text of every message; the peer uses email's newest policy. Without a
peer, it also measures reading with cleaning on all cores, and the whole of `customir ingest`. Each run is a
process of its own, and the best of three counts.

    python bench/ingest.py FILE.mbox      # without a file: a generated mailbox
    python bench/ingest.py --plain        # a generated one of 10,000 mails of plain text
    python bench/ingest.py --quick
"""

import argparse
import json
import mailbox
import multiprocessing
import random
import resource
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from email import message_from_binary_file, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from customir import models
from customir.corpus.document import RawDocument
from customir.corpus.ingest import batches, ingest
from customir.corpus.prepare import Prepared
from customir.corpus.readers import read_source
from customir.corpus.workers import prepared
from customir.processors import usable_processors
from customir.progress import Silent
from customir.settings import CorpusSettings
from customir.workspace import Workspace

RUNS = 3
Result = tuple[int, int, float, float]
"""Messages read, how many of them have text, seconds, growth of peak memory in MB."""


def ours(path: Path) -> tuple[int, int]:
    """Messages, and how many of them have text."""
    read = texts = 0
    for item in read_source(path):
        read += 1
        texts += isinstance(item, RawDocument)
    return read, texts


def cleaned(path: Path) -> tuple[int, int]:
    """Read, parsed and cleaned, on all cores."""
    read = texts = 0
    for results in prepared(batches([path]), usable_processors()):
        read += len(results)
        texts += sum(isinstance(each, Prepared) for each in results)
    return read, texts


def ingested(path: Path) -> tuple[int, int]:
    """All of `customir ingest`: also threads, passages, near-duplicates, the workspace on disk."""
    tokenizer = models.locate("minilm", "embedder") / "tokenizer.json"
    with tempfile.TemporaryDirectory() as folder, Workspace(Path(folder) / "out") as workspace:
        summary = ingest(
            workspace, [path], CorpusSettings(), tokenizer, Silent(), processes=usable_processors()
        )
    return summary.read, summary.kept


def standard_library(path: Path) -> tuple[int, int]:
    """The same by mailbox.mbox with email.policy.default, which decodes charsets and MIME."""
    read = texts = 0

    def parse(file: Any) -> Any:
        return message_from_binary_file(file, policy=policy.default)

    for message in mailbox.mbox(path, factory=parse, create=False):
        read += 1
        try:
            headers = [message["subject"], message["from"], message["date"]]
            body = message.get_body(preferencelist=("plain", "html"))  # type: ignore[attr-defined]
            texts += bool(headers and body is not None and body.get_content().strip())
        except Exception:  # for example on an unknown charset
            continue
    return read, texts


def generate(path: Path, messages: int, *, plain: bool) -> None:
    """Write mail with quotes and the usual headers: plain, or also base64, quoted-printable, HTML."""
    chance = random.Random(0)
    words = ["".join(chance.choices("aeioustrnlm", k=chance.randint(2, 9))) for _ in range(5000)]
    with path.open("wb") as file:
        for number in range(messages):
            lines = [" ".join(chance.choices(words, k=11)) for _ in range(chance.randint(5, 60))]
            quote = ["> " + line for line in lines[: chance.randint(0, 12)]]
            text = "\n".join([*lines, "", "Ada wrote:", *quote]) + "\nGrüße\n"
            message = EmailMessage()
            for hop in range(6):
                message["Received"] = (
                    f"from a{hop}.example.org by b{hop}.example.org; Thu, 22 Aug 2002"
                )
            message["From"] = f"Jörg {words[number % 50]} <j{number % 50}@example.org>"
            message["Subject"] = " ".join(chance.choices(words, k=5))
            message["Date"] = "Thu, 22 Aug 2002 18:26:25 +0700"
            message["Message-ID"] = f"<{number}@example.org>"
            message.set_content(
                text,
                cte="8bit"
                if plain
                else chance.choice(["8bit", "8bit", "base64", "quoted-printable"]),
            )
            if number % 5 == 0 and not plain:
                message.add_alternative(f"<p>{text}</p>", subtype="html")
            file.write(b"From ada@example.org Thu Aug 22 18:26:25 2002\n")
            file.write(message.as_bytes().replace(b"\nFrom ", b"\n>From ") + b"\n\n")


def measured(read: Callable[[Path], tuple[int, int]], path: Path) -> Result:
    """One run in a fresh process."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_run, read, path).result()


def _run(read: Callable[[Path], tuple[int, int]], path: Path) -> Result:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    messages, texts = read(path)
    seconds = time.perf_counter() - start
    growth = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return messages, texts, seconds, growth / 1024


def main() -> None:
    """Measure both, alternating, and print a table and one line of JSON."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("mbox", nargs="?", type=Path, help="a mailbox; default: generated")
    arguments.add_argument("--plain", action="store_true", help="generate mails of plain text")
    arguments.add_argument("--quick", action="store_true", help="about half a minute")
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = options.mbox or Path(folder) / "generated.mbox"
        if options.mbox is None:
            messages = 4_000 if options.quick else 10_000 if options.plain else 40_000
            generate(path, messages, plain=options.plain)
        best: dict[str, Result] = {}
        for _ in range(RUNS):
            for read in (ours, standard_library, cleaned, ingested):
                result = measured(read, path)
                best[read.__name__] = min(
                    best.get(read.__name__, result), result, key=lambda r: r[2]
                )
        mailbox_text = (
            f"{'given' if options.mbox else 'generated'} mbox, {path.stat().st_size / 1e6:.0f} MB"
        )
    for name, (messages, texts, seconds, memory) in best.items():
        print(
            f"{name:>17}: {messages} messages ({texts} with text) in {seconds:.2f} s, "
            f"{messages / seconds:.0f}/s, {memory:.1f} MB of memory"
        )
    our_best, peer_best = best["ours"], best["standard_library"]
    speed, peer_speed = our_best[0] / our_best[2], peer_best[0] / peer_best[2]
    cores = usable_processors()
    claims = [
        {
            "name": "messages read per second",
            "ours": round(speed),
            "peer": "mailbox.mbox + email.policy.default",
            "peer_figure": round(peer_speed),
            "ratio": round(speed / peer_speed, 2),
            "measured": f"{mailbox_text}, {our_best[0]} messages, subject, sender, date and text; one core",
        },
        *(
            {
                "name": f"messages {what} per second",
                "ours": round(best[name][0] / best[name][2]),
                "peer": None,
                "peer_figure": None,
                "ratio": None,
                "measured": f"{mailbox_text}, {best[name][0]} messages, {cores} processes",
            }
            for name, what in (("cleaned", "read and cleaned"), ("ingested", "ingested"))
        ),
    ]
    print(json.dumps({"bench": "ingest", "claims": claims}))


if __name__ == "__main__":
    main()
