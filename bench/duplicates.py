"""Near-duplicate pairs: CustomIR's exact join beside MinHash with LSH (datasketch) on one corpus.

Both get the same passages and verify each candidate pair by its exact Jaccard similarity, so they differ
in the candidates that they propose and in their speed. A pair counts if either of them finds it.

    python bench/duplicates.py FILE.mbox...     # without a file: the mailbox that bench/ingest.py generates
    python bench/duplicates.py --quick
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
from datasketch import MinHash, MinHashLSH
from ingest import generate  # type: ignore[import-not-found]

from customir import models
from customir.corpus.duplicates import candidate_pairs, jaccard, shingle
from customir.corpus.ingest import ingest
from customir.progress import Silent
from customir.settings import CorpusSettings
from customir.workspace import Workspace

SIMILARITY = 0.8
PERMUTATIONS = 128
Pairs = set[tuple[int, int]]


def passages_of(sources: list[Path]) -> list[str]:
    """The distinct passages of the sources, as `customir ingest` cuts them."""
    tokenizer = models.locate("minilm", "embedder") / "tokenizer.json"
    with tempfile.TemporaryDirectory() as folder, Workspace(Path(folder) / "out") as workspace:
        ingest(workspace, sources, CorpusSettings(), tokenizer, Silent())
        rows = workspace.database.execute("SELECT DISTINCT text FROM passage ORDER BY text")
        return [text for (text,) in rows]


def ours(shingles: list[np.ndarray]) -> Pairs:
    """Pairs by prefix filtering."""
    return {
        pair
        for _, pairs in candidate_pairs(shingles, 2 * SIMILARITY / (1 + SIMILARITY))
        for pair in pairs
        if jaccard(shingles[pair[0]], shingles[pair[1]]) >= SIMILARITY
    }


def minhash(shingles: list[np.ndarray]) -> Pairs:
    """Pairs by MinHash, with bands that favour recall."""
    index = MinHashLSH(threshold=SIMILARITY * 0.9, num_perm=PERMUTATIONS, weights=(0.1, 0.9))
    empty = MinHash(num_perm=PERMUTATIONS, seed=1, hashfunc=int)
    pairs: Pairs = set()
    for row, own in enumerate(shingles):
        signature = empty.copy()
        signature.update_batch(own.tolist())
        pairs |= {
            (other, row)
            for other in index.query(signature)
            if jaccard(shingles[other], own) >= SIMILARITY
        }
        index.insert(row, signature)
    return pairs


def main() -> None:
    """Measure both, alternating, and print one line of JSON."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("mbox", nargs="*", type=Path, help="mailboxes; default: generated")
    arguments.add_argument("--quick", action="store_true", help="one run of each")
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sources = options.mbox
        if not sources:
            sources = [Path(folder) / "generated.mbox"]
            generate(sources[0], 4000)
        texts = passages_of(sources)
    shingles = [shingle(text) for text in texts]
    seconds: dict[str, float] = {}
    pairs_by: dict[str, Pairs] = {}
    for _ in range(1 if options.quick else 3):
        for find in (ours, minhash):
            start = time.perf_counter()
            pairs_by[find.__name__] = find(shingles)
            elapsed = time.perf_counter() - start
            seconds[find.__name__] = min(seconds.get(find.__name__, elapsed), elapsed)
    truth = pairs_by["ours"] | pairs_by["minhash"]
    for name, pairs in pairs_by.items():
        print(f"{name:>8}: {len(pairs)} of {len(truth)} pairs in {seconds[name]:.2f} s")
    measured = f"{len(texts)} distinct passages, Jaccard similarity {SIMILARITY}, one core"
    claims = [
        {
            "name": "seconds to find the pairs",
            "ours": round(seconds["ours"], 2),
            "peer": "datasketch MinHashLSH, 128 permutations",
            "peer_figure": round(seconds["minhash"], 2),
            "ratio": round(seconds["minhash"] / seconds["ours"], 2),
            "measured": measured,
        },
        {
            "name": "share of all pairs that are found",
            "ours": round(len(pairs_by["ours"]) / max(len(truth), 1), 4),
            "peer": "datasketch MinHashLSH, 128 permutations",
            "peer_figure": round(len(pairs_by["minhash"]) / max(len(truth), 1), 4),
            "ratio": round(len(pairs_by["ours"]) / max(len(pairs_by["minhash"]), 1), 4),
            "measured": f"{measured}, {len(truth)} pairs that either finds",
        },
    ]
    print(json.dumps({"bench": "duplicates", "claims": claims}))


if __name__ == "__main__":
    main()
