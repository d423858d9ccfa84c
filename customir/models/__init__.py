"""Models by name or path: registry, lock files, locations, checksums and fetching."""

from customir.models.checksums import fingerprint, verify
from customir.models.convert import convert
from customir.models.download import fetch
from customir.models.names import find, known
from customir.models.own import add, remove
from customir.models.paths import absolute, locate
from customir.models.places import entry, is_installed
from customir.models.registry import Model, ModelFile, Wheel, models_folder

__all__ = [
    "Model",
    "ModelFile",
    "Wheel",
    "absolute",
    "add",
    "convert",
    "entry",
    "fetch",
    "find",
    "fingerprint",
    "is_installed",
    "known",
    "locate",
    "models_folder",
    "remove",
    "verify",
]
