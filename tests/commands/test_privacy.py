"""`customir privacy` names every file and table of DIR."""

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from full_folder import WORD

from customir.commands.privacy import Content, list_contents


def test_what_it_does_not_know_it_calls_unknown(out: Path) -> None:
    (out / "notes.txt").write_text("written by somebody else")
    with closing(sqlite3.connect(out / "workspace.db")) as database:
        database.execute("CREATE TABLE foreign_rows (text TEXT)")
    unknown = [(e.path, e.table) for e in list_contents(out) if e.content is Content.UNKNOWN]
    assert unknown == [("notes.txt", None), ("workspace.db", "foreign_rows")]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("generations/000001/model/onnx/model.onnx.data", Content.DERIVED),
        ("generations/000001/passage-model/model.safetensors", Content.DERIVED),
        ("generations/000001/model/tokenizer.json", Content.NONE),
        ("model/model.gguf", Content.DERIVED),
        ("engines/tei/model.safetensors", Content.DERIVED),
        ("base/minilm/config_sentence_transformers.json", Content.NONE),
        ("candidates-x1/weight-1/model.safetensors", Content.DERIVED),
        ("training/frozen-0.bin", Content.DERIVED),
        ("restore.part/workspace.db", Content.TEXT),
        ("etilqs_58da871e44e8c3d3", Content.TEXT),
        ("notes/workspace.db.txt", Content.UNKNOWN),
    ],
)
def test_files_that_a_small_run_does_not_leave(tmp_path: Path, name: str, content: Content) -> None:
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).touch()
    (entry,) = list_contents(tmp_path)
    assert (entry.path, entry.content) == (name, content)


def test_text_is_nowhere_else(out: Path) -> None:
    entries = list_contents(out)
    beside = ("-wal", "-shm")  # SQLite makes and deletes them
    assert {entry.path for entry in entries if not entry.path.endswith(beside)} == {
        path.relative_to(out).as_posix()
        for path in out.rglob("*")
        if path.is_file() and not path.is_symlink() and not path.name.endswith(beside)
    }
    holding = {
        entry.path for entry in entries if WORD.encode() in (out / entry.path).read_bytes()
    } - {"training/adapter/weights"}  # the fixture's weights are a word
    assert {"workspace.db", "report.html", "check/workspace.db"} <= holding
    assert {e.content for e in entries if e.path in holding and not e.table} == {Content.TEXT}


def test_it_prints_a_table_or_json(out: Path) -> None:
    def printed(*more: str) -> str:
        return subprocess.run(
            [sys.executable, "-m", "customir.cli", "privacy", str(out), *more],
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip

    lines = [line.split("\t") for line in printed().splitlines()]
    assert ["report.md", f"{len(WORD)} bytes", "text of the corpus"] in [line[:3] for line in lines]
    entries = json.loads(printed("--json"))
    sizes = {e["path"]: e["size"] for e in entries if e["table"] == "document"}
    assert sizes == {"workspace.db": 77, "check/workspace.db": 0}
