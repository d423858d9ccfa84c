"""Models of the user's own that get a name, and models that are removed."""

import dataclasses
import re
import shutil
from pathlib import Path

from customir.errors import UserError
from customir.files import make_private_folder, sha256_of
from customir.models.about import about
from customir.models.hub import SUFFIXES
from customir.models.lockfile import write_lock
from customir.models.names import find, named
from customir.models.paths import locate
from customir.models.places import own_folder
from customir.models.registry import Model, ModelFile, models_folder

NAME = re.compile(r"[A-Za-z0-9][\w.+-]*")


def add(path: Path, name: str) -> Model:
    """Give the model at `path` a name; it stays where it is.

    Args:
        path: A sentence-transformers folder, or a GGUF file.

    Raises:
        UserError: it is not a model that is safe to load, or the name is taken or not usable.
    """
    if not NAME.fullmatch(name):
        raise UserError(f"--name {name}: use letters, digits, '.', '_', '+' and '-' only.")
    taken = find(name)
    if taken is not None and taken.files:
        raise UserError(
            f"--name {name}: a model has this name already. Choose another name, or run: "
            f"customir models remove {name}"
        )
    place = locate(f"{path.expanduser().resolve()}")
    is_folder = place.is_dir()
    folder = place if is_folder else place.parent
    files = sorted(
        file
        for file in (place.rglob("*") if is_folder else [place])
        if file.is_file() and (not is_folder or file.suffix in SUFFIXES)
    )
    kind = "embedder" if is_folder else "llm"
    model = Model(
        name=name,
        kind=kind,  # type: ignore[arg-type]
        description=f"added from {place}",
        files=tuple(
            ModelFile(file.relative_to(folder).as_posix(), file.stat().st_size, sha256_of(file))
            for file in files
        ),
        folder=folder,
        **dataclasses.asdict(about(place, kind)),  # type: ignore[arg-type]
    )
    write_lock(make_private_folder(own_folder(model)), model)
    return model


def remove(name: str) -> str:
    """Delete a named model from this machine; return what was done, in a sentence.

    The files of a model that was added stay where they are, and only its name is forgotten.

    Raises:
        UserError: no model has this name, or it is not on this machine.
    """
    model = named(name)
    folder = own_folder(model)
    if not folder.is_dir():
        raise UserError(f"{name}: it is not on this machine.")
    shutil.rmtree(folder)
    (models_folder() / f".{folder.name}.lock").unlink(missing_ok=True)
    if model.folder:
        return f"{name}: the name was removed; the files in {model.folder} were left alone."
    return f"{name}: deleted, {model.size / 1e6:.0f} MB"
