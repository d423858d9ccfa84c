"""The code of a production server: numpy, tokenizers, ONNX Runtime and SQLite, without PyTorch."""

from customir.runtime.embedder import Embedder
from customir.runtime.filters import Filter
from customir.runtime.hits import Hit
from customir.runtime.index import (
    IndexedPassage,
    build_index,
    delete_documents,
    put_documents,
)
from customir.runtime.reload import SharedEmbedder
from customir.runtime.search import Searcher

__all__ = [
    "Embedder",
    "Filter",
    "Hit",
    "IndexedPassage",
    "Searcher",
    "SharedEmbedder",
    "build_index",
    "delete_documents",
    "put_documents",
]
