"""The C++ libraries that are compiled when the package is installed.

Without a C++ compiler they are missing, and every operation with such a library has a fallback.
"""

import ctypes
import logging
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

ABI_VERSION = 2  # as in abi.hpp

log = logging.getLogger(__name__)


def load_library(folder: Path, name: str) -> ctypes.CDLL | None:
    """Load the library `name` from `folder`.

    Returns:
        None if it was not compiled, was compiled for another machine, or has another ABI version
        than this code. The last two are logged as a warning.
    """
    paths = [folder / f"{name}{suffix}" for suffix in EXTENSION_SUFFIXES]
    path = next((path for path in paths if path.exists()), None)
    if path is None:
        return None
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        log.warning(
            "%s cannot be loaded and is not used (%s). Install CustomIR again.", path, error
        )
        return None
    version = library.customir_abi_version() if hasattr(library, "customir_abi_version") else None
    if version != ABI_VERSION:
        log.warning(
            "%s was compiled from another version of its source (ABI %s instead of %d) and is not "
            "used. Install CustomIR again to compile it.",
            path,
            version or "unknown",
            ABI_VERSION,
        )
        return None
    return library
