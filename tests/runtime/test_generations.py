"""Model and index change over together: a reader finds the old ones or the new ones."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from customir.errors import UserError
from customir.progress import Silent
from customir.runtime import generations, index
from customir.runtime.embedder import Embedder
from customir.runtime.index import (
    IndexedPassage,
    IndexSummary,
    build_index,
    build_successor,
    connect,
    delete_documents,
    put_documents,
)
from customir.runtime.reload import SharedEmbedder
from customir.runtime.search import Searcher


@pytest.fixture(scope="module")
def embedder(model: Path) -> Embedder:
    """By ONNX Runtime, whose vectors depend on what shares a batch."""
    return Embedder(model, backend="onnxruntime")


@pytest.fixture(scope="module")
def other_model(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another model: with a shorter window."""
    folder = Path(shutil.copytree(model, tmp_path_factory.mktemp("other") / "model"))
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 16}')
    return folder


def change(
    folder: Path, model: Path, passages: list[IndexedPassage], embedder: Embedder
) -> IndexSummary:
    """A new model and index for DIR, as the stages `export` and `index` make them."""
    folder.mkdir(exist_ok=True)
    generation = generations.begin(folder)
    shutil.copytree(model, generation / "model", copy_function=os.link)
    return build_successor(folder, generation, passages, embedder, Silent())


@pytest.fixture
def folder(tmp_path: Path, model: Path, embedder: Embedder, passages: list[IndexedPassage]) -> Path:
    change(tmp_path / "mail", model, passages, embedder)
    return tmp_path / "mail"


def vectors(folder: Path) -> dict[str, bytes]:
    """The current index's vectors by passage."""
    with closing(connect(generations.current(folder) / "index.db")) as database:
        number = index.live_generation(database).number
        return dict(
            database.execute(
                f"SELECT key, embedding FROM passage_{number} JOIN vector_{number} ON rowid = id"
            )
        )


def test_a_new_generation_takes_over_what_the_same_model_made(
    folder: Path, model: Path, embedder: Embedder, passages: list[IndexedPassage],
    make_passage: Callable[..., IndexedPassage],
) -> None:  # fmt: skip
    before = vectors(folder)
    new = make_passage("new", "Badgers dig in the garden.")
    summary = change(folder, model, [*passages, new], embedder)
    assert summary == IndexSummary(added=1, removed=0, changed=0, total=9, rebuilt=False)
    assert generations.read_pointer(folder) == generations.Pointer("000002", "000001")
    after = vectors(folder)
    assert {key: after[key] for key in before} == before
    assert (folder / "model").resolve() == folder / "generations" / "000002" / "model"
    assert (folder / "index.db").resolve() == folder / "generations" / "000002" / "index.db"
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            assert path.stat().st_mode & 0o077 == 0 or path == folder, path


def test_a_reader_at_work_follows_to_another_model(
    folder: Path, other_model: Path, passages: list[IndexedPassage]
) -> None:
    other = Embedder(other_model)
    found: list[str] = []
    shared = SharedEmbedder(folder)
    first = shared.encode(["pizza on friday " * 20], "passage")
    with Searcher(folder) as alone, Searcher(folder, embedder=shared) as sharing:

        def ask() -> None:
            for searcher in (alone, sharing):
                found.append(searcher.search("pizza", 1)[0].identifier)
                assert searcher.count() == len(passages)

        class Asking(Silent):
            def advance(self, steps: int = 1) -> None:
                ask()

        ask()
        generation = generations.begin(folder)
        shutil.copytree(other_model, generation / "model")
        build_successor(folder, generation, passages, other, Asking())
        before = len(found)
        ask()
        assert before > 2
        assert set(found) == {"<lunch@example.org>"}
        for searcher in (alone, sharing):
            np.testing.assert_array_equal(
                searcher.embedder.encode(["pizza"], "query"), other.encode(["pizza"], "query")
            )
        second = shared.encode(["pizza on friday " * 20], "passage")
        assert not np.allclose(first, second, atol=1e-3), "now by the other model"
        generations.roll_back(folder)
        np.testing.assert_array_equal(shared.encode(["pizza on friday " * 20], "passage"), first)
        ask()
    shared.close()


def test_a_generation_that_is_gone_before_its_model_was_loaded(
    folder: Path, model: Path, embedder: Embedder, passages: list[IndexedPassage],
    make_passage: Callable[..., IndexedPassage], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    new = make_passage("new", "Badgers dig in the garden.")
    with Searcher(folder) as searcher:
        follow = searcher._follow

        def follow_and_lose() -> None:
            follow()
            monkeypatch.undo()
            change(folder, model, [*passages, new], embedder)
            with generations.writer_lock(folder):
                generations.drop_previous(folder)

        monkeypatch.setattr(searcher, "_follow", follow_and_lose)
        assert searcher.search("badgers", 1)[0].identifier == new.identifier


def test_many_readers_never_find_none_or_a_mix(
    folder: Path, model: Path, other_model: Path, passages: list[IndexedPassage]
) -> None:
    """While DIR changes over and back, searchers are opened and asked without a pause."""
    change(folder, other_model, passages, Embedder(other_model))
    stopped, faults, answers = threading.Event(), [], []

    def read() -> None:
        kept = Searcher(folder)
        try:
            while not stopped.is_set():
                with Searcher(folder) as searcher:
                    for each in (kept, searcher):
                        answers.append(each.search("pizza", 1, "text")[0].identifier)
        except Exception as error:
            faults.append(error)
        finally:
            kept.close()

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(40):
        generations.roll_back(folder)
    stopped.set()
    for thread in threads:
        thread.join()
    assert faults == []
    assert set(answers) == {"<lunch@example.org>"}


CHANGE_AND_DIE = """
import os, signal, sys
from pathlib import Path
from customir.progress import Silent
from customir.runtime import generations, index
from customir.runtime.embedder import Embedder

folder, model, values, moment = sys.argv[1:]

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

class Deadly(Silent):
    left = int(moment) if moment.isdigit() else -1
    def advance(self, steps=1):
        self.left -= 1
        if self.left == 0:
            die()

if moment == "copying":
    index.write_atomically = die
elif moment == "rewriting":
    index._settle = die
elif moment == "before":
    generations._point = die
elif moment == "after":
    generations.tidy = die
index.PASSAGES_PER_COMMIT = 4
folder = Path(folder)
generation = generations.unfinished(folder)
if generation is None:
    generation = folder / "generations" / "000002"
    generation.mkdir()
    generations.link_model(folder / "generations" / "000001", generation)
passages = [index.IndexedPassage(*each) for each in eval(values)]
embedder = Embedder(Path(model), backend="onnxruntime", threads=1)
index.build_successor(folder, generation, passages, embedder, Deadly())
"""


def run(folder: Path, model: Path, wanted: list[IndexedPassage], moment: str) -> int:
    values = repr([tuple(vars(passage).values()) for passage in wanted])
    arguments = [str(folder), str(model), values, moment]
    return subprocess.run([sys.executable, "-c", CHANGE_AND_DIE, *arguments]).returncode


@pytest.fixture(scope="module")
def wanted(
    passages: list[IndexedPassage], make_passage: Callable[..., IndexedPassage]
) -> list[IndexedPassage]:
    """An update: one passage is changed, and many of different lengths are new."""
    changed = replace(passages[0], text="The mail server is up again, and nothing was lost.")
    new = [
        make_passage(f"new{number}", " ".join(["A badger digs."] * (1 + 3 * number)))
        for number in range(15)
    ]
    return [changed, *passages[1:], *new]


@pytest.fixture(scope="module")
def undisturbed(
    tmp_path_factory: pytest.TempPathFactory, model: Path, embedder: Embedder,
    passages: list[IndexedPassage], wanted: list[IndexedPassage],
) -> dict[str, bytes]:  # fmt: skip
    folder = tmp_path_factory.mktemp("undisturbed") / "mail"
    change(folder, model, passages, embedder)
    assert run(folder, model, wanted, "0") == 0
    return vectors(folder)


@pytest.mark.parametrize("moment", ["copying", "1", "3", "rewriting", "before", "after"])
def test_killed_at_any_moment_the_old_state_serves_and_the_end_is_the_same(
    folder: Path, model: Path, passages: list[IndexedPassage], moment: str,
    wanted: list[IndexedPassage], undisturbed: dict[str, bytes],
) -> None:  # fmt: skip
    old = vectors(folder)
    assert run(folder, model, wanted, moment) == -signal.SIGKILL
    new_already = moment == "after"
    with Searcher(folder) as searcher:
        assert searcher.count() == (len(wanted) if new_already else len(passages))
        assert searcher.search("pizza", 1)[0].identifier == "<lunch@example.org>"
    if not new_already:
        assert vectors(folder) == old
        assert run(folder, model, wanted, "0") == 0
    assert vectors(folder) == undisturbed
    assert generations.read_pointer(folder).current == "000002"
    generations.tidy(folder)
    assert (folder / "model").resolve() == folder / "generations" / "000002" / "model"


def test_what_was_started_for_other_passages_is_started_again(
    folder: Path, model: Path, embedder: Embedder, passages: list[IndexedPassage], tmp_path: Path
) -> None:
    whole = Path(shutil.copytree(folder, tmp_path / "whole", symlinks=True))
    others = [replace(each, text="Short.") for each in passages]
    assert run(folder, model, others, "1") == -signal.SIGKILL
    generation = generations.unfinished(folder)
    assert generation is not None
    assert (generation / "index.db").exists()
    build_successor(folder, generation, passages[:5], embedder, Silent())
    change(whole, model, passages[:5], embedder)
    assert vectors(folder) == vectors(whole)


def test_one_can_go_back_and_forth(
    folder: Path, model: Path, other_model: Path, passages: list[IndexedPassage]
) -> None:
    with pytest.raises(UserError, match="no earlier model and index"):
        generations.roll_back(folder)
    change(folder, other_model, passages, Embedder(other_model))
    change(folder, model, passages, Embedder(model))
    kept = sorted(path.name for path in (folder / "generations").iterdir())
    assert kept == ["000002", "000003", "current.json"]
    for expected in ("000002", "000003"):
        assert generations.roll_back(folder).current == expected
        assert (folder / "model").resolve().parent.name == expected
        with Searcher(folder) as searcher:
            assert searcher.search("pizza", 1)[0].identifier == "<lunch@example.org>"


def test_what_has_left_the_sources_is_in_no_generation(
    folder: Path, model: Path, embedder: Embedder, passages: list[IndexedPassage],
    make_passage: Callable[..., IndexedPassage],
) -> None:  # fmt: skip
    gone = make_passage("gone", "The quokkaword.", sender="zelda@secret.example")

    def traces() -> list[str]:
        files = (path for path in folder.rglob("*") if path.is_file())
        return [
            path.name
            for path in files
            if any(word in path.read_bytes() for word in (b"quokkaword", b"zelda", b"<gone@"))
        ]

    change(folder, model, [*passages, gone], embedder)
    assert traces()
    change(folder, model, passages, embedder)
    assert traces() == []
    assert generations.previous(folder) is None

    change(folder, model, [*passages, gone], embedder)
    change(folder, model, [*passages, gone], embedder)
    assert generations.previous(folder) is not None
    with Searcher(folder) as searcher:
        assert delete_documents(folder / "index.db", [gone.of]).removed == 1
        assert traces() == []
        assert generations.previous(folder) is None
        assert searcher.count() == len(passages)


def test_documents_are_put_into_the_current_generation(
    folder: Path, embedder: Embedder, passages: list[IndexedPassage],
    make_passage: Callable[..., IndexedPassage],
) -> None:  # fmt: skip
    with Searcher(folder) as searcher:
        searcher.count()
        put_documents(folder / "index.db", [make_passage("new", "Badgers.")], embedder, Silent())
        assert searcher.count() == len(passages) + 1
        assert searcher.search("badgers", 1)[0].key == "key-new"


def test_a_copy_that_followed_links_reads_and_goes_on(
    folder: Path, tmp_path: Path, model: Path, embedder: Embedder, passages: list[IndexedPassage]
) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    assert not (copy / "model").is_symlink()
    with Searcher(copy) as searcher:
        assert searcher.count() == len(passages)
    change(copy, model, passages[:4], embedder)
    assert (copy / "model").is_symlink()
    with Searcher(copy) as searcher:
        assert searcher.count() == 4


def test_a_folder_without_generations_becomes_one_with_them_under_a_reader(
    tmp_path: Path, model: Path, embedder: Embedder, passages: list[IndexedPassage]
) -> None:
    shutil.copytree(model, tmp_path / "model")
    build_index(tmp_path / "index.db", passages, embedder, Silent())
    with Searcher(tmp_path) as searcher:
        assert searcher.count() == 8
        index.adopt(tmp_path)
        assert searcher.count() == 8
        assert generations.read_pointer(tmp_path) == generations.Pointer("000001", None)
        names = {path.name for path in tmp_path.iterdir()}
        assert names == {"generations", "model", "index.db", "index.lock"}
        assert (tmp_path / "index.db").is_symlink()
        change(tmp_path, model, passages[:4], embedder)
        assert searcher.count() == 4
    index.adopt(tmp_path)  # nothing to do
    assert generations.current(tmp_path).name == "000002"


def test_a_damaged_index_is_made_anew(
    folder: Path, model: Path, embedder: Embedder, passages: list[IndexedPassage]
) -> None:
    path = folder / "generations" / "000001" / "index.db"
    path.write_bytes(path.read_bytes()[:9000])
    assert change(folder, model, passages, embedder).rebuilt
    with Searcher(folder) as searcher:
        assert searcher.count() == 8


@pytest.mark.parametrize("content", ['{"current": "../../etc"}', "[]", '{"current": "000001"}', ""])
def test_a_pointer_that_is_none_is_named(folder: Path, content: str) -> None:
    (folder / "generations" / "current.json").write_text(content)
    with pytest.raises(UserError, match=r"current\.json"):
        Searcher(folder)


def test_links_that_somebody_planted_are_not_written_through(
    folder: Path, tmp_path: Path, model: Path, embedder: Embedder, passages: list[IndexedPassage]
) -> None:
    foreign = tmp_path / "foreign"
    foreign.write_text("precious")
    pointer = folder / "generations" / "current.json"
    pointer.with_name("current.json.part").symlink_to(foreign)
    (folder / ".model.part").symlink_to(foreign)
    change(folder, model, passages[:4], embedder)
    assert json.loads(pointer.read_text())["current"] == "000002"
    for name in ("index.db", "index.db-wal", "index.db-journal"):
        (tmp_path / "planted").mkdir()
        (tmp_path / "planted" / name).symlink_to(foreign)
        with pytest.raises(UserError, match="symbolic link"):
            build_index(tmp_path / "planted" / "index.db", passages, embedder, Silent())
        shutil.rmtree(tmp_path / "planted")
    assert foreign.read_text() == "precious"
    assert os.path.exists(foreign)
