"""Prints self-supervised pairs of a corpus, drawn at random, to be read by a person.

The corpus is whatever `customir ingest` reads, or a corpus.jsonl in BEIR's layout, whose fields `subject` and
`from` are then taken for title and sender. Nothing is embedded or trained. What is printed is what training
sees: the query, and the passage without what the query was taken from.

    python bench/experiments/pairs.py mail.mbox
    python bench/experiments/pairs.py data/aeslc-enron/corpus.jsonl --kinds subject ict --pairs 50 --seed 1
"""

import argparse
import json
import random
import tempfile
import textwrap
from collections.abc import Sequence
from pathlib import Path

from customir.corpus.ingest import ingest
from customir.job import Job
from customir.job.base_encoder import base_tokenizer_file
from customir.job.self_supervised import pairs_of
from customir.progress import Silent
from customir.queries.self_supervised import FALLBACK, PREFERRED, without_query_text
from customir.settings import Settings
from customir.workspace import Workspace
from customir.workspace.passages import Passage

KINDS = (*PREFERRED, *FALLBACK)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("source", type=Path, help="a mailbox, folder, chat export or corpus.jsonl")
    add("--kinds", nargs="+", choices=KINDS, default=list(KINDS), help="default: all")
    add("--pairs", type=int, default=200, help="how many of each kind are printed")
    add("--seed", type=int, default=0, help="another seed draws other pairs")
    add("--words", type=int, default=60, help="how many words of each passage are printed")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        source = options.source
        if source.suffix == ".jsonl":
            source = with_fields_of_mail(source, folder / "corpus.jsonl")
        pairs = read_pairs(source, folder / "workspace")
    counts = ", ".join(f"{len(pairs[kind])} {kind}" for kind in KINDS)
    print(f"{options.source}: {counts}")
    for kind in options.kinds:
        show(kind, pairs[kind], options.pairs, options.seed, options.words)


def with_fields_of_mail(source: Path, copy: Path) -> Path:
    """Write the corpus with `subject` as `title` and `from` as `sender`, and return the copy."""
    with source.open(encoding="utf-8") as lines, copy.open("w", encoding="utf-8") as file:
        for row in map(json.loads, lines):
            title, sender = row.get("subject") or row.get("title"), row.get("from")
            file.write(json.dumps({**row, "title": title, "sender": sender}) + "\n")
    return copy


def read_pairs(source: Path, folder: Path) -> dict[str, Sequence[tuple[Passage, str]]]:
    """The pairs of a source, by kind."""
    settings = Settings(sources=(str(source),))
    with Workspace(folder) as workspace:
        job = Job(workspace, settings, Silent())
        ingest(workspace, [source], settings.corpus, base_tokenizer_file(job), job.reporter)
        return dict(pairs_of(job))


def show(
    kind: str, pairs: Sequence[tuple[Passage, str]], count: int, seed: int, words: int
) -> None:
    """Print `count` pairs of a kind, in random order."""
    drawn = random.Random(seed).sample(pairs, min(count, len(pairs)))
    print(f"\n== {kind}: {len(drawn)} of {len(pairs)} pairs")
    for number, (passage, query) in enumerate(drawn, start=1):
        text = textwrap.shorten(
            without_query_text(passage, kind, query), words * 7, placeholder=" ..."
        )
        print(f"{number}. {query}\n   -> {text}")


if __name__ == "__main__":
    main()
