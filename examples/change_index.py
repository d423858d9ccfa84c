"""Put a document into an index and delete it again, without reading all sources once more.

python examples/change_index.py DIR
"""

import sys
from pathlib import Path

from customir.progress import Silent
from customir.runtime import Embedder, IndexedPassage, Searcher, delete_documents, put_documents

folder = Path(sys.argv[1])
index = folder / "index.db"
embedder = Embedder(folder / "model")

note = IndexedPassage(
    key="note-1",
    document="note-1",
    identifier="note-1",
    source="notes",
    title="Parking",
    sender="Ada",
    date="2026-03-01T09:14:00+01:00",
    thread="note-1",
    duplicates="note-1",
    text="Visitors may park behind the boiler house from Monday on.",
)
put_documents(index, [note], embedder, Silent())
with Searcher(folder) as searcher:
    print("found:", searcher.search("where can guests leave their car", k=1)[0].title)

delete_documents(index, [("notes", "note-1")])
with Searcher(folder) as searcher:
    print("left:", [hit.identifier for hit in searcher.search("boiler house", k=1)])
