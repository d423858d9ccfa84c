"""Where the files of a named model are."""

from pathlib import Path

from customir.models.registry import Model, models_folder


def folder_name(name: str) -> str:
    """The name of a model's folder: the model's name, in which / and : are replaced."""
    return name.replace("/", "--").replace(":", "--")


def own_folder(model: Model) -> Path:
    """The model's folder below `models_folder()`, which has its lock file."""
    return models_folder() / folder_name(model.name)


def folder_of(model: Model) -> Path:
    """The folder that the paths of `model.files` start from."""
    return model.folder or own_folder(model)


def entry(model: Model) -> Path:
    """The path to load: an embedder's folder, or an LLM's file."""
    folder = folder_of(model)
    return folder if model.kind == "embedder" else folder / model.files[0].path


def is_installed(model: Model) -> bool:
    """Whether all files of a model are present and have the known sizes."""
    folder = folder_of(model)
    return bool(model.files) and all(
        path.is_file() and path.stat().st_size == file.size
        for file in model.files
        for path in [folder / file.path]
    )
