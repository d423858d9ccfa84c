"""The locations of models, and whether they are in a format that is safe to load."""

import os
from pathlib import Path

from customir.encoder.folder import read_model_folder, weight_files
from customir.errors import UserError
from customir.models.registry import Kind, Model, known, names

GGUF_MAGIC = b"GGUF"
KIND_NAMES = {"embedder": "an embedder", "llm": "an LLM"}


def models_folder() -> Path:
    """The folder of named models: $CUSTOMIR_MODELS, or else customir/models in the user's data folder."""
    if chosen := os.environ.get("CUSTOMIR_MODELS"):
        return Path(chosen).expanduser()
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(data) / "customir" / "models"


def locate(name_or_path: str, kind: Kind | None = None) -> Path:
    """The folder of an embedder, or the GGUF file of an LLM.

    Files of named models are checked by size only; `fetch` and `verify` hash them.

    Args:
        name_or_path: A name of `known()`, else a path (write ./NAME for a folder named like a
            model).
        kind: The required kind; None: any.

    Raises:
        UserError: the model is not installed (the message has the command that fetches it), is of
            the other kind, is neither a name nor a path, or is not in a format that is safe to
            load.
    """
    model = next((model for model in known() if model.name == name_or_path), None)
    if model is None:
        return _checked_path(name_or_path, kind)
    if kind is not None and model.kind != kind:
        fitting = ", ".join(other.name for other in known() if other.kind == kind)
        raise UserError(
            f"{model.name} is {KIND_NAMES[model.kind]}; {KIND_NAMES[kind]} is needed: {fitting}"
        )
    folder = models_folder() / model.name
    for file in model.files:
        path = folder / file.path
        if not path.is_file() or path.stat().st_size != file.size:
            state = "is damaged" if path.is_file() else "is not on this machine"
            raise UserError(
                f"The model {model.name} {state} ({path}). Run: customir models fetch {model.name}"
            )
    return entry(model)


def absolute(name_or_path: str | None) -> str | None:
    """A known name unchanged; a path as an absolute path, so that it works from any directory.

    Anything else, and None, is returned unchanged; `locate` reports what is wrong with it.
    """
    if name_or_path is None or any(model.name == name_or_path for model in known()):
        return name_or_path
    path = Path(name_or_path).expanduser()
    return str(path.resolve()) if path.exists() else name_or_path


def entry(model: Model) -> Path:
    """The path to load: an embedder's folder, or an LLM's file."""
    folder = models_folder() / model.name
    return folder if model.kind == "embedder" else folder / model.files[0].path


def _checked_path(text: str, kind: Kind | None) -> Path:
    path = Path(text).expanduser()
    if not path.exists():
        raise UserError(f"{text}: neither a file or folder nor a known model. Known: {names()}")
    if path.is_dir():
        if kind == "llm":
            raise UserError(f"{path}: a folder, but an LLM is a GGUF file. Give the .gguf itself.")
        weight_files(read_model_folder(path))
    else:
        if kind == "embedder":
            raise UserError(f"{path}: a file, but an embedder is a sentence-transformers folder.")
        with path.open("rb") as file:
            if file.read(len(GGUF_MAGIC)) != GGUF_MAGIC:
                raise UserError(
                    f"{path}: no GGUF file (it doesn't begin with GGUF). Only GGUF LLMs are "
                    f"loaded; convert it with llama.cpp's convert_hf_to_gguf.py."
                )
    return path
