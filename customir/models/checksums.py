"""Checksums and fingerprints of models."""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from customir.errors import UserError
from customir.files import make_private_folder, sha256_of, write_atomically
from customir.models.names import named
from customir.models.places import entry, folder_of, is_installed
from customir.models.registry import Model, ModelFile, models_folder

FINGERPRINTED = (".safetensors", ".json", ".txt")


def verify(name: str) -> Path:
    """Hash every file of a named model; return where it is, as `locate` does.

    Raises:
        UserError: a file is missing, or its checksum is wrong; the file is then deleted, unless the
            model was added by `models add`.
    """
    model = named(name)
    folder = folder_of(model)
    if not model.files:
        raise UserError(f"{name}: it is not on this machine. Run: customir models fetch {name}")
    for file in model.files:
        if model.folder:  # the user's own file, which is not ours to delete
            check_own_file(folder / file.path, file, name)
        else:
            check_file(folder / file.path, file, f"Run: customir models fetch {name}")
    return entry(model)


def fingerprint(path: Path) -> str:
    """The identity of a model in content keys: SHA-256, in lower-case hexadecimal.

    For an LLM it is the hash of its file; for an embedder, of the list of its weights,
    configurations and vocabulary with their hashes. Hashes are cached with the file's size and
    modification time.

    Args:
        path: As `locate` returned it.
    """
    if path.is_file():
        return remembered_sha256s([path])[0]
    files = sorted(file for file in path.rglob("*") if file.suffix in FINGERPRINTED)
    hashes = remembered_sha256s(files)
    lines = [
        f"{file.relative_to(path).as_posix()} {sha256}\n"
        for file, sha256 in zip(files, hashes, strict=True)
    ]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def remembered_sha256s(paths: list[Path]) -> list[str]:
    """Hashes of files, from the cache next to the models if size and time are unchanged."""
    folder = make_private_folder(models_folder())
    memory = folder / ".sha256.json"
    with locked(folder / ".sha256.lock"):
        try:
            remembered = json.loads(memory.read_bytes())
        except (FileNotFoundError, ValueError):
            remembered = {}
        hashes, changed = [], False
        for path in paths:
            state, place = path.stat(), str(path.resolve())
            signature = [state.st_size, state.st_mtime_ns]
            if remembered.get(place, [])[:2] != signature:
                remembered[place] = [*signature, sha256_of(path)]
                changed = True
            hashes.append(remembered[place][2])
        if changed:
            write_atomically(memory, json.dumps(remembered).encode())
    return hashes


def is_whole(model: Model) -> bool:
    """Whether all files of a model are present and have the known checksums."""
    return is_installed(model) and all(
        sha256_of(folder_of(model) / file.path) == file.sha256 for file in model.files
    )


def check_file(path: Path, file: ModelFile, remedy: str) -> None:
    if not path.is_file():
        raise UserError(f"{path} is missing. {remedy}")
    found = sha256_of(path)
    if found != file.sha256:
        path.unlink()
        raise UserError(
            f"{path}: its SHA-256 is {found}, not {file.sha256}. It was deleted. {remedy}"
        )


def check_own_file(path: Path, file: ModelFile, name: str) -> None:
    """Like `check_file`, for a file that the user keeps: it is left where it is."""
    if not path.is_file() or sha256_of(path) != file.sha256:
        raise UserError(
            f"{path}: {'has changed' if path.is_file() else 'is missing'} since it was added as "
            f"{name}. If the change is wanted: customir models remove {name}, and add it again."
        )


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep other processes out, until the end of the block or of this process."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
