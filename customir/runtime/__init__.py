"""The code of a production server: numpy, tokenizers, ONNX Runtime and SQLite, without PyTorch."""

from customir.runtime.about import About
from customir.runtime.embedder import Embedder
from customir.runtime.facets import Facets
from customir.runtime.filters import Condition, Filter
from customir.runtime.hits import Hit
from customir.runtime.index import (
    IndexedPassage,
    build_index,
    delete_documents,
    put_documents,
)
from customir.runtime.query import Query, parse
from customir.runtime.reload import SharedEmbedder
from customir.runtime.rights import Grant
from customir.runtime.search import Found, Searcher

__all__ = [
    "About",
    "Condition",
    "Embedder",
    "Facets",
    "Filter",
    "Found",
    "Grant",
    "Hit",
    "IndexedPassage",
    "Query",
    "Searcher",
    "SharedEmbedder",
    "build_index",
    "delete_documents",
    "parse",
    "put_documents",
]
