"""Lock files: what a model of the hub, or of the user's own, was when it was first used.

Each is customir.lock in the model's folder below `models_folder()`, so that who copies that folder
copies both.
"""

import dataclasses
import json
from pathlib import Path

from customir.errors import UserError
from customir.files import write_atomically
from customir.models.registry import Model, ModelFile, models_folder

LOCK_NAME = "customir.lock"


def read_locks() -> list[Model]:
    """The models of all lock files, by name.

    Raises:
        UserError: a lock file is damaged.
    """
    return [_read(path) for path in sorted(models_folder().glob(f"*/{LOCK_NAME}"))]


def write_lock(folder: Path, model: Model) -> None:
    """Write `model`, with the SHA-256 of each file, to the lock file in `folder`."""
    fields = {
        name: value
        for name, value in dataclasses.asdict(model).items()
        if value not in (None, "", ()) and name != "packing"
    }
    if model.folder:
        fields["folder"] = str(model.folder)
    write_atomically(folder / LOCK_NAME, json.dumps(fields, indent=1).encode())


def _read(path: Path) -> Model:
    try:
        fields = json.loads(path.read_bytes())
        files = tuple(ModelFile(**file) for file in fields.pop("files"))
        languages = tuple(fields.pop("languages", ()))
        folder = fields.pop("folder", None)
        blank = {"description": "", "licence": ""}
        model = Model(
            files=files,
            languages=languages,
            folder=Path(folder) if folder else None,
            **(blank | fields),
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(
            f"{path}: a damaged lock file ({error}). Delete the folder {path.parent} and fetch or "
            "add the model again."
        ) from error
    return model
