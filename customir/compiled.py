"""C++ that was compiled when the package was installed; without a compiler it is not there."""

import ctypes
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path


def load_compiled(folder: Path, name: str, *functions: str) -> ctypes.CDLL | None:
    """The library `name` in `folder`.

    None where it was not compiled, was built for another machine, or, being older than its source,
    lacks one of `functions`.
    """
    paths = [folder / f"{name}{suffix}" for suffix in EXTENSION_SUFFIXES]
    path = next((path for path in paths if path.exists()), None)
    if path is None:
        return None
    try:
        library = ctypes.CDLL(str(path))
    except OSError:
        return None
    return library if all(hasattr(library, function) for function in functions) else None
