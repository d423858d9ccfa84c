"""Private files, written whole."""

import errno
import hashlib
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from customir.errors import UserError
from customir.files import (
    READ_BYTES,
    is_disk_full,
    make_private_folder,
    sha256_of,
    write_atomically,
)
from customir.settings import Settings, write_settings
from customir.workspace import Workspace


def test_folders_are_their_owner_s_alone(tmp_path: Path) -> None:
    mask = os.umask(0)
    try:
        made = make_private_folder(tmp_path / "a" / "b" / "c")
        for folder in (made, made.parent, made.parent.parent):
            assert folder.stat().st_mode & 0o777 == 0o700
        assert make_private_folder(made) == made
    finally:
        os.umask(mask)


def test_a_folder_that_was_there_keeps_its_mode(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    make_private_folder(tmp_path / "x")
    assert tmp_path.stat().st_mode & 0o777 == 0o755


def test_a_file_is_the_old_one_or_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"old")
    path.chmod(0o644)
    (tmp_path / "f.part").write_bytes(b"longer rest of a crash")
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_crash_s_rest_that_others_could_read_is_made_private(tmp_path: Path) -> None:
    part = tmp_path / "f.part"
    part.write_bytes(b"")
    part.chmod(0o644)
    write_atomically(tmp_path / "f", b"secret")
    assert (tmp_path / "f").stat().st_mode & 0o777 == 0o600


def test_a_link_that_somebody_planted_is_not_written_through(tmp_path: Path) -> None:
    foreign, folder = tmp_path / "foreign", tmp_path / "mail"
    foreign.write_text("precious")
    folder.mkdir()
    (folder / "customir.toml.part").symlink_to(foreign)
    (folder / "customir.toml").symlink_to(foreign)
    write_settings(folder, Settings())
    assert not (folder / "customir.toml").is_symlink()
    for name in ("workspace.lock", "workspace.db", "workspace.db-wal"):
        (folder / name).symlink_to(foreign)
        with pytest.raises(UserError, match="symbolic link"):
            Workspace(folder)
        (folder / name).unlink()
    assert foreign.read_text() == "precious"
    Workspace(folder).close()


def test_sha256_of_any_size(tmp_path: Path) -> None:
    for size in (0, 1, READ_BYTES, READ_BYTES + 1):
        content = bytes(size)
        (tmp_path / "f").write_bytes(content)
        assert sha256_of(tmp_path / "f") == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize(
    ("error", "full"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), True),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), True),
        (RuntimeError("I/O error: No space left on device (os error 28)"), True),
        (OSError(errno.EACCES, "Permission denied"), False),
        (ValueError("full"), False),
    ],
)
def test_a_full_disk_is_recognised(error: Exception, full: bool) -> None:
    assert is_disk_full(error) is full
    later = UserError("the export failed")
    later.__cause__ = error
    assert is_disk_full(later) is full


def test_sqlite_s_full_disk_is_recognised() -> None:
    with closing(sqlite3.connect(":memory:")) as database:
        database.execute("PRAGMA max_page_count = 2")
        with pytest.raises(sqlite3.OperationalError) as found:
            database.execute("CREATE TABLE t AS SELECT zeroblob(100000) AS b")
        assert is_disk_full(found.value)
        with pytest.raises(sqlite3.OperationalError) as other:
            database.execute("SELECT * FROM missing")
        assert not is_disk_full(other.value)
