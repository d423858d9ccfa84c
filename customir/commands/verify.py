"""`customir verify`: reads every file of DIR that has checksums, and says what to do about damage."""

import re
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from shlex import quote

import numpy as np

from customir.errors import UserError
from customir.files import sha256_of
from customir.kernels.scan import best_kernel, checksums
from customir.runtime import cache, generations
from customir.runtime.index_documents import current_stamp, find_damage
from customir.settings import SETTINGS_NAME, read_settings
from customir.workspace import DATABASE_NAME, Workspace
from customir.workspace.upkeep import find_damage as find_workspace_damage

SHOWN_PROBLEMS = 3
MODELS = (generations.MODEL_NAME, generations.PASSAGE_MODEL_NAME)
SUMS = "onnx/SHA256SUMS"
CARD_NAME = "README.md"
# A line of the model card's table of files, which has those that SHA256SUMS does not list.
CARD_LINE = re.compile(r"^\| ([^|]+) \| \d+ \| ([0-9a-f]{64}) \|$", re.MULTILINE)


@dataclass(frozen=True)
class Finding:
    """What was found about one file of DIR.

    Attributes:
        problem: Empty if the file is intact.
        advice: What to do about the problem.
    """

    path: str
    problem: str = ""
    advice: str = ""


def verify(folder: Path) -> list[Finding]:
    """Check settings, workspace, and the model, index and cache of each generation that is kept.

    Raises:
        UserError: `folder` does not exist.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder.")
    shown = quote(str(folder))
    found = []
    if (folder / SETTINGS_NAME).exists():
        found.append(
            _checked(folder / SETTINGS_NAME, lambda: _settings(folder),
                     "Correct the file, or delete it to use the defaults.")
        )  # fmt: skip
    if (folder / DATABASE_NAME).exists():
        found.append(
            _checked(folder / DATABASE_NAME, lambda: _workspace(folder),
                     f"Restore a backup (customir restore FILE {shown} --replace), or delete the file "
                     f"and run: customir adapt --out {shown}")
        )  # fmt: skip
    pointer = folder / generations.FOLDER_NAME / generations.POINTER_NAME
    places: list[Path] = []
    if pointer.exists():
        damage = _checked(
            pointer, lambda: _pointer(folder), "Name the newest complete folder in it."
        )
        found.append(damage)
        if not damage.problem:
            previous = generations.previous(folder)
            places = [generations.current(folder), *([previous] if previous else [])]
    else:
        places = [folder]
    for place in places:
        found += _generation(place, shown)
    return found


def _generation(place: Path, shown: str) -> Iterator[Finding]:
    for name in MODELS:
        if (place / name).is_dir():
            yield from _model(place / name, shown)
    index, vectors = place / generations.INDEX_NAME, place / cache.CACHE_NAME
    if not index.exists():
        return
    finding = _checked(
        index, lambda: find_damage(index), f"Delete it and run: customir index --out {shown}"
    )
    yield finding
    if vectors.exists() and not finding.problem and best_kernel() is not None:
        yield _checked(
            vectors, lambda: _vectors(vectors, index), "Delete it; the next search makes it again."
        )


def _model(model: Path, shown: str) -> Iterator[Finding]:
    """Each file of a model that has a checksum."""
    expected: dict[str, str] = {}
    if (model / CARD_NAME).exists():
        card = (model / CARD_NAME).read_text(encoding="utf-8", errors="replace")
        expected |= dict(CARD_LINE.findall(card))
    if (model / SUMS).exists():
        for line in (model / SUMS).read_text(encoding="utf-8", errors="replace").splitlines():
            checksum, _, name = line.partition("  ")
            path = ((model / SUMS).parent / name).resolve()
            if path.is_relative_to(model.resolve()):
                expected[path.relative_to(model.resolve()).as_posix()] = checksum
    advice = (
        f"Restore a backup, return to the previous model (customir rollback {shown}), or delete the "
        f"folder {model} and run: customir adapt --out {shown}"
    )
    if not expected:
        yield Finding(str(model), "it has no checksums", advice)
    for name, checksum in sorted(expected.items()):
        yield _checked(model / name, partial(_file, model / name, checksum), advice)


def _checked(path: Path, problems: Callable[[], list[str]], advice: str) -> Finding:
    try:
        found = problems()
    except (UserError, OSError, sqlite3.DatabaseError) as error:
        found = [str(error)]
    if not found:
        return Finding(str(path))
    more = f" and {len(found) - SHOWN_PROBLEMS} more" if len(found) > SHOWN_PROBLEMS else ""
    return Finding(str(path), "; ".join(found[:SHOWN_PROBLEMS]) + more, advice)


def _settings(folder: Path) -> list[str]:
    read_settings(folder, {})
    return []


def _workspace(folder: Path) -> list[str]:
    with Workspace(folder, write=False, older=True) as workspace:
        return find_workspace_damage(workspace)


def _pointer(folder: Path) -> list[str]:
    places = (generations.current(folder), generations.previous(folder))
    return [f"{place} is missing" for place in places if place and not place.is_dir()]


def _file(path: Path, checksum: str) -> list[str]:
    if not path.is_file():
        return ["it is missing"]
    return [] if sha256_of(path) == checksum else ["its SHA-256 is not the one that was recorded"]


def _vectors(path: Path, index: Path) -> list[str]:
    stamp = current_stamp(index)
    cached = cache.load(path, stamp) if stamp else None
    if cached is None:
        return ["damaged, or made from another state of the index"]
    intact = np.array_equal(checksums(np.ascontiguousarray(cached.floats)), cached.checksums)
    return [] if intact else ["a vector is not as it was written"]
