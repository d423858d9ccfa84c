"""Exact vector search on a CPU: ours against sqlite-vec, faiss, usearch and numpy, one thread each.

Ours is what `customir search` does: the scan kernel chooses by 2 bits a number, among these by 4
bits, and their float vectors put in order what is left, some times as many as are wanted; by 8 bits
and four times as many, as mining does it; and the scan of 2 bits alone.
Contenders take turns in one process; the best of the rounds counts. Beside them, in the same turns,
stands a plain read of as many bytes as the 2-bit matrix has.

Vectors are real ones (`--data FOLDER`, corpus.jsonl and queries.jsonl with "text", embedded with
`--model`; or `--vectors CORPUS.npy QUERIES.npy`, unit vectors), or generated: clusters on the
sphere, as neighbourhoods in a corpus are. A size beyond the real vectors is filled up with copies
of them, each with noise of its own of half their length (cosine to the original .89). faiss and
usearch are measured where they are installed.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from itertools import product
from pathlib import Path
from typing import Any

import apsw
import numpy as np
import sqlite_vec
from customir.kernels.scan import Scanner, best_kernel, quantize_int8, top_k
from threadpoolctl import threadpool_limits

from customir.retrieval import dense
from customir.runtime import cache
from customir.runtime.search import depths

K, BATCH, DIMENSIONS = 10, 64, 384
DEPTHS = (40, 80, 640)  # that bits are looked into
NOISE = 0.5  # length of what is added to a real vector for another
OURS, EIGHT = "CustomIR 2-bit scan, rescored", "CustomIR int8 scan, rescored"
ALONE = "CustomIR 2-bit scan alone"
PEER, READ = "sqlite-vec float", "plain read of the 2-bit matrix"
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


def more_of(real: np.ndarray, number: int) -> np.ndarray:
    """The first `number` real vectors; where there are fewer, noisy copies make up the rest."""
    if number <= len(real):
        return real[:number]
    chance = np.random.default_rng(0)
    vectors = np.empty((number, real.shape[1]), dtype=np.float32)
    vectors[: len(real)] = real
    for start in range(len(real), number, 100_000):
        part = vectors[start : start + 100_000]
        part[:] = chance.standard_normal(part.shape, dtype=np.float32)
        part *= NOISE / np.linalg.norm(part, axis=1, keepdims=True)
        part += real[np.arange(start, start + len(part)) % len(real)]
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    return vectors


def embed(folder: Path, model: str) -> tuple[np.ndarray, np.ndarray]:
    from customir.exporters.int8 import quantize
    from customir.exporters.merge import merge_adapter
    from customir.exporters.onnx import export_onnx
    from customir.exporters.similarity import HeldOut

    from customir import models
    from customir.runtime.embedder import Embedder

    texts, asked = (
        [json.loads(line)["text"] for line in (folder / name).open(encoding="utf-8")]
        for name in ("corpus.jsonl", "queries.jsonl")
    )
    with tempfile.TemporaryDirectory() as scratch:
        made = merge_adapter(models.locate(model), Path(), 0.0, Path(scratch) / "model")
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
        lambda: ((row, vector.tobytes()) for row, vector in enumerate(vectors)),
    )

    def ours(queries: np.ndarray) -> np.ndarray:
        return cached.nearest(queries, *depths(K, len(vectors)))[0][:, :K]

    eight = Scanner(quantize_int8(vectors, scale), vectors)

    def by_eight(queries: np.ndarray) -> np.ndarray:
        return eight.nearest(queries, dense.RESCORED * K)[0][:, :K]

    def alone(queries: np.ndarray) -> np.ndarray:
        asked = queries * cached.steps
        largest = np.abs(asked).max(axis=1, keepdims=True)
        coded = quantize_int8(asked, 127 / largest, 4 * cached.codes.shape[1])
        return top_k(coded, cached.codes, depths(K, len(vectors))[1])[0][:, :K]

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
        EIGHT: by_eight,
        ALONE: alone,
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
        sq8 = faiss.IndexScalarQuantizer(
            dimensions, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT
        )
        for name, index in (("faiss flat", flat), ("faiss SQ8", sq8)):
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


def bits(vectors: np.ndarray, queries: np.ndarray) -> dict[int, float]:
    """By depth, the share of queries whose true ten best all lie within it by bits.

    A vector is the signs of its differences from the mean, the query is in floats.
    """
    signs = np.where(vectors > vectors.mean(axis=0), np.float32(1), np.float32(-1))
    whole = dict.fromkeys(DEPTHS, 0)
    for query in queries:
        exact = vectors @ query
        tenth = np.partition(exact, -K)[-K]
        order = np.argpartition(-(signs @ query), DEPTHS)[: DEPTHS[-1]]
        for depth in DEPTHS:
            whole[depth] += int((exact[order[:depth]] >= tenth - 1e-6).sum() >= K)
    return {depth: number / len(queries) for depth, number in whole.items()}


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
        as_many = np.ones(vectors.size // 32, dtype=np.uint64)
        read = 1e9
        for name, search in every.items():
            few = queries[: min(checked, 20)] if name in SLOW else queries[:checked]
            recall, whole = agreement(search(few), vectors, few)
            results[name] = {"recall": recall, "whole": whole, "single": 1e9, "batch": 1e9}
        for number in range(rounds):
            start = time.perf_counter()
            as_many.max()
            read = min(read, time.perf_counter() - start)
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
    results[READ] = {"single": read}
    return results


def seconds(search: Search, queries: np.ndarray) -> float:
    start = time.perf_counter()
    search(queries)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="10,000 and 100,000 vectors")
    parser.add_argument("--size", type=int, nargs="+", help="how many vectors; each is measured")
    given = parser.add_mutually_exclusive_group()
    given.add_argument("--data", type=Path, help="a folder with corpus.jsonl and queries.jsonl")
    given.add_argument(
        "--vectors", type=Path, nargs=2, help="float32 unit vectors: passages, queries"
    )
    parser.add_argument("--model", default="minilm", help="for --data: a name, or a folder")
    arguments = parser.parse_args()
    kernel = best_kernel()
    if kernel is None:
        raise SystemExit("The scan kernel was not compiled: install with a C++ compiler.")
    claims: list[dict[str, Any]] = []
    real = None
    if arguments.data:
        real = embed(arguments.data, arguments.model)
    elif arguments.vectors:
        real = np.load(arguments.vectors[0]), np.load(arguments.vectors[1])
    sizes = (10_000, 100_000) if arguments.quick else (10_000, 100_000, 1_000_000)
    for size in arguments.size or sizes:
        if real is None:
            what, (vectors, queries) = "generated", generate(size, 500)
        else:
            what = f"{min(size, len(real[0]))} real"
            what += f" and {size - len(real[0])} noised" if size > len(real[0]) else ""
            vectors, queries = more_of(real[0], size), real[1]
        rounds = max(5, min(100, 2_000_000 // size))
        checked = max(
            200, min(5000, 100_000_000 // size)
        )  # queries; exact search of all takes long
        results = measure(vectors, queries, rounds, checked)
        read = results.pop(READ)["single"]
        print(
            f"\n{size} vectors ({what}) of {vectors.shape[1]}, k {K}, one thread, kernel {kernel}"
        )
        print(f"{'':30}  ms alone  ms in {BATCH}  recall@10  all ten")
        for name, one in results.items():
            print(
                f"{name:30} {1000 * one['single']:9.2f} {1000 * one['batch']:9.2f} "
                f"{one['recall']:10.4f} {one['whole']:8.4f}"
            )
        scan = results[ALONE]["single"]
        share = round(read / scan, 2)
        print(f"{READ}: {1000 * read:.2f} ms, {size * vectors.shape[1] / 4e9 / read:.1f} GB/s")
        claims.append(
            {
                "claim": f"scan, single, {size} vectors, milliseconds",
                "ours": round(1000 * scan, 3),
                "peer": READ,
                "peer_figure": round(1000 * read, 3),
                "ratio": share,
                "measured_on": f"{what} vectors, one thread, kernel {kernel}",
            }
        )
        within = bits(vectors, queries[:200]) if size <= 100_000 else {}
        for depth, whole in within.items():
            print(
                f"by bits, the ten best are among the best {depth} for {whole:.3f} of 200 queries"
            )
        others = {name: one for name, one in results.items() if name not in (OURS, EIGHT, ALONE)}
        for mine, way in product((OURS, EIGHT), ("single", "batch")):
            ours = results[mine]
            equal = {n: one for n, one in others.items() if one["recall"] >= ours["recall"] - 0.005}
            best = min(equal, key=lambda name: equal[name][way])
            for peer in dict.fromkeys((PEER, best)):
                claims.append(
                    {
                        "claim": f"{mine}, {way}, {size} vectors, milliseconds a query",
                        "ours": round(1000 * ours[way], 3),
                        "peer": peer,
                        "peer_figure": round(1000 * others[peer][way], 3),
                        "ratio": round(others[peer][way] / ours[way], 2),
                        "our_recall": round(ours["recall"], 4),
                        "all_ten": round(ours["whole"], 4),
                        "queries": min(checked, len(queries)),
                        "peer_recall": round(others[peer]["recall"], 4),
                        "measured_on": f"{what} vectors, one thread, kernel {kernel}",
                    }
                )
    print(json.dumps({"bench": "search", "claims": claims}))


if __name__ == "__main__":
    main()
