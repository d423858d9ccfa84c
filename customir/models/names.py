"""Finding a model by its name: in registry.toml, in a lock file, or on the model hub."""

import re

from customir.errors import UserError
from customir.models.lockfile import read_locks
from customir.models.registry import Model, built_in

HUB_PREFIX = "hf:"
HUB_NAME = re.compile(
    rf"{HUB_PREFIX}(?P<repository>[\w.-]+/[\w.-]+)(/(?P<file>[^@]+))?(@(?P<revision>[\w./-]+))?"
)
HUB_EXAMPLES = "hf:ORGANISATION/REPOSITORY@REVISION or hf:ORGANISATION/REPOSITORY/FILE.gguf"


def known() -> tuple[Model, ...]:
    """All models with a name: those of registry.toml, then those that were fetched or added.

    Raises:
        UserError: a lock file is damaged.
    """
    found = {model.name: model for model in built_in()}
    for model in read_locks():
        if model.name not in found or not found[model.name].is_pinned:
            found[model.name] = model
    return tuple(found.values())


def find(name: str) -> Model | None:
    """The model of this name; None if no model has it."""
    return next((model for model in known() if model.name == name), None)


def named(name: str) -> Model:
    """The model of this name.

    Raises:
        UserError: no model has this name; the message lists the known names.
    """
    if model := find(name):
        return model
    raise UserError(f"{name}: no model has this name. Known names: {names()}")


def names() -> str:
    """All names, separated by commas."""
    return ", ".join(model.name for model in known())


def is_hub_name(name: str) -> bool:
    """Whether the name begins as a name on the model hub does."""
    return name.startswith(HUB_PREFIX)


def on_hub(name: str) -> Model:
    """A model of the hub that was not fetched yet, from its name there.

    Args:
        name: hf:ORGANISATION/REPOSITORY for an embedder, or hf:ORGANISATION/REPOSITORY/FILE.gguf for
            an LLM, either with @REVISION.

    Raises:
        UserError: the name does not have this form.
    """
    match = HUB_NAME.fullmatch(name)
    if not match:
        raise UserError(f"{name}: no name of the model hub. Write {HUB_EXAMPLES}")
    file = match["file"]
    if file and (not file.endswith(".gguf") or ".." in file.split("/")):
        raise UserError(
            f"{name}: only a GGUF file is fetched alone, for an LLM. For an embedder, name the "
            f"repository: {HUB_PREFIX}{match['repository']}"
        )
    return Model(
        name=name,
        kind="llm" if file else "embedder",
        description="",
        licence="",
        hub_repository=match["repository"],
        hub_file=file,
        revision=match["revision"],
    )
