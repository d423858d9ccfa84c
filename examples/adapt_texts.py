"""Adapt an embedder to the texts of a JSONL file, and say what was gained.

python examples/adapt_texts.py TEXTS.jsonl DIR

Each line is an object with "text" and, if known, "_id", "title", "thread", "sender" and "date".
"""

import json
import sys

from customir import Embedder, Searcher, adapt

path, folder = sys.argv[1:]
with open(path, encoding="utf-8") as file:
    texts = [json.loads(line) for line in file]

adapted = adapt(texts, folder)  # stopped and called again, it continues where it was
print("ships the adapted model:", adapted.ships_adapted, "-", adapted.reason)
for system, metrics in adapted.metrics.items():
    print(system, {name: round(value, 3) for name, value in metrics.items()})

vector = Embedder(adapted.model).encode([texts[0]["text"]])[0]
print("a unit vector of", len(vector), "numbers")

with Searcher(adapted.folder) as searcher:
    for hit in searcher.search("who repairs the pump", k=3):
        print(hit.rank, round(hit.score, 4), hit.snippet)
