"""`customir purge` leaves no byte of a document, says what remains, and survives being killed."""

import json
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from full_folder import GONE, IDENTIFIER, SENDER, WORD, read
from mail import write_mailbox

from customir.commands.purge import Selection
from customir.errors import UserError
from customir.runtime import Embedder, Searcher, generations
from customir.workspace import Workspace
from customir.workspace.documents import (
    DocumentHead,
    find_documents,
    pack_text,
    read_document_heads,
    read_skipped,
)
from customir.workspace.queries import read_queries


def customir(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "customir.cli", *map(str, arguments)],
        capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120,
    )  # fmt: skip


def traces(out: Path, model: Path) -> set[str]:
    """Files of DIR that hold a word, a name, the original or the vector of the purged message."""
    text = f"The {WORD} of the regatta was ordered by the committee last week.\n"
    vector = Embedder(model).encode([f"The regatta\n\n{text.strip()}"], "passage")[0].tobytes()
    wanted = [WORD, SENDER, IDENTIFIER.strip("<>"), "committee last week"]
    parts = [*(part.encode() for part in wanted), pack_text(text), vector, vector[64:128]]
    return {
        path.relative_to(out).as_posix()
        for path in out.rglob("*")
        if path.is_file() and any(part in path.read_bytes() for part in parts)
    }


def state(out: Path) -> list[object]:
    """The workspace's rows, the index's passages and vectors, and the names of DIR's files."""
    found: list[object] = []
    with closing(sqlite3.connect(out / "workspace.db")) as database:
        for (table,) in database.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name"
        ).fetchall():
            found.append((table, database.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall()))
    with Searcher(out) as searcher:
        hits = searcher.search("boathouse", 100)
        found.append([(hit.identifier, hit.score) for hit in hits])
    found.append(sorted(path.relative_to(out).as_posix() for path in out.rglob("*")))
    return found


def test_nothing_of_a_message_is_left(out: Path, model: Path) -> None:
    previous = generations.previous(out)
    assert previous
    found = traces(out, model)
    assert {"workspace.db", "report.md", "check/workspace.db", "index.db"} <= found
    assert any("index.vectors" in name for name in found)

    result = customir("purge", out, "--message", IDENTIFIER.strip("<>"), "--yes", "--json")
    assert result.returncode == 0, result.stderr
    assert traces(out, model) == set()
    assert not previous.exists()
    told = json.loads(result.stdout)
    assert told["documents"] == 1
    assert told["complete"]
    # The message itself, its answer's query and a hard negative were trained on.
    (learned,) = told["learned"]
    assert learned["documents"] == 1
    assert learned["folder"] == str(generations.current(out) / "model")
    assert told["retrain"] == f"customir adapt --out {out}"
    with Workspace(out, write=False) as workspace:
        # What the LLM wrote for other documents stays; what was taken from messages does not.
        assert [query.text for query in read_queries(workspace)] == ["kept by the model"]
        assert set(workspace.results(["r0", "r1", "r2", "r3"])) == {"r1"}
        assert workspace.stage("evaluate") is None
        assert not workspace.removal_pending
    with Searcher(out) as searcher:
        assert "<answer-78@example.org>" in [hit.identifier for hit in searcher.search("boathouse")]


def test_what_is_still_in_the_sources_stays_out(out: Path, minilm: Path) -> None:
    assert customir("purge", out, "--sender", SENDER.upper(), "--yes").returncode == 0
    mail = write_mailbox(out.parent / "again.mbox")
    with mail.open("a") as file:
        file.write(GONE)
    read(out, mail, minilm)
    with Workspace(out, write=False) as workspace:
        assert not find_documents(workspace, IDENTIFIER)
        assert find_documents(workspace, "<answer-78@example.org>")
        (skipped,) = (row for row in read_skipped(workspace) if row.reason == "purged")
        assert SENDER not in skipped.identifier
        assert IDENTIFIER not in skipped.identifier
    # The answer names the message that it answers; nothing else is left.
    content = b"".join(path.read_bytes() for path in out.glob("workspace.db*"))
    assert WORD.encode() not in content
    assert SENDER.encode() not in content


def test_a_search_under_way_goes_on(out: Path, model: Path) -> None:
    with Searcher(out) as searcher:
        assert searcher.search(WORD, 1)[0].identifier == IDENTIFIER
        result = customir("purge", out, "--message", IDENTIFIER, "--yes")
        assert result.returncode == 0, result.stderr
        assert searcher.search(WORD, 1)[0].identifier != IDENTIFIER
        assert traces(out, model) == set()


KILLED = """
import os, signal, sys
from pathlib import Path
from customir.commands import purge

name, when = sys.argv[2], sys.argv[3]
work = getattr(purge, name)

def killed(*arguments):
    if when == "after":
        work(*arguments)
    os.kill(os.getpid(), signal.SIGKILL)

setattr(purge, name, killed)
purge.purge(Path(sys.argv[1]), purge.Selection(messages=(sys.argv[4],)))
"""


@pytest.fixture(scope="module")
def undisturbed(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> list[object]:
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    shutil.copytree(whole, out, symlinks=True)
    assert customir("purge", out, "--message", IDENTIFIER, "--yes").returncode == 0
    return state(out)


@pytest.mark.parametrize(
    ("step", "when"),
    [("purge_documents", "after"), ("_delete", "after"), ("purge_index", "before"),
     ("purge_index", "after"), ("finish_purge", "before")],
)  # fmt: skip
def test_killed_and_run_again_it_ends_as_if_undisturbed(
    step: str, when: str, out: Path, model: Path, undisturbed: list[object]
) -> None:
    arguments = [sys.executable, "-c", KILLED, str(out), step, when, IDENTIFIER]
    killed = subprocess.run(arguments, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    result = customir("purge", out, "--message", IDENTIFIER, "--yes")
    assert result.returncode == 0, result.stderr
    assert traces(out, model) == set()
    assert state(out) == undisturbed


def test_all_but_the_model_goes(out: Path, model: Path) -> None:
    result = customir("purge", out, "--all-but-model", "--yes")
    assert result.returncode == 0, result.stderr
    assert traces(out, model) == set()
    left = {path.relative_to(out).parts[0] for path in out.rglob("*")}
    assert left == {"model", "generations", "workspace.lock", "index.lock"}
    assert [path.name for path in generations.current(out).iterdir()] == ["model"]
    assert Embedder(out / "model").encode(["a text"]).shape == (1, 384)
    assert customir("search", out, "anything").returncode == 2


def test_it_asks_first_and_deletes_nothing_by_mistake(out: Path) -> None:
    def refused(*arguments: str) -> str:
        result = customir("purge", out, *arguments)
        assert result.returncode == 2
        assert "Traceback" not in result.stderr
        return result.stderr

    assert "Add --yes" in refused("--message", IDENTIFIER)
    assert "no document fulfils these conditions" in refused("--message", "none@x", "--yes")
    assert "Nothing is selected" in refused("--yes")
    assert "Leave out the conditions" in refused("--all-but-model", "--before", "2019", "--yes")
    assert "not a date" in refused("--before", "yesterday", "--yes")
    assert (out / "report.md").exists()
    with Workspace(out, write=False) as workspace:
        assert len(read_document_heads(workspace)) == 77


def test_a_folder_with_an_index_alone(out: Path, model: Path) -> None:
    for path in (*out.glob("workspace.*"), out / "customir.toml", out / "report.md"):
        path.unlink()
    result = customir("purge", out, "--message", IDENTIFIER, "--yes")
    assert result.returncode == 0, result.stderr
    assert traces(out, model) == set()
    assert "may have learned" in result.stdout
    assert customir("purge", out.parent / "none", "--before", "2020", "--yes").returncode == 2


def head(identifier: str, sender: str = "", date: str | None = None) -> DocumentHead:
    return DocumentHead(identifier, "mail.mbox", identifier, "", sender, date)


def test_conditions() -> None:
    heads = [
        head("<1@x>", "Ann Lee <ann@example.org>", "2019-05-01T10:00:00+00:00"),
        head("<1@x> / plan.pdf", "Ann Lee <ann@example.org>", "2019-05-01T10:00:00+00:00"),
        head("<2@x>", "Joann <joann@example.org>", "2018-12-31T23:59:59+00:00"),
        head("chat/general", "Ann Lee"),
    ]

    def selected(**conditions: object) -> list[str]:
        return [each.identifier for each in Selection(**conditions).select(heads)]  # type: ignore[arg-type]

    assert selected(messages=("1@x",)) == ["<1@x>", "<1@x> / plan.pdf"]
    assert selected(messages=("<1@x> / plan.pdf", "chat/general")) == [
        "<1@x> / plan.pdf", "chat/general",
    ]  # fmt: skip
    assert selected(senders=("ANN@example.org",)) == ["<1@x>", "<1@x> / plan.pdf"]
    assert selected(senders=("ann lee",)) == ["chat/general"]
    assert selected(before="2019") == ["<2@x>"]
    assert selected(before="2019-05-01") == ["<2@x>"]
    assert selected(senders=("ann@example.org",), before="2019-05-01T10:00:01") == [
        "<1@x>", "<1@x> / plan.pdf",
    ]  # fmt: skip
    assert selected(messages=("2@x",), senders=("ann@example.org",)) == []
    with pytest.raises(UserError, match="Nothing is selected"):
        selected()
