"""DIR's generations: a model and its index, which are replaced together.

DIR/generations/NNNNNN/ holds `model/`, `index.db` and the vectors' cache. One small file,
DIR/generations/current.json, names the generation that is read and the one before it. It is replaced
atomically once a new generation is complete, so a reader finds the old state or the new one. It is a
file and not a symbolic link, because many tools follow links when they copy a folder, and some file
systems have none.

DIR/model and DIR/index.db are links into the current generation, for people and other programs;
CustomIR does not read through them. A folder without generations, which a program made for itself,
is its own and only generation.
"""

import fcntl
import json
import logging
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

from customir.errors import UserError
from customir.files import fsync, make_private_folder, write_atomically

FOLDER_NAME = "generations"
POINTER_NAME = "current.json"
LOCK_NAME = "index.lock"
MODEL_NAME, PASSAGE_MODEL_NAME, INDEX_NAME = "model", "passage-model", "index.db"
LINKED = (MODEL_NAME, INDEX_NAME)
# Beside a plain folder's index; each generation has its own.
BESIDE_INDEX = ("index.db-wal", "index.db-shm", "index.vectors")

Made = TypeVar("Made")
Stamp = tuple[int, int, int]  # a file's identity, time and size: another one, another content

log = logging.getLogger("customir")


@dataclass(frozen=True)
class Pointer:
    """Names of the generation that is read, and of the one to go back to, if it was kept."""

    current: str
    previous: str | None


def stamp(folder: Path) -> Stamp | None:
    """Changes whenever another generation of DIR becomes the current one; costs one `stat`."""
    try:
        found = (folder / FOLDER_NAME / POINTER_NAME).stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def read_pointer(folder: Path) -> Pointer | None:
    """The content of DIR/generations/current.json; None if the file does not exist.

    Raises:
        UserError: it is damaged.
    """
    path = folder / FOLDER_NAME / POINTER_NAME
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        pointer = Pointer(str(content["current"]), content["previous"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path}: damaged. Write the name of the newest complete folder next to it into it, as in "
            '{"current": "000001", "previous": null}.'
        ) from error
    for name in (pointer.current, pointer.previous):
        # Nothing outside the folder is ever read or deleted, whatever the file says.
        if name is not None and not (isinstance(name, str) and _is_name(name)):
            raise UserError(f"{path}: {name!r} is not the name of a generation, like 000001.")
    return pointer


def current(folder: Path) -> Path:
    """The folder that holds DIR's current model and index: a generation, or DIR itself."""
    pointer = read_pointer(folder)
    return folder / FOLDER_NAME / pointer.current if pointer else folder


def on_current(folder: Path, work: Callable[[Path], Made]) -> tuple[Made, Stamp | None]:
    """What `work` makes of DIR's current generation, and `stamp` as it was before.

    If it fails because another generation replaces that one meanwhile, it works on the new one.
    """
    while True:
        found = stamp(folder)
        try:
            return work(current(folder)), found
        except Exception:
            if stamp(folder) == found:
                raise


def previous(folder: Path) -> Path | None:
    """The generation that `roll_back` would make the current one."""
    pointer = read_pointer(folder)
    return folder / FOLDER_NAME / pointer.previous if pointer and pointer.previous else None


def unfinished(folder: Path) -> Path | None:
    """The generation that is being written, or that a stopped process left unfinished."""
    newest = max(_names(folder), default=None)
    pointer = read_pointer(folder)
    if newest is None or (pointer and newest <= max(pointer.current, pointer.previous or "")):
        return None
    return folder / FOLDER_NAME / newest


def index_file(path: Path) -> Path:
    """The file of the current generation if `path` is DIR/index.db of a DIR with generations."""
    return current(path.parent) / INDEX_NAME if path.name == INDEX_NAME else path


def owner(generation: Path) -> Path:
    """DIR, from the folder of one of its generations, or from DIR itself."""
    inside = generation.parent.name == FOLDER_NAME and _is_name(generation.name)
    return generation.parent.parent if inside else generation


def begin(folder: Path) -> Path:
    """Create the folder of DIR's next generation, and delete unfinished ones."""
    tidy(folder)
    if leftover := unfinished(folder):
        shutil.rmtree(leftover)
    taken = [int(name) for name in _names(folder)]
    generation = folder / FOLDER_NAME / f"{max(taken, default=0) + 1:06}"
    return make_private_folder(generation)


def publish(folder: Path, generation: Path, *, keep_previous: bool) -> None:
    """Make a complete generation the current one, atomically, and delete what is too old.

    Args:
        keep_previous: Whether the generation that was current until now is kept for `roll_back`.
            False if it has documents that were removed from the corpus.
    """
    for below, folders, names in os.walk(generation):
        for name in [*names, *folders, "."]:
            fsync(Path(below) / name)
    before = read_pointer(folder)
    goes_back = before and keep_previous and before.current != generation.name
    _point(folder, Pointer(generation.name, before.current if before and goes_back else None))


def drop_previous(folder: Path) -> None:
    """Delete the generation before the current one. Call it with `writer_lock`."""
    pointer = read_pointer(folder)
    if pointer and pointer.previous:
        _point(folder, Pointer(pointer.current, None))


def drop_all_but_current(folder: Path) -> None:
    """Delete the generation before the current one and those that were never published.

    Raises:
        UserError: another process is changing the index.
    """
    with writer_lock(folder):
        drop_previous(folder)
        if leftover := unfinished(folder):
            shutil.rmtree(leftover)
        tidy(folder)


def roll_back(folder: Path) -> Pointer:
    """Make the previous generation the current one, and the current one the previous.

    Returns:
        The new pointer.

    Raises:
        UserError: no previous generation was kept, or another process is writing.
    """
    with writer_lock(folder):
        pointer = read_pointer(folder)
        if pointer is None or pointer.previous is None:
            raise UserError(
                f"{folder}: there is no earlier model and index to return to. They are kept when `adapt` or "
                "`index` replaces them, unless they contain documents that have left the sources."
            )
        swapped = Pointer(pointer.previous, pointer.current)
        _point(folder, swapped)
    return swapped


def tidy(folder: Path) -> None:
    """Update everything that follows from the pointer: DIR's links, and deletion of old generations."""
    pointer = read_pointer(folder)
    if pointer is None:
        return
    _refresh_links(folder, pointer)
    named = (pointer.current, pointer.previous or "")
    for name in _names(folder):
        if name not in named and name < max(named):
            shutil.rmtree(folder / FOLDER_NAME / name)


def link_model(source: Path, generation: Path) -> None:
    """Put the model of another generation into `generation`, by hard links if possible.

    Hard links are safe: the files of a published model never change.
    """
    for name in (MODEL_NAME, PASSAGE_MODEL_NAME):
        if (source / name).is_dir():
            shutil.copytree(source / name, generation / name, copy_function=_link_or_copy)


@contextmanager
def writer_lock(folder: Path) -> Iterator[None]:
    """Keep other processes from changing DIR's index.

    Raises:
        UserError: another process is changing it.
    """
    descriptor = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise UserError(
            f"{folder / INDEX_NAME}: another customir is building it. Wait for it, or stop it first."
        ) from error
    finally:
        os.close(descriptor)


def _point(folder: Path, pointer: Pointer) -> None:
    """Replace the pointer, which is the change itself; the rest follows from it."""
    write_atomically(folder / FOLDER_NAME / POINTER_NAME, json.dumps(asdict(pointer)).encode())
    tidy(folder)


def _refresh_links(folder: Path, pointer: Pointer) -> None:
    """Make DIR/model and DIR/index.db links into the current generation."""
    generation = folder / FOLDER_NAME / pointer.current
    for name in LINKED:
        path, target = folder / name, generation / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        if not target.exists():
            path.unlink(missing_ok=True)
            continue
        temporary = folder / f".{name}.part"
        temporary.unlink(missing_ok=True)
        try:
            temporary.symlink_to(target.relative_to(folder))
            os.replace(temporary, path)
        except OSError as error:
            log.warning("%s: cannot be made a link (%s). Use %s.", path, error.strerror, target)
            return
    for name in BESIDE_INDEX:
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder / PASSAGE_MODEL_NAME, ignore_errors=True)


def _names(folder: Path) -> list[str]:
    try:
        with os.scandir(folder / FOLDER_NAME) as entries:
            return [
                entry.name
                for entry in entries
                if _is_name(entry.name) and entry.is_dir(follow_symlinks=False)
            ]
    except FileNotFoundError:
        return []


def _is_name(name: str) -> bool:
    return re.fullmatch(r"[0-9]{6}", name) is not None


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy(source, target)
