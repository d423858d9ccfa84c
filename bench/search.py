"""Exact vector search on a CPU: ours against sqlite-vec, faiss, usearch and numpy, one thread each.

Ours is what `customir search` does: the int8 scan kernel chooses four times as many vectors as are
wanted, and their float vectors, read from sqlite-vec's table, put them in order. Contenders take
turns in one process; the best of the rounds counts. Vectors are given (`--corpus FILE --queries
FILE`, JSONL with "text", embedded with `--model`), or generated: clusters on the sphere, as
neighbourhoods in a corpus are. faiss and usearch are measured where they are installed.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import numpy as np
import sqlite_vec
from threadpoolctl import threadpool_limits

from customir.runtime import cache
from customir.runtime.scan import best_kernel

K, BATCH, RESCORED, DIMENSIONS = 10, 64, 4, 384
OURS, PEER = "CustomIR int8 scan, rescored", "sqlite-vec float"
# One query at a time takes it this many seconds and more at a million vectors.
SLOW = ("sqlite-vec float", "sqlite-vec int8")

Search = Callable[[np.ndarray], np.ndarray]


def generate(number: int, queries: int) -> tuple[np.ndarray, np.ndarray]:
    chance = np.random.default_rng(0)
    centres = chance.normal(size=(max(100, number // 100), DIMENSIONS)).astype(np.float32)
    vectors = centres[chance.integers(0, len(centres), number)]
    for start in range(0, number, 100_000):  # by parts: a million at once takes gigabytes more
        part = vectors[start : start + 100_000]
        part += 0.7 * chance.standard_normal(part.shape, dtype=np.float32)
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    asked = vectors[chance.integers(0, number, queries)]
    asked = asked + 0.03 * chance.standard_normal(asked.shape, dtype=np.float32)
    return vectors, asked / np.linalg.norm(asked, axis=1, keepdims=True)


def embed(corpus: Path, queries: Path, model: str) -> tuple[np.ndarray, np.ndarray]:
    from customir.exporters.int8 import quantize
    from customir.exporters.merge import merge_adapter
    from customir.exporters.onnx import export_onnx
    from customir.exporters.parity import HeldOut

    from customir import models
    from customir.runtime.embedder import Embedder

    texts, asked = (
        [json.loads(line)["text"] for line in path.open(encoding="utf-8")]
        for path in (corpus, queries)
    )
    with tempfile.TemporaryDirectory() as folder:
        made = merge_adapter(models.locate(model), Path(), 0.0, Path(folder) / "model")
        export_onnx(made)
        quantize(made, HeldOut(texts[:200]))
        embedder = Embedder(made)
        return embedder.encode(texts), embedder.encode(asked, "query")


def fill(database: apsw.Connection, vectors: np.ndarray) -> None:
    dimensions = vectors.shape[1]
    database.execute(
        f"CREATE VIRTUAL TABLE float USING vec0(embedding float[{dimensions}] "
        f"distance_metric=cosine); CREATE VIRTUAL TABLE int8 USING vec0(embedding int8[{dimensions}])"
    )
    coarse = np.clip(np.rint(vectors * (127 / np.abs(vectors).max())), -127, 127).astype(np.int8)
    with database:
        database.executemany(
            "INSERT INTO float (rowid, embedding) VALUES (?, ?)",
            ((row, vector.tobytes()) for row, vector in enumerate(vectors)),
        )
        database.executemany(
            "INSERT INTO int8 (rowid, embedding) VALUES (?, vec_int8(?))",
            ((row, vector.tobytes()) for row, vector in enumerate(coarse)),
        )


def contenders(database: apsw.Connection, vectors: np.ndarray, folder: Path) -> dict[str, Search]:
    """By name, a function from queries (q, d) to row numbers (q, 10)."""
    scale = 127 / np.abs(vectors).max()
    dimensions = vectors.shape[1]
    cached = cache.build(
        folder / cache.CACHE_NAME,
        "bench",
        dimensions,
        ((row, vector.tobytes()) for row, vector in enumerate(vectors)),
    )
    cached = cache.load(folder / cache.CACHE_NAME, "bench") or cached  # memory-mapped

    def ours(queries: np.ndarray) -> np.ndarray:
        found = cached.nearest(queries, RESCORED * K)
        statement = "SELECT embedding FROM float WHERE rowid = ?"
        best = []
        for query, rows in zip(queries, found, strict=True):
            held = b"".join(
                database.execute(statement, (row,)).fetchone()[0] for row in rows.tolist()
            )
            cosines = np.frombuffer(held, np.float32).reshape(len(rows), dimensions) @ query
            best.append(rows[np.argsort(-cosines, kind="stable")[:K]])
        return np.array(best)

    def by_sqlite(table: str, coded: Callable[[np.ndarray], bytes], value: str) -> Search:
        statement = f"SELECT rowid FROM {table} WHERE embedding MATCH {value} AND k = {K}"
        return lambda queries: np.array(
            [[row[0] for row in database.execute(statement, (coded(query),))] for query in queries]
        )

    def by_numpy(queries: np.ndarray) -> np.ndarray:
        scores = queries @ vectors.T
        best = np.argpartition(-scores, K, axis=1)[:, :K]
        order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1, kind="stable")
        return np.take_along_axis(best, order, axis=1)

    def coarse(query: np.ndarray) -> bytes:
        return np.clip(np.rint(query * scale), -127, 127).astype(np.int8).tobytes()

    found: dict[str, Search] = {
        OURS: ours,
        "sqlite-vec float": by_sqlite("float", np.ndarray.tobytes, "?"),
        "sqlite-vec int8": by_sqlite("int8", coarse, "vec_int8(?)"),
        "numpy float": by_numpy,
    }
    try:
        import faiss  # type: ignore[import-not-found]
    except ImportError:
        print("faiss is not installed: left out")
    else:
        faiss.omp_set_num_threads(1)
        flat = faiss.IndexFlatIP(dimensions)
        eight = faiss.IndexScalarQuantizer(
            dimensions, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT
        )
        for name, index in (("faiss flat", flat), ("faiss SQ8", eight)):
            index.train(vectors)
            index.add(vectors)
            found[name] = lambda queries, index=index: index.search(queries, K)[1]
    try:
        from usearch.index import MetricKind, search  # type: ignore[import-not-found]
    except ImportError:
        print("usearch is not installed: left out")
    else:
        held = np.clip(np.rint(vectors * scale), -127, 127).astype(np.int8)

        def by_usearch(queries: np.ndarray) -> np.ndarray:
            asked = np.clip(np.rint(queries * scale), -127, 127).astype(np.int8)
            matches = search(held, asked, K, MetricKind.IP, exact=True, threads=1)
            return np.asarray(matches.keys).reshape(len(queries), K)

        found["usearch exact int8"] = by_usearch
    return found


def agreement(found: np.ndarray, vectors: np.ndarray, queries: np.ndarray) -> tuple[float, float]:
    """Share of the true ten best found, and of queries with all ten; equal scores count as found."""
    shared = 0.0
    whole = 0
    for start in range(0, len(queries), 256):
        scores = queries[start : start + 256] @ vectors.T
        tenth = np.partition(scores, -K, axis=1)[:, -K]
        mine = np.take_along_axis(scores, found[start : start + 256].astype(np.int64), axis=1)
        hits = (mine >= tenth[:, None] - 1e-6).sum(axis=1)
        shared += float(hits.sum()) / K
        whole += int((hits == K).sum())
    return shared / len(queries), whole / len(queries)


def measure(
    vectors: np.ndarray, queries: np.ndarray, rounds: int, checked: int
) -> dict[str, dict[str, float]]:
    """Of each contender: milliseconds a query, alone and in a batch; its agreement with floats."""
    results: dict[str, dict[str, float]] = {}
    with (
        tempfile.TemporaryDirectory() as folder,
        closing(apsw.Connection(f"{folder}/vectors.db")) as database,
        threadpool_limits(1),
    ):
        database.enable_load_extension(True)
        database.load_extension(sqlite_vec.loadable_path())
        database.pragma("synchronous", "off")
        fill(database, vectors)
        database.pragma("mmap_size", 1 << 33)
        every = contenders(database, vectors, Path(folder))
        for name, search in every.items():
            few = queries[: min(checked, 20)] if name in SLOW else queries[:checked]
            recall, whole = agreement(search(few), vectors, few)
            results[name] = {"recall": recall, "whole": whole, "single": 1e9, "batch": 1e9}
        for number in range(rounds):
            for name, search in every.items():
                query = queries[number % len(queries)][None]
                results[name]["single"] = min(results[name]["single"], seconds(search, query))
                if name in SLOW:  # they know no batches
                    results[name]["batch"] = results[name]["single"]
                elif number < max(3, rounds // 5):
                    batch = queries[:BATCH]
                    results[name]["batch"] = min(
                        results[name]["batch"], seconds(search, batch) / len(batch)
                    )
    return results


def seconds(search: Search, queries: np.ndarray) -> float:
    start = time.perf_counter()
    search(queries)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="10,000 and 100,000 vectors")
    parser.add_argument("--corpus", type=Path, help="JSONL with text")
    parser.add_argument("--queries", type=Path, help="JSONL with text")
    parser.add_argument("--model", default="minilm", help="a name, or a folder")
    arguments = parser.parse_args()
    kernel = best_kernel()
    if kernel is None:
        raise SystemExit("The scan kernel was not compiled: install with a C++ compiler.")
    sets: list[tuple[str, np.ndarray, np.ndarray]] = []
    claims: list[dict[str, Any]] = []
    if arguments.corpus and arguments.queries:
        sets.append(("given", *embed(arguments.corpus, arguments.queries, arguments.model)))
    sizes = (10_000, 100_000) if arguments.quick else (10_000, 100_000, 1_000_000)
    for size in [len(sets[0][1])] if sets else sizes:
        what, vectors, queries = sets[0] if sets else ("generated", *generate(size, 500))
        rounds, checked = (20, 500) if size < 500_000 else (5, 100)
        results = measure(vectors, queries, rounds, len(queries) if sets else checked)
        print(f"\n{size} {what} vectors of {vectors.shape[1]}, k {K}, one thread, kernel {kernel}")
        print(f"{'':30}  ms alone  ms in {BATCH}  recall@10  all ten")
        for name, one in results.items():
            print(
                f"{name:30} {1000 * one['single']:9.2f} {1000 * one['batch']:9.2f} "
                f"{one['recall']:10.4f} {one['whole']:8.4f}"
            )
        ours = results[OURS]
        others = {name: one for name, one in results.items() if name != OURS}
        for way in ("single", "batch"):
            equal = {n: one for n, one in others.items() if one["recall"] >= ours["recall"] - 0.005}
            best = min(equal, key=lambda name: equal[name][way])
            for peer in dict.fromkeys((PEER, best)):
                claims.append(
                    {
                        "claim": f"search, {way}, {size} vectors, milliseconds a query",
                        "ours": round(1000 * ours[way], 3),
                        "peer": peer,
                        "peer_figure": round(1000 * others[peer][way], 3),
                        "ratio": round(others[peer][way] / ours[way], 2),
                        "our_recall": round(ours["recall"], 4),
                        "all_ten": round(ours["whole"], 4),
                        "peer_recall": round(others[peer]["recall"], 4),
                        "measured_on": f"{what} vectors, one thread, kernel {kernel}",
                    }
                )
    print(json.dumps({"bench": "search", "claims": claims}))


if __name__ == "__main__":
    main()
