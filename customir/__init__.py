"""CustomIR: adapt a small text embedder to a private corpus, on one machine, without labels.

The library in four names, each imported when it is first used: `adapt` needs the extra `adapt`,
the others run on a server with numpy, tokenizers, ONNX Runtime and SQLite alone.
"""

from typing import TYPE_CHECKING, Any

from customir.telemetry import opt_out

if TYPE_CHECKING:
    from customir.library import Adapted, adapt
    from customir.runtime.embedder import Embedder
    from customir.runtime.index import put_documents
    from customir.runtime.search import Searcher

__version__ = "0.2.0"
__all__ = ["Adapted", "Embedder", "Searcher", "adapt", "put_documents"]

_HOMES = {
    "Adapted": "customir.library",
    "adapt": "customir.library",
    "Embedder": "customir.runtime.embedder",
    "Searcher": "customir.runtime.search",
    "put_documents": "customir.runtime.index",
}

# Before anything else: ONNX Runtime reads its variable as it is imported.
opt_out()


def __getattr__(name: str) -> Any:
    """Import what the package offers when it is first used (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'customir' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
