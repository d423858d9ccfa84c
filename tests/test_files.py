"""Private files, written whole."""

import hashlib
import os
from pathlib import Path

from customir.files import READ_BYTES, make_private_folder, sha256_of, write_atomically


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


def test_sha256_of_any_size(tmp_path: Path) -> None:
    for size in (0, 1, READ_BYTES, READ_BYTES + 1):
        content = bytes(size)
        (tmp_path / "f").write_bytes(content)
        assert sha256_of(tmp_path / "f") == hashlib.sha256(content).hexdigest()
