"""Folders, zip and tar files alike: named files, read one at a time and never unpacked to disk."""

import os
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import IO, TypeVar

from customir.corpus.readers.streams import head_of, open_bytes

ZIP_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")
TAR_MAGIC, TAR_MAGIC_AT = b"ustar", 257
# What text packs to is some tens of times smaller; what packs better was made to fill a disk.
MAXIMUM_RATIO = 200
SMALL_BYTES = 1 << 20
MAXIMUM_FILE = 256 << 20
MAXIMUM_FILES = 200_000
# What zipfile and tarfile raise on damaged, encrypted and unknown archives.
DAMAGE = (
    OSError, EOFError, ValueError, RuntimeError, NotImplementedError, zipfile.BadZipFile,
    tarfile.TarError, zlib.error,
)  # fmt: skip


T = TypeVar("T")


class TreeError(Exception):
    """Why an archive, or a file of it, is not read."""


@dataclass(frozen=True)
class Tree:
    """The files of a folder or archive.

    Attributes:
        names: Their paths with "/", sorted; without a folder that all of them share.
        refused: (path, why) of those that are not read.
    """

    names: tuple[str, ...]
    refused: tuple[tuple[str, str], ...]
    _read: Callable[[str], bytes]

    def read(self, name: str) -> bytes:
        """The content of a file.

        Raises:
            TreeError: it is damaged, encrypted or too large.
        """
        try:
            return self._read(name)
        except DAMAGE as error:
            raise TreeError(f"damaged file: {error}") from error


def is_archive(head: bytes) -> bool:
    """Whether a file that begins with `head` (unpacked) is a zip or tar file."""
    return head.startswith(ZIP_MAGIC) or head[TAR_MAGIC_AT:].startswith(TAR_MAGIC)


@contextmanager
def open_tree(path: Path) -> Iterator[Tree]:
    """The files of a folder, a zip file or a (gzipped) tar file.

    Raises:
        TreeError: the archive is damaged, or made to unpack to very much more than its size.
    """
    if path.is_dir():
        yield _folder(path)
        return
    with ExitStack() as opened:
        try:
            if head_of(path).startswith(ZIP_MAGIC):
                packed = opened.enter_context(zipfile.ZipFile(path))
                tree = _zip(packed, path.stat().st_size)
            else:
                file = opened.enter_context(open_bytes(path))
                tape = opened.enter_context(tarfile.open(fileobj=file, mode="r:"))
                tree = _tar(tape, path.stat().st_size)
        except DAMAGE as error:
            raise TreeError(f"damaged archive: {error}") from error
        yield tree


def check_zip(content: bytes) -> None:
    """Nothing, where a zip file in memory may be unpacked.

    Raises:
        TreeError: as `open_tree`.
    """
    try:
        with zipfile.ZipFile(BytesIO(content)) as packed:
            _zip(packed, len(content))
    except DAMAGE as error:
        raise TreeError(f"damaged archive: {error}") from error


def _folder(path: Path) -> Tree:
    files: dict[str, Path] = {}
    refused: list[tuple[str, str]] = []
    for folder, folders, names in os.walk(path):
        links = [each for each in folders if (Path(folder) / each).is_symlink()]
        for each in (*names, *links):
            below = Path(folder) / each
            name = below.relative_to(path).as_posix()
            if stat.S_ISREG(below.lstat().st_mode):
                files[name] = below
            else:
                refused.append((name, "a symbolic link or no regular file, not followed"))
    return Tree(tuple(sorted(files)), tuple(sorted(refused)), lambda name: _bounded(files[name]))


def _bounded(path: Path) -> bytes:
    if path.stat().st_size > MAXIMUM_FILE:
        raise TreeError(_too_large())
    return path.read_bytes()


def _zip(packed: zipfile.ZipFile, size: int) -> Tree:
    members: dict[str, zipfile.ZipInfo] = {}
    refused: list[tuple[str, str]] = []
    unpacked = 0
    for member in packed.infolist():
        unpacked += member.file_size
        _refuse_bomb(unpacked, size, len(members))
        if member.is_dir():
            continue
        if stat.S_ISLNK(member.external_attr >> 16) or not _is_below(member.filename):
            refused.append((member.filename, "a path that leads out of the archive"))
        else:
            members[member.filename] = member
    return _stripped(
        members, refused, lambda member: _member(packed.open(member), member.file_size)
    )


def _tar(tape: tarfile.TarFile, size: int) -> Tree:
    members: dict[str, tarfile.TarInfo] = {}
    refused: list[tuple[str, str]] = []
    unpacked = 0
    for member in tape:
        unpacked += member.size
        _refuse_bomb(unpacked, size, len(members))
        if member.isdir():
            continue
        if not member.isreg() or not _is_below(member.name):
            refused.append((member.name, "a link, or a path that leads out of the archive"))
        else:
            members[member.name.removeprefix("./")] = member
    return _stripped(
        members, refused, lambda member: _member(tape.extractfile(member), member.size)
    )


def _member(file: IO[bytes] | None, size: int) -> bytes:
    if file is None or size > MAXIMUM_FILE:
        raise TreeError(_too_large())
    with file:
        return file.read()


def _too_large() -> str:
    return f"larger than {MAXIMUM_FILE >> 20} MB"


def _refuse_bomb(unpacked: int, size: int, files: int) -> None:
    if unpacked > SMALL_BYTES + size * MAXIMUM_RATIO:
        raise TreeError(f"it unpacks to more than {MAXIMUM_RATIO} times its size: not opened")
    if files >= MAXIMUM_FILES:
        raise TreeError(f"it holds more than {MAXIMUM_FILES:,} files: not opened")


def _is_below(name: str) -> bool:
    path = PurePosixPath(name.replace("\\", "/"))
    return not path.is_absolute() and ".." not in path.parts and ":" not in path.parts[0]


def _stripped(
    members: Mapping[str, T], refused: list[tuple[str, str]], read: Callable[[T], bytes]
) -> Tree:
    roots = {name.partition("/")[0] for name in members}
    root = f"{roots.pop()}/" if len(roots) == 1 and all("/" in name for name in members) else ""
    by_name = {name.removeprefix(root): member for name, member in members.items()}
    return Tree(tuple(sorted(by_name)), tuple(sorted(refused)), lambda name: read(by_name[name]))
