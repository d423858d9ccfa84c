import os
import random
import shutil
import signal
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import apsw
import numpy as np
import pytest

from customir.errors import UserError
from customir.progress import Silent
from customir.runtime import index, index_file
from customir.runtime.cache import CACHE_NAME
from customir.runtime.embedder import Embedder
from customir.runtime.hits import Hit
from customir.runtime.index import (
    IndexedPassage,
    IndexSummary,
    build_index,
    connect,
    delete_documents,
    put_documents,
)
from customir.runtime.search import Searcher

BUILD_AND_DIE = """
import os, signal, sys
from pathlib import Path
from customir.progress import Silent
from customir.runtime import index, index_file
from customir.runtime.embedder import Embedder

class Deadly(Silent):
    left = int(sys.argv[4])
    def advance(self, steps=1):
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

index.PASSAGES_PER_COMMIT = 2
passages = [index.IndexedPassage(*values) for values in eval(sys.argv[3])]
index.build_index(Path(sys.argv[1]), passages, Embedder(Path(sys.argv[2])), Deadly())
"""


@pytest.fixture(scope="session")
def embedder(model: Path) -> Embedder:
    return Embedder(model)


def build_and_die(path: Path, model: Path, passages: list[IndexedPassage], steps: int) -> None:
    values = repr([tuple(vars(passage).values()) for passage in passages])
    arguments = [str(path), str(model), values, str(steps)]
    done = subprocess.run([sys.executable, "-c", BUILD_AND_DIE, *arguments], check=False)
    assert done.returncode == -signal.SIGKILL


def content(path: Path) -> tuple[list[tuple], dict[str, bytes]]:
    """The live generation's passages and vectors."""
    with closing(connect(path)) as database:
        number = index.live_generation(database).number
        rows = list(database.execute(f"SELECT * FROM passage_{number} ORDER BY key"))
        vectors = dict(database.execute(f"SELECT rowid, embedding FROM vector_{number}"))
        assert sorted(vectors) == sorted(row[0] for row in rows)
        database_words = f"INSERT INTO words_{number} (words_{number}) VALUES ('integrity-check')"
    with closing(connect(path, write=True)) as database:
        database.execute(database_words)
        assert database.pragma("integrity_check") == "ok"
    return [row[1:] for row in rows], {row[1]: vectors[row[0]] for row in rows}


def test_it_holds_the_passages_and_their_vectors(
    tmp_path: Path, embedder: Embedder, passages: list[IndexedPassage]
) -> None:
    path = tmp_path / "index.db"
    summary = build_index(path, passages, embedder, Silent())

    assert summary == IndexSummary(added=8, removed=0, changed=0, total=8, rebuilt=True)
    rows, vectors = content(path)
    assert [IndexedPassage(*row) for row in rows] == sorted(passages, key=lambda one: one.key)
    in_order = sorted(passages, key=lambda one: (len(one.content), one.key))
    expected = embedder.encode([one.content for one in in_order])
    for one, vector in zip(in_order, expected, strict=True):
        assert np.array_equal(np.frombuffer(vectors[one.key], np.float32), vector)


def test_files_are_private(
    tmp_path: Path, embedder: Embedder, passages: list[IndexedPassage]
) -> None:
    path = tmp_path / "new" / "index.db"
    build_index(path, passages, embedder, Silent())
    with closing(connect(path)) as database:
        list(database.execute("SELECT * FROM generation"))
        assert {file.stat().st_mode & 0o777 for file in path.parent.iterdir()} == {0o600}
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_only_what_changed_is_embedded_again(
    tmp_path: Path,
    embedder: Embedder,
    passages: list[IndexedPassage],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "index.db"
    build_index(path, passages, embedder, Silent())
    before = content(path)[1]
    embedded: list[str] = []
    inner = embedder.encode
    monkeypatch.setattr(
        embedder, "encode", lambda texts, *rest: embedded.extend(texts) or inner(texts, *rest)
    )
    assert build_index(path, passages, embedder, Silent()).added == 0

    retitled = replace(passages[0], title="A better title")
    regrouped = replace(passages[1], duplicates="key-other", sender="Bob")
    fresh = replace(passages[2], key="key-fresh", text="Entirely new words.")
    now = [retitled, regrouped, fresh, *passages[3:]]
    summary = build_index(path, now, embedder, Silent())

    assert summary == IndexSummary(added=2, removed=2, changed=1, total=8, rebuilt=False)
    assert sorted(embedded) == sorted([retitled.content, fresh.content])
    rows, vectors = content(path)
    assert [IndexedPassage(*row) for row in rows] == sorted(now, key=lambda one: one.key)
    kept = {one.key for one in [regrouped, *passages[3:]]}
    assert {key: vectors[key] for key in kept} == {key: before[key] for key in kept}


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_killed_and_run_again_equals_uninterrupted(
    tmp_path: Path,
    model: Path,
    embedder: Embedder,
    passages: list[IndexedPassage],
    monkeypatch: pytest.MonkeyPatch,
    steps: int,
) -> None:
    monkeypatch.setattr(index, "PASSAGES_PER_COMMIT", 2)
    build_index(tmp_path / "whole.db", passages, embedder, Silent())

    path = tmp_path / "index.db"
    shutil.copytree(model, tmp_path / "model")
    build_and_die(path, model, passages, steps)
    with pytest.raises(UserError, match="unfinished"):
        Searcher(tmp_path)

    summary = build_index(path, passages, embedder, Silent())
    assert summary.added < 8 or steps == 1
    assert content(path) == content(tmp_path / "whole.db")
    with Searcher(tmp_path) as searcher:
        hits = searcher.search("gas contract")
    os.replace(tmp_path / "whole.db", path)
    with Searcher(tmp_path) as searcher:
        assert searcher.search("gas contract") == hits


def test_another_models_index_is_searched_until_its_successor_is_whole(
    tmp_path: Path,
    spoilable: Path,
    model: Path,
    embedder: Embedder,
    passages: list[IndexedPassage],
) -> None:
    path = tmp_path / "index.db"
    shutil.copytree(model, tmp_path / "model")
    build_index(path, passages, embedder, Silent())
    settings = spoilable / "sentence_bert_config.json"
    settings.write_text('{"max_seq_length": 16}')
    build_and_die(path, spoilable, passages, 3)

    with Searcher(tmp_path) as searcher:  # the old model, the old generation
        assert searcher.search("pizza", k=1)[0].identifier == "<lunch@example.org>"
        other = Embedder(spoilable)
        assert build_index(path, passages, other, Silent()).rebuilt
        with pytest.raises(UserError, match="made by another model"):
            searcher.search("pizza")
    with pytest.raises(UserError, match=f"customir index {tmp_path}"):
        Searcher(tmp_path)
    with closing(connect(path)) as database:
        assert list(database.execute("SELECT fingerprint, whole, updating FROM generation")) == [
            (other.fingerprint, 1, 0)
        ]


def test_an_update_that_was_cut_short_is_said(
    tmp_path: Path,
    model: Path,
    embedder: Embedder,
    passages: list[IndexedPassage],
    caplog: pytest.LogCaptureFixture,
) -> None:
    path = tmp_path / "index.db"
    shutil.copytree(model, tmp_path / "model")
    build_index(path, passages[:4], embedder, Silent())
    build_and_die(path, model, passages, 1)
    with Searcher(tmp_path) as searcher:
        assert searcher.search("pizza")[0].identifier == "<lunch@example.org>"
    assert "was cut short" in caplog.text

    caplog.clear()
    build_index(path, passages, embedder, Silent())
    Searcher(tmp_path).close()
    assert caplog.text == ""


def test_readers_go_on_while_one_writes_and_a_second_writer_is_refused(
    tmp_path: Path, model: Path, embedder: Embedder, passages: list[IndexedPassage]
) -> None:
    path = tmp_path / "index.db"
    shutil.copytree(model, tmp_path / "model")
    build_index(path, passages[:4], embedder, Silent())
    seen: list[int] = []

    class Reading(Silent):
        def advance(self, steps: int = 1) -> None:
            with Searcher(tmp_path) as searcher:
                seen.append(len(searcher.search("mail", k=20)))
            with pytest.raises(UserError, match="another customir is building it"):
                build_index(path, passages, embedder, Silent())

    build_index(path, passages, embedder, Reading())
    assert seen
    assert set(seen) == {4}
    with Searcher(tmp_path) as searcher:
        assert len(searcher.search("mail", k=20)) == 8


def test_a_reader_finds_a_changed_document_as_it_was_or_as_it_is(
    tmp_path: Path,
    model: Path,
    embedder: Embedder,
    passages: list[IndexedPassage],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(index, "PASSAGES_PER_COMMIT", 1)
    path = tmp_path / "index.db"
    shutil.copytree(model, tmp_path / "model")
    parts = [
        replace(passages[0], key=f"part{number}", document="old", text=f"Hedgehogs, part {number}")
        for number in range(3)
    ]
    build_index(path, [*parts, *passages[1:]], embedder, Silent())
    newer = [
        replace(part, key=f"new{part.key}", document="new", text=f"{part.text}, and badgers")
        for part in parts[:2]
    ]
    seen: set[tuple[str, ...]] = set()

    class Reading(Silent):
        def advance(self, steps: int = 1) -> None:
            with Searcher(tmp_path) as searcher:
                texts = [one.text for one in searcher.thread(parts[0].thread)]
            seen.add(tuple(sorted(texts)))

    shorter = [replace(one, text="Short.") for one in passages[1:]]
    build_index(path, [*newer, *shorter], embedder, Reading())
    before, after = (tuple(sorted(one.text for one in some)) for some in (parts, newer))
    assert before in seen
    assert seen <= {before, after}
    assert len(content(path)[0]) == 2 + len(shorter)


BUILD_WITH_LITTLE_ROOM = """
import resource, signal, sys
from pathlib import Path
from customir.progress import Silent
from customir.runtime.embedder import Embedder
from customir.runtime.index import IndexedPassage, build_index
from customir.errors import UserError

embedder = Embedder(Path(sys.argv[2]))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # then the write fails, as on a full disk
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[4]), resource.RLIM_INFINITY))
passages = [IndexedPassage(*values) for values in eval(sys.argv[3])]
try:
    build_index(Path(sys.argv[1]), passages, embedder, Silent())
except UserError as error:
    print(error)
"""


@pytest.mark.parametrize("room", [10_000, 200_000])
def test_a_full_disk_is_named_and_the_next_run_goes_on(
    tmp_path: Path, model: Path, embedder: Embedder, passages: list[IndexedPassage], room: int
) -> None:
    path = tmp_path / "index.db"
    values = repr([tuple(vars(passage).values()) for passage in passages])
    arguments = [str(path), str(model), values, str(room)]
    done = subprocess.run(
        [sys.executable, "-c", BUILD_WITH_LITTLE_ROOM, *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Make room and run it again" in done.stdout, done.stderr
    build_index(path, passages, embedder, Silent())
    assert len(content(path)[0]) == len(passages)


def test_a_key_given_twice_is_an_error(
    tmp_path: Path, embedder: Embedder, passages: list[IndexedPassage]
) -> None:
    with pytest.raises(UserError, match="1 passages have a key twice"):
        build_index(tmp_path / "index.db", [*passages, passages[0]], embedder, Silent())


def test_a_damaged_or_foreign_file_is_named(
    tmp_path: Path, embedder: Embedder, passages: list[IndexedPassage]
) -> None:
    path = tmp_path / "index.db"
    build_index(path, passages, embedder, Silent())
    whole = path.read_bytes()

    for spoiled in (whole[: len(whole) // 2], b"no database at all, whatever it is" * 100):
        path.write_bytes(spoiled)
        with pytest.raises(UserError, match=rf"{path}: damaged .*Delete it and run"):
            build_index(path, passages, embedder, Silent())

    path.unlink()
    import sqlite3

    with closing(sqlite3.connect(path)) as foreign:
        foreign.execute("CREATE TABLE mine (x)")
        foreign.commit()
    with pytest.raises(UserError, match="not an index of CustomIR"):
        build_index(path, passages, embedder, Silent())


@pytest.mark.parametrize(
    "planted",
    [
        "CREATE VIEW everything AS WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x FROM n) SELECT x FROM n",
        "CREATE TRIGGER words_1_update AFTER UPDATE ON passage_1 BEGIN DELETE FROM passage_1; END",
    ],
)
def test_a_planted_view_or_trigger_is_refused(
    planted: str, tmp_path: Path, embedder: Embedder, passages: list[IndexedPassage]
) -> None:
    path = tmp_path / "index.db"
    build_index(path, passages, embedder, Silent())
    with closing(connect(path, write=True)) as database:
        database.execute(planted)
    with pytest.raises(UserError, match=r"its (view|trigger) \w+ is not of CustomIR"):
        connect(path)


def flipped(content: bytes, position: int) -> bytes:
    """With one bit changed."""
    return content[:position] + bytes([content[position] ^ 4]) + content[position + 1 :]


Answers = tuple[list[list[Hit]], list[IndexedPassage], int]


def answers(folder: Path, embedder: Embedder) -> Answers:
    with Searcher(folder, embedder=embedder) as searcher:
        hits = [searcher.search("mail budget", 8, mode) for mode in ("vector", "text", "hybrid")]
        return hits, searcher.thread("thread-lunch"), searcher.count()


@pytest.fixture(scope="session")
def small(
    model: Path,
    embedder: Embedder,
    passages: list[IndexedPassage],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A DIR over the small corpus. Not to be changed by a test."""
    folder = tmp_path_factory.mktemp("small")
    shutil.copytree(model, folder / "model")
    build_index(folder / "index.db", passages, embedder, Silent())
    return folder


@pytest.mark.parametrize(
    ("table", "first"),
    [
        ("generation", False),
        ("passage_1", False),
        ("sqlite_autoindex_passage_1_1", False),
        ("passage_1_thread", False),
        ("words_1_data", False),
        ("words_1_docsize", False),
        ("vector_1_chunks", True),
        ("vector_1_vector_chunks00", True),
    ],
)
def test_one_flipped_bit_is_an_error_wherever_it_would_change_an_answer(
    small: Path,
    tmp_path: Path,
    embedder: Embedder,
    table: str,
    first: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`first`: where sqlite-vec looks at the vectors, not the cache beside it."""
    if first:
        monkeypatch.setattr(index_file, "best_kernel", lambda: None)
    folder = Path(shutil.copytree(small, tmp_path / "copy"))
    path = folder / "index.db"
    whole = path.read_bytes()
    answers(folder, embedder)
    with closing(apsw.Connection(str(path))) as database:
        size = database.pragma("page_size")
        statement = "SELECT max(pageno) FROM dbstat WHERE name = ? AND pagetype = 'leaf'"
        (page,) = next(database.execute(statement, (table,)))
        if table == "vector_1_vector_chunks00":  # the vectors are in overflow pages
            statement = "SELECT min(pageno) FROM dbstat WHERE name = ? AND pagetype = 'overflow'"
            (page,) = next(database.execute(statement, (table,)))
    for offset in (9, size // 2, size - 10):
        path.write_bytes(flipped(whole, (page - 1) * size + offset))
        with pytest.raises(UserError, match=r"index\.db: damaged .*Delete it and run"):
            answers(folder, embedder)
    path.write_bytes(whole)
    assert len(answers(folder, embedder)[0][0]) == 8


def test_a_bit_flipped_anywhere_changes_no_answer_in_silence(
    small: Path, tmp_path: Path, embedder: Embedder
) -> None:
    folder = Path(shutil.copytree(small, tmp_path / "copy"))
    path = folder / "index.db"
    whole, expected = path.read_bytes(), answers(folder, embedder)
    chance = random.Random(8)
    header, said = list(range(100)), []
    for position in [*header, *(chance.randrange(len(whole)) for _ in range(100))]:
        path.write_bytes(flipped(whole, position))
        try:
            found = answers(folder, embedder)
        except UserError as error:
            said.append(str(error))
        else:
            assert found == expected, position
    assert len(said) >= len(header)
    assert all(f"{path}: damaged" in one for one in said)


def test_a_damaged_vector_does_not_enter_the_cache(
    small: Path, tmp_path: Path, embedder: Embedder
) -> None:
    folder = Path(shutil.copytree(small, tmp_path / "copy"))
    path = folder / "index.db"
    vector = embedder.encode(["words of no passage"])[0]
    with closing(connect(path, write=True)) as database:
        database.execute("UPDATE vector_1 SET embedding = ? WHERE rowid = 3", (vector.tobytes(),))
    position = path.read_bytes().index(vector.tobytes())
    path.write_bytes(flipped(path.read_bytes(), position + 5))
    (folder / CACHE_NAME).unlink(missing_ok=True)
    with pytest.raises(UserError, match=r"index\.db: damaged"):
        answers(folder, embedder)
    assert not (folder / CACHE_NAME).exists()


def test_documents_are_put_and_deleted_one_by_one(
    small: Path,
    tmp_path: Path,
    embedder: Embedder,
    passages: list[IndexedPassage],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = Path(shutil.copytree(small, tmp_path / "copy"))
    path = folder / "index.db"
    before = content(path)[1]
    embedded: list[str] = []
    inner = embedder.encode
    monkeypatch.setattr(
        embedder, "encode", lambda texts, *rest: embedded.extend(texts) or inner(texts, *rest)
    )
    parts = [
        replace(passages[0], key=f"part{number}", text=f"Hedgehogs, part {number}")
        for number in range(2)
    ]
    new = replace(passages[1], key="new", identifier="<new>", document="new", text="Badgers.")
    assert put_documents(path, [*parts, new], embedder, Silent()) == IndexSummary(
        added=3, removed=1, changed=0, total=10, rebuilt=False
    )
    assert sorted(embedded) == sorted(one.content for one in [*parts, new])
    moved = replace(new, identifier="<moved>", sender="Bob")
    assert put_documents(path, [moved, parts[0]], embedder, Silent()) == IndexSummary(
        added=0, removed=1, changed=1, total=9, rebuilt=False
    )
    assert len(embedded) == 3

    gone = delete_documents(path, [passages[2].of, ("mail.mbox", "<never>")])
    assert gone == IndexSummary(added=0, removed=1, changed=0, total=8, rebuilt=False)
    rows, vectors = content(path)
    now = [moved, parts[0], passages[1], *passages[3:]]
    assert [IndexedPassage(*row) for row in rows] == sorted(now, key=lambda one: one.key)
    kept = {one.key for one in passages[3:]}
    assert {key: vectors[key] for key in kept} == {key: before[key] for key in kept}
    with Searcher(folder) as searcher:
        for mode in ("vector", "text", "hybrid"):
            assert searcher.search("hedgehogs", 1, mode)[0].key == "part0"
            found = searcher.search("pizza or sushi, hedgehogs, badgers", 20, mode)
            assert passages[2].key not in {hit.key for hit in found}


def test_documents_are_only_put_into_a_finished_index_of_the_same_model(
    small: Path, tmp_path: Path, spoilable: Path, embedder: Embedder, passages: list[IndexedPassage]
) -> None:
    with pytest.raises(UserError, match="no index here"):
        delete_documents(tmp_path / "index.db", [])
    path = shutil.copytree(small, tmp_path / "copy") / "index.db"
    (spoilable / "sentence_bert_config.json").write_text('{"max_seq_length": 16}')
    with pytest.raises(UserError, match="made by another model"):
        put_documents(path, passages[:1], Embedder(spoilable), Silent())
    with pytest.raises(UserError, match="1 passages have a key twice"):
        put_documents(path, passages[:1] * 2, embedder, Silent())


PUT_AND_DIE = """
import os, signal, sys
from pathlib import Path
from customir.progress import Silent
from customir.runtime import index, index_file
from customir.runtime.embedder import Embedder

inner = index._insert_row
def insert(database, number, identifier, passage):
    inner(database, number, identifier, passage)
    if passage.key == "part1":
        os.kill(os.getpid(), signal.SIGKILL)
index._insert_row = insert
passages = [index.IndexedPassage(*values) for values in eval(sys.argv[3])]
index.put_documents(Path(sys.argv[1]), passages, Embedder(Path(sys.argv[2])), Silent())
"""


def test_killed_while_a_document_is_put_the_index_has_it_as_it_was(
    small: Path, tmp_path: Path, embedder: Embedder, passages: list[IndexedPassage]
) -> None:
    folder = Path(shutil.copytree(small, tmp_path / "copy"))
    path = folder / "index.db"
    before = content(path), answers(folder, embedder)
    parts = [
        replace(passages[0], key=f"part{number}", text=f"Hedgehogs {number}") for number in (0, 1)
    ]
    values = repr([tuple(vars(passage).values()) for passage in parts])
    arguments = [str(path), str(folder / "model"), values]
    done = subprocess.run([sys.executable, "-c", PUT_AND_DIE, *arguments], check=False)
    assert done.returncode == -signal.SIGKILL
    assert (content(path), answers(folder, embedder)) == before
    assert put_documents(path, parts, embedder, Silent()).total == 9


def test_an_open_reader_goes_on_while_documents_are_put(
    small: Path, tmp_path: Path, embedder: Embedder, passages: list[IndexedPassage]
) -> None:
    folder = Path(shutil.copytree(small, tmp_path / "copy"))
    seen: list[set[str]] = []
    parts = [
        replace(passages[0], key=f"part{number}", text=f"Hedgehogs {number}") for number in (0, 1)
    ]
    with Searcher(folder) as searcher:

        def of_the_thread() -> set[str]:
            return {one.key for one in searcher.thread(passages[0].thread)}

        class Reading(Silent):
            def advance(self, steps: int = 1) -> None:
                seen.append(of_the_thread())

        put_documents(folder / "index.db", parts, embedder, Reading())
        assert seen
        assert seen == [{passages[0].key}] * len(seen)
        assert of_the_thread() == {"part0", "part1"}
        assert searcher.search("hedgehogs", 1)[0].key in ("part0", "part1")
