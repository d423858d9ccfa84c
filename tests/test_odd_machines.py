"""A full disk, no shared memory, names that are not UTF-8: a clear message, and then it works."""

import os
import resource
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from mail import write_mailbox

from customir.corpus import workers
from customir.corpus.ingest import ingest
from customir.progress import Silent
from customir.settings import CorpusSettings
from customir.workspace import Workspace


def customir(*arguments: str | Path, room: int | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command for which no file can get larger than `room` bytes."""

    def limit() -> None:
        if room is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))

    return subprocess.run(
        [sys.executable, "-m", "customir.cli", *map(str, arguments)],
        capture_output=True, text=True, errors="surrogateescape", timeout=120, preexec_fn=limit,
    )  # fmt: skip


def rows(out: Path) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(out / "workspace.db")) as database:
        return database.execute("SELECT key, text, duplicates FROM passage ORDER BY key").fetchall()


@pytest.mark.usefixtures("smollm")
def test_without_room_it_says_so_and_goes_on_later(tmp_path: Path, minilm: Path) -> None:
    mail = write_mailbox(tmp_path / "mail.mbox")
    out = tmp_path / "out"
    for room in (4096, 40_000, 150_000):
        result = customir("ingest", mail, "--out", out, "--llm", "smollm2-135m", room=room)
        assert result.returncode == 2, (room, result.stderr)
        assert "Make room and run the same command again" in result.stderr
        assert "Traceback" not in result.stderr
    assert customir("ingest", mail, "--out", out, "--llm", "smollm2-135m").returncode == 0
    with Workspace(tmp_path / "undisturbed") as workspace:
        ingest(workspace, [mail], CorpusSettings(), minilm / "tokenizer.json", Silent())
    assert rows(out) == rows(tmp_path / "undisturbed")


def test_a_source_whose_name_is_not_utf8_is_named(tmp_path: Path) -> None:
    mail = write_mailbox(tmp_path / "mail.mbox")
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.mbox"))
    mail.rename(odd)
    result = customir("ingest", odd, "--out", tmp_path / "out")
    assert result.returncode == 2
    assert "its name is not UTF-8" in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_file_in_a_source_may_have_any_name(tmp_path: Path, minilm: Path) -> None:
    source = tmp_path / "notes"
    source.mkdir()
    odd = os.fsencode(source) + b"/caf\xe9.txt"
    Path(os.fsdecode(odd)).write_text("The coffee machine is repaired on Monday by a technician.")
    out = tmp_path / "out"
    with Workspace(out) as workspace:
        ingest(workspace, [source], CorpusSettings(), minilm / "tokenizer.json", Silent())
    result = customir("show", out, os.fsdecode(b"caf\xe9.txt"))
    assert result.returncode == 0, result.stderr
    assert "The coffee machine" in result.stdout
    result = customir("purge", out, "--message", os.fsdecode(b"caf\xe9.txt"), "--yes")
    assert result.returncode == 0, result.stderr
    assert rows(out) == []


def test_without_shared_memory_it_reads_in_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise OSError(30, "Read-only file system")  # of /dev/shm, when a lock is made

    monkeypatch.setattr(workers, "ProcessPoolExecutor", refused)
    assert list(workers.prepared([[], []], 2)) == [[], []]
