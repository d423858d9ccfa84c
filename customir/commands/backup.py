"""`customir backup` and `restore`: DIR in one file, written and read back while others use DIR."""

import hashlib
import io
import os
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from customir.errors import UserError
from customir.files import make_private_folder, sha256_of, written_atomically
from customir.runtime import generations
from customir.runtime.index import adopt, copy_index
from customir.settings import SETTINGS_NAME
from customir.workspace import DATABASE_NAME, Workspace, workspace_lock
from customir.workspace.upkeep import copy_workspace, empty_log

MANIFEST = "SHA256SUMS"  # the last member: without it, the file was cut off
GENERATION = "generation"  # below it: the current model and its index
MODELS = (generations.MODEL_NAME, generations.PASSAGE_MODEL_NAME)
REPORTS = ("report.md", "report.html")
TRAINING = "training"
STAGING = "restore.part"


def backup(folder: Path, file: Path) -> int:
    """Write DIR to a tar file with mode 0600: settings, workspace, current model and index, reports.

    The databases are copied as they are at one moment, so others may read and write DIR meanwhile.
    Earlier generations, caches and unfinished files are left out.

    Returns:
        The size of the file in bytes.

    Raises:
        UserError: DIR holds nothing to keep, or is damaged.
    """
    if file.resolve().is_relative_to(folder.resolve()):
        raise UserError(f"{file}: is inside {folder}. Write the backup somewhere else.")
    scratch = file.with_name(f".{file.name}.part")
    shutil.rmtree(scratch, ignore_errors=True)  # a stopped backup may have left it
    make_private_folder(scratch)
    try:
        if (folder / DATABASE_NAME).exists():
            with Workspace(folder, write=False, older=True) as workspace:
                copy_workspace(workspace, scratch / DATABASE_NAME)
        generations.on_current(folder, lambda source: _write(folder, file, scratch, source))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return file.stat().st_size


def restore(file: Path, folder: Path, *, replace: bool = False) -> None:
    """Make DIR what it was when `file` was written. A server that is running goes over to it.

    The model and index that DIR has now are kept for `customir rollback`. Killed and run again
    with `replace`, it ends the same.

    Args:
        replace: Whether DIR may have content.

    Raises:
        UserError: the file is not a backup or is damaged, DIR has content, or is in use by a writer.
    """
    make_private_folder(folder)
    staging = folder / STAGING
    with workspace_lock(folder):
        if not replace and _has_content(folder):
            raise UserError(f"{folder}: has content. Add --replace to replace it by the backup's.")
        shutil.rmtree(staging, ignore_errors=True)
        try:
            _extract(file, make_private_folder(staging))
            adopt(folder)
            _put_in_place(staging, folder)
        finally:
            shutil.rmtree(staging, ignore_errors=True)


def _write(folder: Path, file: Path, scratch: Path, source: Path) -> None:
    """Write the archive, with the model and the index of the generation in `source`."""
    index = scratch / GENERATION / generations.INDEX_NAME
    shutil.rmtree(index.parent, ignore_errors=True)
    make_private_folder(index.parent)
    if (source / generations.INDEX_NAME).exists():
        copy_index(source / generations.INDEX_NAME, index)
    models = [
        (f"{GENERATION}/{name}", path)
        for model in MODELS
        for name, path in _files(source / model, source)
    ]
    members = [*_files(scratch, scratch), *models, *_own_files(folder)]
    if not members:
        raise UserError(f"{folder}: it has no workspace and no model, so there is nothing to keep.")
    with written_atomically(file) as target:
        _write_tar(target, members)


def _own_files(folder: Path) -> list[tuple[str, Path]]:
    """Files of DIR itself that are never changed in place: names in the backup, and paths."""
    found = [(name, folder / name) for name in (SETTINGS_NAME, *REPORTS)]
    return [
        *((name, path) for name, path in found if path.is_file()),
        *_files(folder / TRAINING, folder),
    ]


def _files(below: Path, root: Path) -> list[tuple[str, Path]]:
    return [
        (path.relative_to(root).as_posix(), path)
        for path in sorted(below.rglob("*"))
        if path.is_file() and not path.name.endswith(".part")
    ]


class _HashingReader(io.RawIOBase):
    """A file that is hashed while it is read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self.digest = file, hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        block = self._file.read(size)
        self.digest.update(block)
        return block


def _write_tar(target: IO[bytes], members: list[tuple[str, Path]]) -> None:
    sums: list[str] = []
    with tarfile.open(fileobj=target, mode="w") as archive:
        for name, path in members:
            with path.open("rb") as file:
                reader = _HashingReader(file)
                archive.addfile(_member(name, os.fstat(file.fileno()).st_size), reader)  # type: ignore[arg-type]
            sums.append(f"{reader.digest.hexdigest()}  {name}\n")
        content = "".join(sums).encode()
        archive.addfile(_member(MANIFEST, len(content)), io.BytesIO(content))


def _member(name: str, size: int) -> tarfile.TarInfo:
    """A member without the user's name, and without the time."""
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o600
    return member


def _extract(file: Path, staging: Path) -> None:
    """Extract a backup and compare each file with its checksum."""
    try:
        with tarfile.open(file, mode="r:") as archive:
            for member in archive:
                _extract_member(archive, member, staging)
    except (OSError, tarfile.TarError, EOFError) as error:
        raise UserError(f"{file}: cannot be read as a backup ({error}).") from error
    manifest = staging / MANIFEST
    if not manifest.exists():
        raise UserError(f"{file}: not a backup of CustomIR, or its end is missing.")
    expected = dict(_lines(manifest))
    manifest.unlink()
    found = {name: sha256_of(path) for name, path in _files(staging, staging)}
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            raise UserError(
                f"{file}: damaged: {name} is not as it was written. Use another backup."
            )


def _extract_member(archive: tarfile.TarFile, member: tarfile.TarInfo, staging: Path) -> None:
    """Write one member with mode 0600. Whoever made the file cannot write outside of DIR."""
    place = PurePosixPath(member.name)
    content = archive.extractfile(member) if member.isreg() else None
    if content is None or place.is_absolute() or ".." in place.parts:
        raise UserError(f"{archive.name!s}: not a backup of CustomIR (it has {member.name}).")
    path = staging / place
    make_private_folder(path.parent)
    with written_atomically(path) as target:
        shutil.copyfileobj(content, target)


def _lines(manifest: Path) -> Iterator[tuple[str, str]]:
    for line in manifest.read_text(encoding="utf-8").splitlines():
        checksum, _, name = line.partition("  ")
        yield name, checksum


def _has_content(folder: Path) -> bool:
    return (folder / DATABASE_NAME).exists() or (
        generations.current(folder) / generations.MODEL_NAME
    ).exists()


def _put_in_place(staging: Path, folder: Path) -> None:
    database = folder / DATABASE_NAME
    if database.exists():
        empty_log(database)  # or its last changes would be applied to the file that comes
    for name in (DATABASE_NAME, SETTINGS_NAME, *REPORTS):
        if (staging / name).exists():
            os.replace(staging / name, folder / name)
        else:
            (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder / TRAINING, ignore_errors=True)
    if (staging / TRAINING).exists():
        (staging / TRAINING).rename(folder / TRAINING)
    restored = staging / GENERATION
    if restored.exists():
        generation = generations.begin(folder)
        for path in restored.iterdir():
            path.rename(generation / path.name)
        with generations.writer_lock(folder):
            generations.publish(folder, generation, keep_previous=True)
