"""Embed texts and search with an adapted model; DIR is what `customir adapt --out DIR` wrote.

python examples/search.py DIR "an invoice that was paid twice"
"""

import sys
from pathlib import Path

from customir.runtime import Embedder, Filter, Searcher

folder, query = Path(sys.argv[1]), sys.argv[2]

vectors = Embedder(folder / "model").encode([query], kind="query")
print("a unit vector of", vectors.shape[1], "numbers")

with Searcher(folder) as searcher:
    for hit in searcher.search(query, k=3, mode="hybrid"):
        print(hit.rank, round(hit.score, 4), hit.title, "-", hit.snippet)
    print("since 2003:", len(searcher.search(query, k=3, only=Filter(since="2003-01-01"))))
