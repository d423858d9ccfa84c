"""A DIR that holds everything a run leaves but a trained adapter, with two messages to be removed."""

import shutil
from pathlib import Path

import pytest
from mail import write_mailbox
from small_index import model

from customir.corpus.ingest import ingest
from customir.progress import Silent
from customir.runtime import Embedder, generations
from customir.runtime.index import build_successor
from customir.settings import CorpusSettings, Settings, write_settings
from customir.stages.index import passages_to_index
from customir.workspace import Workspace
from customir.workspace.passages import read_passages
from customir.workspace.queries import Negative, Query, write_negatives, write_queries

__all__ = ["model"]

WORD, SENDER, IDENTIFIER = "quokkaword", "zelda@secret.example", "<gone-77@secret.example>"
GONE = f"""From {SENDER} Tue Oct  1 10:00:00 2019
From: Zelda Quux <{SENDER}>
Subject: The regatta
Message-ID: {IDENTIFIER}
Date: Tue, 1 Oct 2019 10:00:00 +0000

The {WORD} of the regatta was ordered by the committee last week.

From ada@example.org Wed Oct  2 10:00:00 2019
From: Ada Okafor <ada@example.org>
Subject: Re: The regatta
Message-ID: <answer-78@example.org>
Date: Wed, 2 Oct 2019 10:00:00 +0000

It will be delivered to the boathouse on Friday, as Emeka has promised to everybody.

"""


def read(out: Path, mail: Path, minilm: Path) -> None:
    """Read a mailbox into DIR's workspace."""
    with Workspace(out) as workspace:
        ingest(workspace, [mail], CorpusSettings(), minilm / "tokenizer.json", Silent())


def add_index(out: Path, model: Path) -> None:
    """Index DIR's workspace with a copy of a model, as a new generation."""
    generation = generations.begin(out)
    shutil.copytree(model, generation / "model")
    with Workspace(out, write=False) as workspace:
        passages = passages_to_index(workspace)
    build_successor(out, generation, passages, Embedder(generation / "model"), Silent())


@pytest.fixture(scope="module")
def whole(model: Path, minilm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """DIR of a mailbox with two messages about a regatta. Not to be changed by a test."""
    folder = tmp_path_factory.mktemp("whole")
    mail, out = write_mailbox(folder / "mail.mbox"), folder / "out"
    with mail.open("a") as file:
        file.write(GONE)
    read(out, mail, minilm)
    add_index(out, model)
    add_index(out, model)
    with Workspace(out) as workspace:
        write_settings(out, Settings(sources=(str(mail),)))
        passages = read_passages(workspace)
        gone = next(each for each in passages if WORD in each.text)
        answer = next(each for each in passages if "boathouse" in each.text)
        other = next(each for each in passages if each.thread != gone.thread)
        about = f"ordered {WORD}"
        write_queries(workspace, [
            Query("q1", gone.key, "need", about, None, "train"),
            Query("q2", answer.key, "reply", gone.text, None, "train"),
            Query("q3", other.key, "need", "kept by the model", None, "train"),
        ])  # fmt: skip
        write_negatives(workspace, [Negative("q3", gone.key, 0, None, "negative")])
        for number, (kind, value) in enumerate([
            ("query", about), ("query", "kept by the model"), ("embedding", WORD), ("topic", WORD),
        ]):  # fmt: skip
            workspace.add_result(f"r{number}", kind, value.encode())
        workspace.begin_stage("evaluate", "fingerprint")
        workspace.finish_stage("evaluate", {"weight": 0.5, "movement": {"won": [about]}})
    with Workspace(out / "check") as workspace:
        workspace.add_result("r", "query", WORD.encode())
    for path in ("report.md", "report.html", "training/adapter/weights"):
        (out / path).parent.mkdir(mode=0o700, exist_ok=True, parents=True)
        (out / path).write_text(WORD)
    return out


@pytest.fixture
def out(whole: Path, tmp_path: Path) -> Path:
    """A copy of `whole` that a test may change."""
    return Path(shutil.copytree(whole, tmp_path / "out", symlinks=True))
