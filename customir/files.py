"""Private files: folders 0700, files 0600, and writes that are whole or absent."""

import errno
import hashlib
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from customir.errors import UserError

READ_BYTES = 1 << 20
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# What SQLite reports instead where it is a write, or room for its shared memory, that failed.
SQLITE_NO_ROOM = (
    sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_FSYNC,
    sqlite3.SQLITE_IOERR_TRUNCATE, sqlite3.SQLITE_IOERR_SHMSIZE,
)  # fmt: skip


def is_disk_full(error: BaseException | None) -> bool:
    """Whether an error, or one that it was raised from, says that a file system has no room."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            return True
        if getattr(error, "sqlite_errorcode", None) in SQLITE_NO_ROOM:
            return True
        # Libraries in Rust and C++ (safetensors, ONNX Runtime) have the system's words alone.
        if os.strerror(errno.ENOSPC) in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def make_private_folder(folder: Path) -> Path:
    """Create `folder` (and its parents) readable by its owner alone; return it."""
    for path in (*reversed(folder.parents), folder):
        path.mkdir(mode=0o700, exist_ok=True)
    return folder


def write_atomically(path: Path, content: bytes) -> None:
    """Write `content` to `path` with mode 0600, so that a crash leaves the old file or the new."""
    with written_atomically(path) as file:
        file.write(content)


@contextmanager
def written_atomically(path: Path) -> Iterator[IO[bytes]]:
    """A file to write that becomes `path`, with mode 0600, at the end; after an error it is gone."""
    temporary = path.with_name(path.name + ".part")
    temporary.unlink(missing_ok=True)  # a crash may have left it, or somebody planted a link
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, 0o600)  # whatever the umask is
            yield file
            file.flush()
            os.fsync(descriptor)
        os.replace(temporary, path)
        fsync(path.parent.resolve())
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def fsync(path: Path) -> None:
    """Have a file's content, or the names in a folder, on disk; follow no symbolic link."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def create_database_file(path: Path) -> None:
    """Create an SQLite file with mode 0600 where there is none yet.

    Raises:
        UserError: it, or a file that SQLite writes beside it, is a symbolic link, through which
            another file would be overwritten.
    """
    for suffix in ("", "-wal", "-shm", "-journal"):
        beside = path.with_name(path.name + suffix)
        if beside.is_symlink():
            raise UserError(
                f"{beside}: a symbolic link, which is not written through. Delete it, or move the "
                "file itself to this place."
            )
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600))


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in lower-case hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(READ_BYTES):
            digest.update(block)
    return digest.hexdigest()
