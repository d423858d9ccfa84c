"""What is removed from an index leaves no trace in the bytes of any file."""

import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from customir.progress import Silent
from customir.runtime.embedder import Embedder
from customir.runtime.index import (
    IndexedPassage,
    build_index,
    connect,
    delete_documents,
    put_documents,
)
from customir.runtime.search import Searcher

WORD, SENDER, IDENTIFIER = "0quokkaword", "zelda@secret.example", "<gone-77@secret.example>"


@pytest.fixture(scope="module")
def embedder(model: Path) -> Embedder:
    return Embedder(model)


@pytest.fixture
def gone(make_passage: Callable[..., IndexedPassage]) -> IndexedPassage:
    return make_passage(
        "gone", f"The {WORD} of the regatta.", sender=f"Zelda <{SENDER}>", identifier=IDENTIFIER
    )


@pytest.fixture
def many(make_passage: Callable[..., IndexedPassage]) -> list[IndexedPassage]:
    """Enough that SQLite's trees and FTS5's segments have several pages."""
    return [
        make_passage(f"n{number}", f"Minutes {number}: " + f"budget{number} contract " * 40)
        for number in range(120)
    ]


def traces(folder: Path, vector: bytes) -> dict[str, list[str]]:
    """The files below `folder` that hold something of the removed passage, and what."""
    wanted = {
        "word": WORD.encode(), "sender": SENDER.encode(), "identifier": IDENTIFIER.encode(),
        "vector": vector, "middle of the vector": vector[64:128],
    }  # fmt: skip
    found = {}
    for path in folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes().lower()
            names = [name for name, part in wanted.items() if part.lower() in content]
            if names:
                found[path.name] = names
    return found


def test_nothing_of_a_deleted_document_is_left(
    tmp_path: Path, embedder: Embedder, many: list[IndexedPassage], gone: IndexedPassage
) -> None:
    path = tmp_path / "index.db"
    vector = embedder.encode([gone.content])[0].tobytes()
    build_index(path, many, embedder, Silent())
    put_documents(path, [gone], embedder, Silent())
    assert {"word", "sender", "identifier", "vector"} <= set(traces(tmp_path, vector)["index.db"])
    delete_documents(path, [gone.of])
    assert traces(tmp_path, vector) == {}
    with closing(connect(path)) as database:
        assert database.pragma("integrity_check") == "ok"


def test_nothing_of_a_passage_that_is_not_wanted_any_more_is_left(
    tmp_path: Path, embedder: Embedder, many: list[IndexedPassage], gone: IndexedPassage
) -> None:
    path = tmp_path / "index.db"
    vector = embedder.encode([gone.content])[0].tobytes()
    build_index(path, [*many[:60], gone, *many[60:]], embedder, Silent())
    assert traces(tmp_path, vector)
    assert build_index(path, many, embedder, Silent()).removed == 1
    assert traces(tmp_path, vector) == {}


def test_nothing_of_a_text_that_was_replaced_is_left(
    tmp_path: Path, embedder: Embedder, many: list[IndexedPassage], gone: IndexedPassage
) -> None:
    path = tmp_path / "index.db"
    vector = embedder.encode([gone.content])[0].tobytes()
    build_index(path, [*many[:5], gone], embedder, Silent())
    newer = replace(gone, text="Other words.", sender="Ann")
    put_documents(path, [newer], embedder, Silent())
    assert traces(tmp_path, vector) == {"index.db": ["identifier"]}
    put_documents(path, [replace(newer, title="Regatta")], embedder, Silent())
    assert delete_documents(path, [newer.of]).removed == 1
    assert traces(tmp_path, vector) == {}


DELETE_AND_DIE = """
import os, signal, sys
from pathlib import Path
from customir.runtime import index

index._settle = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
index.delete_documents(Path(sys.argv[1]), [(sys.argv[2], sys.argv[3])])
"""


def test_killed_after_the_deletion_the_next_change_wipes_what_is_left(
    tmp_path: Path, embedder: Embedder, many: list[IndexedPassage], gone: IndexedPassage
) -> None:
    path = tmp_path / "index.db"
    vector = embedder.encode([gone.content])[0].tobytes()
    build_index(path, [*many, gone], embedder, Silent())
    subprocess.run([sys.executable, "-c", DELETE_AND_DIE, str(path), *gone.of], check=False)
    assert traces(tmp_path, vector)
    assert delete_documents(path, []).removed == 0
    assert traces(tmp_path, vector) == {}


def test_a_reader_at_work_finds_the_index_whole_before_and_after(
    model: Path,
    tmp_path: Path,
    embedder: Embedder,
    many: list[IndexedPassage],
    gone: IndexedPassage,
) -> None:
    (tmp_path / "model").symlink_to(model)
    path = tmp_path / "index.db"
    vector = embedder.encode([gone.content])[0].tobytes()
    build_index(path, [*many, gone], embedder, Silent())
    with Searcher(tmp_path, embedder=embedder) as searcher:
        assert searcher.search(WORD, 1)[0].identifier == IDENTIFIER
        delete_documents(path, [gone.of])
        assert searcher.search(WORD, 1)[0].identifier != IDENTIFIER
        assert searcher.count() == len(many)
        assert traces(tmp_path, vector) == {}
