"""`customir backup`, `restore` and `verify`, on a DIR with the real model, workspace and index."""

import io
import json
import shutil
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from full_folder import IDENTIFIER, WORD, add_index, read
from mail import write_mailbox

from customir.commands.backup import backup, restore
from customir.commands.verify import verify
from customir.errors import UserError
from customir.runtime import Searcher, generations
from customir.workspace import Workspace
from customir.workspace.documents import find_documents, read_document_heads


def customir(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "customir.cli", *map(str, arguments)],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip


@pytest.fixture(scope="module")
def archive(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("backup") / "below" / "mail.tar"
    with Searcher(whole) as searcher, Workspace(whole):  # in use by a reader and by a writer
        backup(whole, file)
        assert searcher.search(WORD, 1)
    return file


def contents(folder: Path) -> dict[str, bytes]:
    current = generations.current(folder)
    return {
        path.relative_to(current).as_posix(): path.read_bytes()
        for path in (current / "model").rglob("*")
        if path.is_file()
    }


def test_what_comes_back_is_what_was_there(whole: Path, archive: Path, tmp_path: Path) -> None:
    assert [path.name for path in archive.parent.iterdir()] == ["mail.tar"]
    assert archive.stat().st_mode & 0o777 == 0o600
    with tarfile.open(archive) as tar:
        members = tar.getmembers()
    assert members[-1].name == "SHA256SUMS"
    assert {member.uname + member.gname for member in members} == {""}
    out = tmp_path / "new" / "out"
    assert customir("restore", archive, out).returncode == 0
    assert contents(out) == contents(whole)
    assert (out / "customir.toml").read_bytes() == (whole / "customir.toml").read_bytes()
    assert (out / "training" / "adapter" / "weights").read_text() == WORD
    with Workspace(out, write=False) as restored, Workspace(whole, write=False) as original:
        assert read_document_heads(restored) == read_document_heads(original)
        assert restored.stage("evaluate") == original.stage("evaluate")
    with Searcher(out) as searcher, Searcher(whole) as before:
        assert searcher.search(WORD) == before.search(WORD)
    for path in (out, *out.rglob("*")):
        assert path.is_symlink() or path.stat().st_mode & 0o077 == 0, path
    assert all(not finding.problem for finding in verify(out))


def test_a_reader_goes_over_to_what_is_restored_and_one_can_go_back(
    out: Path, archive: Path, model: Path, minilm: Path
) -> None:
    read(out, write_mailbox(out.parent / "fewer.mbox", threads=24), minilm)
    add_index(out, model)
    with Searcher(out) as searcher:
        assert searcher.search(WORD, 1)[0].identifier != IDENTIFIER
        refused = customir("restore", archive, out)
        assert refused.returncode == 2
        assert "--replace" in refused.stderr
        restore(archive, out, replace=True)
        assert searcher.search(WORD, 1)[0].identifier == IDENTIFIER
        with Workspace(out) as workspace:
            assert find_documents(workspace, IDENTIFIER)
        assert not list(out.glob("*.part"))
        generations.roll_back(out)
        assert searcher.search(WORD, 1)[0].identifier != IDENTIFIER


KILLED = """
import os, signal, sys
from pathlib import Path
from customir.commands import backup

backup.generations.publish = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
backup.restore(Path(sys.argv[1]), Path(sys.argv[2]))
"""


def test_a_restore_that_was_killed_is_done_by_the_next(
    whole: Path, archive: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    arguments = [sys.executable, "-c", KILLED, str(archive), str(out)]
    assert subprocess.run(arguments, capture_output=True).returncode == -signal.SIGKILL
    assert (out / "restore.part").exists()
    restore(archive, out, replace=True)
    assert contents(out) == contents(whole)
    assert not list(out.glob("*.part"))
    assert len(list((out / "generations").glob("0*"))) == 1
    assert all(not finding.problem for finding in verify(out))


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flip(content: bytes) -> bytes:
    place = len(content) // 3
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


def no_archive(content: bytes) -> bytes:
    return b"Dear all, this is a letter.\n" * 500


@pytest.mark.parametrize("spoil", [cut, flip, no_archive])
def test_a_damaged_backup_changes_nothing(
    spoil: Callable[[bytes], bytes], archive: Path, out: Path
) -> None:
    file = out.parent / "damaged.tar"
    file.write_bytes(spoil(archive.read_bytes()))
    before = sorted(path.name for path in out.rglob("*")), contents(out)
    with pytest.raises(UserError, match=r"damaged\.tar: (cannot|damaged|not a backup)"):
        restore(file, out, replace=True)
    assert (sorted(path.name for path in out.rglob("*")), contents(out)) == before


@pytest.mark.parametrize("name", ["../planted", "/tmp/planted", "a/../../planted"])
def test_a_backup_writes_nothing_outside(name: str, tmp_path: Path) -> None:
    file = tmp_path / "planted.tar"
    with tarfile.open(file, "w") as tar:
        member = tarfile.TarInfo(name)
        member.size = 1
        tar.addfile(member, io.BytesIO(b"x"))
    with pytest.raises(UserError, match="not a backup of CustomIR"):
        restore(file, tmp_path / "out")
    link = tmp_path / "link.tar"
    with tarfile.open(link, "w") as tar:
        member = tarfile.TarInfo("workspace.db")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(member)
    with pytest.raises(UserError, match="not a backup of CustomIR"):
        restore(link, tmp_path / "out")
    assert not list(tmp_path.rglob("planted"))


def test_a_backup_is_not_written_into_dir(out: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Write the backup somewhere else"):
        backup(out, out / "mail.tar")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="nothing to keep"):
        backup(tmp_path / "empty", tmp_path / "mail.tar")
    assert not (tmp_path / "mail.tar").exists()


def spoil_byte(path: Path, place: float = 0.5) -> None:
    """Change one byte of a file that may be a hard link to another one's."""
    content = bytearray(path.read_bytes())
    content[int(len(content) * place)] ^= 1
    path.unlink()
    path.write_bytes(content)


def test_verify_names_what_is_damaged_and_what_to_do(out: Path) -> None:
    result = customir("verify", out, "--json")
    assert result.returncode == 0, result.stderr
    checked = {Path(each["path"]).relative_to(out).as_posix() for each in json.loads(result.stdout)}
    current = generations.current(out).relative_to(out).as_posix()
    assert checked >= {
        "workspace.db", "customir.toml", "generations/current.json", f"{current}/index.db",
        f"{current}/index.vectors", f"{current}/model/onnx/model_qint8.onnx",
        f"{current}/model/tokenizer.json",
    }  # fmt: skip
    for name, advice in (
        (f"{current}/index.vectors", "the next search makes it again"),
        (f"{current}/index.db", "Delete it and run: customir index --out"),
        (f"{current}/model/onnx/model.onnx", "customir rollback"),
        ("workspace.db", "Restore a backup"),
        ("customir.toml", "Correct the file"),
    ):
        kept = (out / name).read_bytes()
        if name == "customir.toml":
            (out / name).write_text("[training]\nlearning_rat = 1\n")
        elif name == "workspace.db":
            (out / name).write_bytes(kept[:8192] + bytes(8192) + kept[16384:])
        else:
            spoil_byte(out / name, 0.9)
        result = customir("verify", out)
        assert result.returncode == 2, name
        assert f"{out / name}: " in result.stderr
        assert advice in result.stderr
        assert "Traceback" not in result.stderr
        (out / name).write_bytes(kept)
    assert customir("verify", out).returncode == 0
    shutil.rmtree(generations.current(out))
    assert "is missing" in customir("verify", out).stderr
