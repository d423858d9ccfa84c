"""What a production server runs: no torch, only numpy, tokenizers, onnxruntime and SQLite."""

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
