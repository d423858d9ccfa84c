"""The workspace: transactions, the lock, privacy, stages, and files that are none."""

import os
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from customir.errors import UserError
from customir.workspace import Workspace
from customir.workspace.documents import read_documents
from customir.workspace.migrations import MIGRATIONS
from customir.workspace.passages import Passage, read_passages
from customir.workspace.queries import (
    Negative,
    Query,
    count_queries,
    read_negatives,
    read_queries,
    write_negatives,
    write_queries,
)


def put(workspace: Workspace, key: str) -> None:
    workspace.database.execute("INSERT INTO result VALUES (?, 'query', ?)", (key, key.encode()))


def test_a_transaction_is_whole_or_absent(tmp_path: Path) -> None:
    with Workspace(tmp_path) as workspace:
        with workspace.transaction():
            put(workspace, "kept")

        def interrupted() -> None:
            with workspace.transaction():
                put(workspace, "lost")
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            interrupted()
        with workspace.transaction():
            put(workspace, "after")
    with Workspace(tmp_path) as workspace:
        assert set(workspace.results(["kept", "lost", "after"])) == {"kept", "after"}


def test_an_error_that_rolled_back_by_itself_stays_the_error(tmp_path: Path) -> None:
    with Workspace(tmp_path) as workspace:
        pages = workspace.database.execute("PRAGMA page_count").fetchone()[0]
        workspace.database.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(sqlite3.OperationalError, match="full"), workspace.transaction() as base:
            base.execute("INSERT INTO result VALUES ('big', 'query', zeroblob(9000000))")
        assert not workspace.results(["big"])


def test_results_are_found_for_more_keys_than_a_statement_takes(tmp_path: Path) -> None:
    with Workspace(tmp_path) as workspace:
        keys = [f"k{number}" for number in range(1201)]
        with workspace.transaction():
            for key in keys:
                put(workspace, key)
        assert workspace.results([*keys, "other", *keys]) == {key: key.encode() for key in keys}
        assert workspace.results([]) == {}


def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    mask = os.umask(0)
    try:
        with Workspace(tmp_path / "a" / "b") as workspace:
            put(workspace, "k")
            names = {path.name for path in workspace.folder.iterdir()}
            assert names >= {"workspace.db", "workspace.db-wal", "workspace.lock"}
            for path in workspace.folder.iterdir():
                assert path.stat().st_mode & 0o777 == 0o600, path
            for folder in (workspace.folder, workspace.folder.parent):
                assert folder.stat().st_mode & 0o777 == 0o700, folder
    finally:
        os.umask(mask)


WRITER = """
import sys
from pathlib import Path
from customir.workspace import Workspace
with Workspace(Path(sys.argv[1])):
    print("writing", flush=True)
    sys.stdin.read()
"""


def test_temporary_files_of_sqlite_lie_in_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "Ada's mail"
    with Workspace(folder) as workspace:
        (found,) = workspace.database.execute("PRAGMA temp_store_directory").fetchone()
        assert found == str(folder)
        assert workspace.rewrite()


def test_one_writer_at_a_time_and_readers_meanwhile(tmp_path: Path) -> None:
    with Workspace(tmp_path) as workspace:
        put(workspace, "old")
    other = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == "writing\n"
        with pytest.raises(UserError, match=f"{tmp_path}: another customir process is using it"):
            Workspace(tmp_path)
        with Workspace(tmp_path, write=False) as reader:
            assert reader.results(["old"])
    finally:
        other.kill()
        other.wait()
    # The lock dies with its holder.
    with Workspace(tmp_path) as workspace:
        assert workspace.results(["old"])


def test_a_reader_sees_what_is_committed_and_no_more(tmp_path: Path) -> None:
    with Workspace(tmp_path) as writer, Workspace(tmp_path, write=False) as reader:
        with writer.transaction():
            put(writer, "new")
            assert not reader.results(["new"])
        assert reader.results(["new"])


def test_a_reader_needs_a_workspace_and_makes_none(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="it has no workspace"):
        Workspace(tmp_path, write=False)
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_no_workspace_is_named_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "workspace.db"
    content = b"Dear all, this is a letter.\n" * 500
    path.write_bytes(content)
    for write in (True, False):
        with pytest.raises(UserError, match=r"workspace\.db: not a usable workspace"):
            Workspace(tmp_path, write=write)
    assert path.read_bytes() == content
    path.unlink()
    with Workspace(tmp_path):  # a failed start must not keep the lock
        pass


def test_an_older_workspace_keeps_its_documents_and_reads_its_sources_again(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "workspace.db")) as database:
        for number, script in enumerate(MIGRATIONS[:6], start=1):
            database.executescript(f"{script}; PRAGMA user_version = {number}")
        with database:
            database.execute("INSERT INTO stage VALUES ('ingest', 'fingerprint', 1, 2.0, '{}')")
            database.execute(
                "INSERT INTO document VALUES ('d', 's', 'i', 'Title', '', NULL, 't', 'text', 'bob')"
            )
    with Workspace(tmp_path) as workspace:
        (document,) = read_documents(workspace)
        ingest = workspace.stage("ingest")
    assert (document.recipients, document.attachments, document.language) == ("bob", "", "")
    assert ingest is not None
    assert ingest.fingerprint == ""


def test_a_newer_workspace_is_refused(tmp_path: Path) -> None:
    with Workspace(tmp_path) as workspace:
        workspace.database.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    with pytest.raises(UserError, match="newer"):
        Workspace(tmp_path)


def test_a_planted_trigger_is_refused(tmp_path: Path) -> None:
    with Workspace(tmp_path) as workspace:
        workspace.database.execute(
            "CREATE TRIGGER planted AFTER INSERT ON result BEGIN DELETE FROM result; END"
        )
    for write in (True, False):
        with pytest.raises(UserError, match="its trigger planted is not of CustomIR"):
            Workspace(tmp_path, write=write)


def test_a_file_in_the_folder_s_place_is_named(tmp_path: Path) -> None:
    path = tmp_path / "notes"
    path.write_text("mine")
    with pytest.raises(UserError, match="notes"):
        Workspace(path)


def test_a_stage_s_seconds_are_work_not_interruptions(tmp_path: Path) -> None:
    with Workspace(tmp_path) as workspace:
        assert workspace.stage("mine") is None
        time.sleep(0.3)
        workspace.begin_stage("mine", "print")
        time.sleep(0.1)
        workspace.count_work("mine", "judging", done=2, total=4, computed=2, seconds=0.1)
    time.sleep(0.3)
    with Workspace(tmp_path) as workspace:
        workspace.begin_stage("mine", "print")
        state = workspace.stage("mine")
        assert state is not None
        assert not state.finished
        assert state.work[0].computed == 2
        workspace.count_work("mine", "judging", done=4, total=4, computed=2, seconds=0.3)
        time.sleep(0.1)
        workspace.finish_stage("mine", {"auc": float("inf"), "name": "Ä"})
        state = workspace.stage("mine")
    assert state is not None
    assert state.finished
    assert state.detail == {"auc": float("inf"), "name": "Ä"}
    assert 0.2 <= state.seconds < 0.4
    (work,) = state.work
    assert (work.done, work.total, work.computed) == (4, 4, 4)
    assert work.seconds == pytest.approx(0.4)
    assert work.rate == pytest.approx(10)


def test_other_work_starts_a_stage_from_nothing(tmp_path: Path) -> None:
    with Workspace(tmp_path) as workspace:
        workspace.begin_stage("mine", "one")
        workspace.count_work("mine", "judging", done=1, total=1, computed=1, seconds=0.1)
        time.sleep(0.05)
        workspace.finish_stage("mine", {"a": 1})
        workspace.begin_stage("mine", "two")
        state = workspace.stage("mine")
    assert state is not None
    assert (state.fingerprint, state.finished, state.detail, state.work) == ("two", False, {}, ())
    assert state.seconds == 0


def test_a_rate_needs_something_computed(tmp_path: Path) -> None:
    with Workspace(tmp_path) as workspace:
        workspace.begin_stage("mine", "one")
        workspace.count_work("mine", "judging", done=3, total=3, computed=0, seconds=0.0)
        state = workspace.stage("mine")
    assert state is not None
    assert state.work[0].rate is None


def test_queries_and_negatives_come_back_as_written(tmp_path: Path) -> None:
    queries = [
        Query("q2", "p1", "question", "why?", None, "train"),
        Query("q1", "p2", "need", "a | pipe", "too short", "dev"),
        Query("q0", "p3", "subject", "Ä", None, "test"),
    ]
    negatives = [
        Negative("q2", "p8", 1, None, "negative"),
        Negative("q2", "p9", 0, -1.5, "relevant"),
    ]
    with Workspace(tmp_path) as workspace:
        write_queries(workspace, queries)
        write_negatives(workspace, negatives)
        assert read_queries(workspace) == [queries[2], queries[0]]
        assert read_queries(workspace, splits=("dev",)) == []
        assert read_queries(workspace, splits=("train", "dev")) == [queries[0]]
        assert count_queries(workspace, "train") == {"question": 1}
        assert count_queries(workspace, "dev") == {}
        assert read_negatives(workspace) == negatives[::-1]
        write_queries(workspace, queries[2:])
        assert read_negatives(workspace) == [], "negatives go with their query"


def test_passages_come_with_title_and_thread(tmp_path: Path) -> None:
    with Workspace(tmp_path) as workspace:
        workspace.database.execute(
            "INSERT INTO document VALUES ('d', 's', 'i', 'Title', '', NULL, 't', 'text', '', '', '')"
        )
        for key in ("p2", "p1"):
            workspace.database.execute(
                "INSERT INTO passage VALUES (?, 'd', 0, 'text', 'p1', NULL)", (key,)
            )
        first, second = read_passages(workspace)
    assert first == Passage("p1", "d", 0, "text", "p1", "Title", "t")
    assert second.key == "p2"
    assert first.content == "Title\ntext"
    assert Passage("p", "d", 0, "text", "p", "", "t").content == "text"


def test_a_stage_that_begins_makes_the_later_ones_stale(tmp_path: Path) -> None:
    with Workspace(tmp_path / "out") as workspace:
        for name in ("ingest", "generate", "mine"):
            workspace.begin_stage(name, "print")
            workspace.finish_stage(name, {"kept": name})
        workspace.begin_stage("generate", "print", later=("mine", "train"))
        prints = {name: workspace.stage(name) for name in ("ingest", "mine", "train")}
    assert prints["ingest"] is not None
    assert prints["ingest"].fingerprint == "print"
    assert prints["mine"] is not None
    assert prints["mine"].fingerprint != "print"
    assert prints["train"] is None
