"""`customir index SOURCE --out DIR`: seconds until a mailbox can be searched, beside the embedder alone.

The command runs in a process of its own from a cold start: it reads the mail, exports the base to
INT8, embeds the passages and writes the index. The peer is that same INT8 model, which embeds the
same passages in one call and does nothing else. The mail is that of `--data` (a folder of mbox
files), or generated.

    python bench/index_at_once.py --data FOLDER-OF-MBOX-FILES
    python bench/index_at_once.py --quick
"""

import argparse
import json
import mailbox
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from email.message import EmailMessage
from itertools import islice
from multiprocessing import get_context
from pathlib import Path

from customir.processors import usable_processors
from customir.runtime import Embedder, generations
from customir.workspace import Workspace
from customir.workspace.passages import read_passages

ROOT = Path(__file__).parent.parent
SMALL, LARGE, QUICK = 500, 10_000, 1_500


@dataclass(frozen=True)
class Run:
    """What was measured on one mailbox; seconds of the whole command and of the embedder alone."""

    messages: int
    passages: int
    command: float
    embedder: float

    @property
    def share(self) -> float:
        """Of the embedder's own speed."""
        return self.embedder / self.command


def main() -> None:
    """Measure both mailboxes, and print a table and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--data", type=Path, help="a folder of mbox files; by default generated mail"
    )
    parser.add_argument("--messages", type=int, default=LARGE, help=f"default: {LARGE}")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} messages; about a minute")
    options = parser.parse_args()
    print("messages  passages  customir index, s  embedder alone, s  share of its speed")
    runs = []
    for count in (SMALL, QUICK if options.quick else options.messages):
        mail = from_folder(options.data) if options.data else generated()
        with tempfile.TemporaryDirectory() as folder:
            run = measure(mail, count, Path(folder))
        print(
            f"{run.messages:8}  {run.passages:8}  {run.command:17.1f}  {run.embedder:17.1f}  "
            f"{run.share:18.0%}",
            flush=True,
        )
        runs.append(run)
    claims = [
        {
            "claim": f"passages of {run.messages} messages made searchable a second, from a cold start",
            "ours": round(run.passages / run.command, 1),
            "peer": "the embedder alone",
            "peer_figure": round(run.passages / run.embedder, 1),
            "ratio": round(run.share, 3),
            "seconds": round(run.command, 1),
            "measured_on": f"{'mail of --data' if options.data else 'generated mail'}, "
            f"{run.passages} passages, {usable_processors()} cores",
        }
        for run in runs
    ]
    print(json.dumps({"bench": "index_at_once", "claims": claims}))


def measure(mail: Iterator[bytes], count: int, folder: Path) -> Run:
    source, out = folder / "mail.mbox", folder / "out"
    box = mailbox.mbox(source)
    for message in islice(mail, count):
        box.add(message)
    messages = len(box)
    box.close()
    started = time.perf_counter()
    command = [sys.executable, "-m", "customir", "index", str(source), "--out", str(out)]
    subprocess.run(command, check=True, capture_output=True)
    seconds = time.perf_counter() - started
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        passages, alone = pool.submit(embed_alone, out).result()
    return Run(messages, passages, seconds, alone)


def embed_alone(folder: Path) -> tuple[int, float]:
    """The passages of DIR and the seconds in which its model embeds them; in a fresh process."""
    with Workspace(folder, write=False) as workspace:
        texts = [passage.content for passage in read_passages(workspace)]
    embedder = Embedder(generations.current(folder) / generations.MODEL_NAME)
    embedder.encode(texts[:32])
    started = time.perf_counter()
    embedder.encode(texts)
    return len(texts), time.perf_counter() - started


def from_folder(folder: Path) -> Iterator[bytes]:
    for path in sorted(folder.glob("*.mbox")):
        yield from (message.as_bytes() for message in mailbox.mbox(path, create=False))


def generated() -> Iterator[bytes]:
    """Threads of one to six messages in words of this documentation, as long as mail is."""
    chance = random.Random(0)
    pages = " ".join(path.read_text(encoding="utf-8") for path in sorted(ROOT.glob("docs/*/*.md")))
    words = re.findall(r"\b[A-Za-z][a-z]+\b", pages)
    number = 0
    while True:
        subject = " ".join(chance.choices(words, k=chance.randint(2, 7)))
        before = ""
        for turn in range(chance.choice((1, 1, 2, 3, 6))):
            message = EmailMessage()
            writer = chance.choice(words)
            message["From"] = f"{writer} <{writer}@example.org>"
            message["Subject"] = f"Re: {subject}" if turn else subject
            message["Date"] = f"Thu, 22 Aug 2002 {number % 24:02}:{number // 24 % 60:02}:25 +0700"
            message["Message-ID"] = f"<{number}@example.org>"
            if turn:
                message["In-Reply-To"] = f"<{number - 1}@example.org>"
            text = chance.choices(words, k=min(1200, int(chance.lognormvariate(4.4, 0.9)) + 3))
            lines = [" ".join(text[start : start + 12]) for start in range(0, len(text), 12)]
            quoted = "".join(f"> {line}\n" for line in before.splitlines()[:15])
            before = "\n".join(lines)
            message.set_content(f"{quoted}\n{before}\n")
            yield message.as_bytes()
            number += 1


if __name__ == "__main__":
    main()
