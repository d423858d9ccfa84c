"""The locations of models, and whether they are in a format that is safe to load."""

from pathlib import Path

from customir.encoder.folder import read_model_folder, weight_files
from customir.errors import UserError
from customir.models.checksums import remembered_sha256s
from customir.models.names import find, is_hub_name, known, names, on_hub
from customir.models.places import entry, folder_of, is_installed
from customir.models.registry import Kind, Model

GGUF_MAGIC = b"GGUF"
KIND_NAMES = {"embedder": "an embedder", "llm": "an LLM"}


def locate(name_or_path: str, kind: Kind | None = None) -> Path:
    """The folder of an embedder, or the GGUF file of an LLM.

    The SHA-256 of a named model's files are compared with the known ones. They are computed again
    only for files whose size or modification time has changed.

    Args:
        name_or_path: A name of `known()`, else a path (write ./NAME for a folder named like a
            model).
        kind: The required kind; None: any.

    Raises:
        UserError: the model is not installed (the message has the command that fetches it), is of
            the other kind, is neither a name nor a path, or is not in a format that is safe to
            load.
    """
    model = find(name_or_path)
    if model is None and is_hub_name(name_or_path):
        model = on_hub(name_or_path)
    if model is None:
        return _checked_path(name_or_path, kind)
    if kind is not None and model.kind != kind:
        fitting = ", ".join(other.name for other in known() if other.kind == kind)
        raise UserError(
            f"{model.name} is {KIND_NAMES[model.kind]}; {KIND_NAMES[kind]} is needed: {fitting}"
        )
    _check_files(model)
    return entry(model) if model.is_pinned else _checked_path(str(entry(model)), kind)


def absolute(name_or_path: str | None) -> str | None:
    """A known name unchanged; a path as an absolute path, so that it works from any directory.

    Anything else, and None, is returned unchanged; `locate` reports what is wrong with it.
    """
    if name_or_path is None or find(name_or_path):
        return name_or_path
    path = Path(name_or_path).expanduser()
    return str(path.resolve()) if path.exists() else name_or_path


def _check_files(model: Model) -> None:
    folder = folder_of(model)
    remedy = (
        f"customir models add {folder} --name {model.name}"
        if model.folder
        else f"customir models fetch {model.name}"
    )
    if not model.files:
        raise UserError(f"The model {model.name} is not on this machine. Run: {remedy}")
    if not is_installed(model):
        for file in model.files:
            path = folder / file.path
            if not path.is_file():
                raise UserError(
                    f"The model {model.name} is not on this machine ({path}). Run: {remedy}"
                )
            if path.stat().st_size != file.size:
                raise UserError(f"The model {model.name} is damaged ({path}). Run: {remedy}")
    hashes = remembered_sha256s([folder / file.path for file in model.files])
    for file, found in zip(model.files, hashes, strict=True):
        if found != file.sha256:
            raise UserError(
                f"The model {model.name} is damaged: the SHA-256 of {folder / file.path} is {found}, "
                f"not {file.sha256}. Run: {remedy}"
            )


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
