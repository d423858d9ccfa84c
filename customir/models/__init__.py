"""Models by name or path: registry, locations, checksums and fetching."""

from customir.models.checksums import fingerprint, verify
from customir.models.convert import convert
from customir.models.download import fetch
from customir.models.paths import absolute, locate, models_folder
from customir.models.registry import Model, ModelFile, Wheel, known

__all__ = [
    "Model",
    "ModelFile",
    "Wheel",
    "absolute",
    "convert",
    "fetch",
    "fingerprint",
    "known",
    "locate",
    "models_folder",
    "verify",
]
