"""Reads the files of a folder, zip or tar file one at a time, without unpacking to disk."""

import bz2
import gzip
import lzma
import os
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, TypeVar, cast

from customir.corpus.readers.files import ReadError

ZIP_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")
TAR_MAGIC, TAR_MAGIC_AT = b"ustar", 257
# Text compresses to some tenths of its size. An archive beyond this ratio was made to fill a disk.
MAXIMUM_RATIO = 200
SMALL_BYTES = 1 << 20
MAXIMUM_FILE = 256 << 20
MAXIMUM_FILES = 200_000
ENCRYPTED = 0x1
COMPRESSED_TAR: dict[bytes, Callable[[IO[bytes]], Any]] = {
    b"\x1f\x8b": lambda file: gzip.GzipFile(fileobj=file),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\0": lzma.LZMAFile,
}
# The errors that zipfile and tarfile raise on damaged, encrypted and unknown archives.
DAMAGE = (
    OSError, EOFError, ValueError, RuntimeError, NotImplementedError, zipfile.BadZipFile,
    tarfile.TarError, zlib.error, lzma.LZMAError,
)  # fmt: skip


T = TypeVar("T")


@dataclass(frozen=True)
class FileTree:
    """The files of a folder or archive.

    Attributes:
        names: Their paths with "/". In an archive, they are in stored order, without a folder that
            all of them share; in a folder, they are sorted.
        refused: (path, reason) of the files that are not read.
        open: Opens a file by its name. In a tar file, this is fast only in the order of `names`.
    """

    names: tuple[str, ...]
    refused: tuple[tuple[str, str], ...]
    open: Callable[[str], IO[bytes]]

    def read(self, name: str) -> bytes:
        """The content of a file.

        Raises:
            ReadError: it is damaged, encrypted or larger than 256 MB.
        """
        try:
            with self.open(name) as file:
                content = file.read(MAXIMUM_FILE + 1)
        except DAMAGE as error:
            raise ReadError(f"damaged file: {error}") from error
        if len(content) > MAXIMUM_FILE:
            raise ReadError(f"larger than {MAXIMUM_FILE >> 20} MB")
        return content


def is_archive(head: bytes) -> bool:
    """Whether a file that begins with `head` (decompressed) is a zip or tar file."""
    return head.startswith(ZIP_MAGIC) or head[TAR_MAGIC_AT:].startswith(TAR_MAGIC)


def folder_tree(path: Path) -> FileTree:
    """The regular files of a folder; links are refused, not followed."""
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
    return FileTree(
        tuple(sorted(files)), tuple(sorted(refused)), lambda name: files[name].open("rb")
    )


@contextmanager
def open_archive(file: IO[bytes]) -> Iterator[FileTree]:
    """The files of a zip file, or of a tar file, which may be compressed. `file` must be seekable.

    Raises:
        ReadError: the archive is damaged, or unpacks to more than 200 times its size.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    start = file.read(8)
    file.seek(0)
    with ExitStack() as opened:
        try:
            if start.startswith(ZIP_MAGIC):
                tree = _zip(opened.enter_context(zipfile.ZipFile(file)), size)
            else:
                decompress = next(
                    (new for magic, new in COMPRESSED_TAR.items() if start.startswith(magic)), None
                )
                content = opened.enter_context(decompress(file)) if decompress else file
                tape = opened.enter_context(tarfile.open(fileobj=cast(Any, content), mode="r:"))
                tree = _tar(tape, size)
        except DAMAGE as error:
            raise ReadError(f"damaged archive: {error}") from error
        yield tree


def _zip(packed: zipfile.ZipFile, size: int) -> FileTree:
    members: dict[str, zipfile.ZipInfo] = {}
    refused: list[tuple[str, str]] = []
    unpacked = 0
    for member in packed.infolist():
        unpacked += member.file_size
        _refuse_bomb(unpacked, size, len(members))
        if member.is_dir():
            continue
        if stat.S_ISLNK(member.external_attr >> 16) or not _is_below(member.filename):
            refused.append((member.filename, "a link, or a path that leads out of the archive"))
        elif member.flag_bits & ENCRYPTED:
            refused.append((member.filename, "encrypted: unpack the archive with its password"))
        else:
            members[member.filename] = member
    return _stripped(members, refused, packed.open)


def _tar(tape: tarfile.TarFile, size: int) -> FileTree:
    members: dict[str, tarfile.TarInfo] = {}
    refused: list[tuple[str, str]] = []
    unpacked = 0
    try:
        for member in tape:
            unpacked += member.size
            _refuse_bomb(unpacked, size, len(members))
            if member.isdir():
                continue
            if not member.isreg() or not _is_below(member.name):
                refused.append((member.name, "a link, or a path that leads out of the archive"))
            else:
                members[member.name.removeprefix("./")] = member
    except DAMAGE as error:
        if not members:
            raise
        refused.append(("(the rest)", f"damaged archive, nothing can be read after this: {error}"))
    return _stripped(members, refused, lambda member: cast(IO[bytes], tape.extractfile(member)))


def _refuse_bomb(unpacked: int, size: int, files: int) -> None:
    if unpacked > SMALL_BYTES + size * MAXIMUM_RATIO:
        raise ReadError(f"it unpacks to more than {MAXIMUM_RATIO} times its size: not opened")
    if files >= MAXIMUM_FILES:
        raise ReadError(f"it holds more than {MAXIMUM_FILES:,} files: not opened")


def _is_below(name: str) -> bool:
    path = PurePosixPath(name.replace("\\", "/"))
    parts = path.parts
    return bool(parts) and not path.is_absolute() and ".." not in parts and ":" not in parts[0]


def _stripped(
    members: Mapping[str, T], refused: list[tuple[str, str]], open_member: Callable[[T], IO[bytes]]
) -> FileTree:
    roots = {name.partition("/")[0] for name in members}
    root = f"{roots.pop()}/" if len(roots) == 1 and all("/" in name for name in members) else ""
    by_name = {name.removeprefix(root): member for name, member in members.items()}
    return FileTree(tuple(by_name), tuple(sorted(refused)), lambda name: open_member(by_name[name]))
