"""Exact vector search on a CPU: CustomIR beside sqlite-vec, faiss, usearch and numpy, one thread each.

CustomIR scans 2 bits of each number, rescores the best vectors with 4 bits, and the best of these with floats,
as `customir search` does; also measured are the 8-bit scan that mining uses, and the 2-bit scan alone.
Contenders take turns in one process, together with a plain read of as many bytes as the 2-bit matrix has, and
the best of the rounds counts.

The vectors are embedded texts (`--data FOLDER`, whose corpus.jsonl and queries.jsonl have a "text"), your own
(`--vectors CORPUS.npy QUERIES.npy`, unit vectors), or generated in clusters. If a size needs more vectors than
there are, the rest are copies with noise of half their length (cosine 0.89). faiss and usearch are measured if
they are installed.

    python bench/search.py --data data/aeslc-enron
    python bench/search.py --quick
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
from customir.runtime.ranking import depths

K, BATCH, DIMENSIONS = 10, 64, 384
DEPTHS = (40, 80, 640)  # at which agreement of signs with floats is measured
NOISE = 0.5  # length of the noise that makes a new vector of a real one
OURS, INT8 = "CustomIR 2-bit scan, rescored", "CustomIR int8 scan, rescored"
ALONE = "CustomIR 2-bit scan alone"
PEER, READ = "sqlite-vec float", "plain read of the 2-bit matrix"
# These take about a second per query among a million vectors, and know no batches.
SLOW = ("sqlite-vec float", "sqlite-vec int8")

Search = Callable[[np.ndarray], np.ndarray]


def generate(number: int, queries: int) -> tuple[np.ndarray, np.ndarray]:
    chance = np.random.default_rng(0)
    centres = chance.normal(size=(max(100, number // 100), DIMENSIONS)).astype(np.float32)
    vectors = centres[chance.integers(0, len(centres), number)]
    for start in range(0, number, 100_000):  # in parts, to save gigabytes of memory
        part = vectors[start : start + 100_000]
        part += 0.7 * chance.standard_normal(part.shape, dtype=np.float32)
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    query_vectors = vectors[chance.integers(0, number, queries)]
    query_vectors = query_vectors + 0.03 * chance.standard_normal(
        query_vectors.shape, dtype=np.float32
    )
    return vectors, query_vectors / np.linalg.norm(query_vectors, axis=1, keepdims=True)


def more_of(real: np.ndarray, number: int) -> np.ndarray:
    """The first `number` real vectors, and noisy copies if there are fewer."""
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

    texts, queries = (
        [json.loads(line)["text"] for line in (folder / name).open(encoding="utf-8")]
        for name in ("corpus.jsonl", "queries.jsonl")
    )
    with tempfile.TemporaryDirectory() as scratch:
        merged = merge_adapter(models.locate(model), Path(), 0.0, Path(scratch) / "model")
        export_onnx(merged)
        quantize(merged, HeldOut(texts[:200]))
        embedder = Embedder(merged)
        return embedder.encode(texts), embedder.encode(queries, "query")


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
    """By name, a function from queries (q, d) to the row numbers of the best (q, 10)."""
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

    scanner = Scanner(quantize_int8(vectors, scale), vectors)

    def by_eight(queries: np.ndarray) -> np.ndarray:
        return scanner.nearest(queries, dense.RESCORED * K)[0][:, :K]

    def scan_alone(queries: np.ndarray) -> np.ndarray:
        query_vectors = queries * cached.steps
        largest = np.abs(query_vectors).max(axis=1, keepdims=True)
        coded = quantize_int8(query_vectors, 127 / largest, 4 * cached.codes.shape[1])
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

    searches: dict[str, Search] = {
        OURS: ours,
        INT8: by_eight,
        ALONE: scan_alone,
        "sqlite-vec float": by_sqlite("float", np.ndarray.tobytes, "?"),
        "sqlite-vec int8": by_sqlite("int8", coarse, "vec_int8(?)"),
        "numpy float": by_numpy,
    }
    try:
        import faiss  # type: ignore[import-not-found]
    except ImportError:
        print("faiss is not installed and is left out.")
    else:
        faiss.omp_set_num_threads(1)
        flat = faiss.IndexFlatIP(dimensions)
        sq8 = faiss.IndexScalarQuantizer(
            dimensions, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT
        )
        for name, index in (("faiss flat", flat), ("faiss SQ8", sq8)):
            index.train(vectors)
            index.add(vectors)
            searches[name] = lambda queries, index=index: index.search(queries, K)[1]
    try:
        from usearch.index import MetricKind, search  # type: ignore[import-not-found]
    except ImportError:
        print("usearch is not installed and is left out.")
    else:
        coded_vectors = np.clip(np.rint(vectors * scale), -127, 127).astype(np.int8)

        def by_usearch(queries: np.ndarray) -> np.ndarray:
            query_vectors = np.clip(np.rint(queries * scale), -127, 127).astype(np.int8)
            matches = search(coded_vectors, query_vectors, K, MetricKind.IP, exact=True, threads=1)
            return np.asarray(matches.keys).reshape(len(queries), K)

        searches["usearch exact int8"] = by_usearch
    return searches


def agreement(rows: np.ndarray, vectors: np.ndarray, queries: np.ndarray) -> tuple[float, float]:
    """Recall@10 against exact search, and the share of queries with all ten; ties count as hits."""
    hits_in_all = 0.0
    complete = 0
    for start in range(0, len(queries), 256):
        scores = queries[start : start + 256] @ vectors.T
        tenth = np.partition(scores, -K, axis=1)[:, -K]
        own_scores = np.take_along_axis(scores, rows[start : start + 256].astype(np.int64), axis=1)
        hits = (own_scores >= tenth[:, None] - 1e-6).sum(axis=1)
        hits_in_all += float(hits.sum()) / K
        complete += int((hits == K).sum())
    return hits_in_all / len(queries), complete / len(queries)


def bits(vectors: np.ndarray, queries: np.ndarray) -> dict[int, float]:
    """By depth, the share of queries whose true ten best are within that depth by sign bits.

    A vector is represented by the signs of its differences from the mean, a query by floats.
    """
    signs = np.where(vectors > vectors.mean(axis=0), np.float32(1), np.float32(-1))
    complete = dict.fromkeys(DEPTHS, 0)
    for query in queries:
        exact = vectors @ query
        tenth = np.partition(exact, -K)[-K]
        order = np.argpartition(-(signs @ query), DEPTHS)[: DEPTHS[-1]]
        for depth in DEPTHS:
            complete[depth] += int((exact[order[:depth]] >= tenth - 1e-6).sum() >= K)
    return {depth: number / len(queries) for depth, number in complete.items()}


def measure(
    vectors: np.ndarray, queries: np.ndarray, rounds: int, checked: int
) -> dict[str, dict[str, float]]:
    """For each contender: seconds per query, alone and in a batch, and its recall."""
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
        searches_by_name = contenders(database, vectors, Path(folder))
        matrix = np.ones(vectors.size // 32, dtype=np.uint64)
        read = 1e9
        for name, search in searches_by_name.items():
            few = queries[: min(checked, 20)] if name in SLOW else queries[:checked]
            recall, complete = agreement(search(few), vectors, few)
            results[name] = {"recall": recall, "whole": complete, "single": 1e9, "batch": 1e9}
        for number in range(rounds):
            start = time.perf_counter()
            matrix.max()
            read = min(read, time.perf_counter() - start)
            for name, search in searches_by_name.items():
                query = queries[number % len(queries)][None]
                results[name]["single"] = min(results[name]["single"], seconds(search, query))
                if name in SLOW:
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
    parser.add_argument("--size", type=int, nargs="+", help="numbers of vectors to measure with")
    vector_source = parser.add_mutually_exclusive_group()
    vector_source.add_argument(
        "--data", type=Path, help="a folder with corpus.jsonl and queries.jsonl"
    )
    vector_source.add_argument(
        "--vectors",
        type=Path,
        nargs=2,
        help="two .npy files of float32 unit vectors: passages and queries",
    )
    parser.add_argument(
        "--model", default="minilm", help="the embedder for --data: a name, or a folder"
    )
    arguments = parser.parse_args()
    kernel = best_kernel()
    if kernel is None:
        raise SystemExit(
            "The scan kernel is missing: install customir where there is a C++ compiler."
        )
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
            what += f" and {size - len(real[0])} noisy copies" if size > len(real[0]) else ""
            vectors, queries = more_of(real[0], size), real[1]
        rounds = max(5, min(100, 2_000_000 // size))
        checked = max(
            200, min(5000, 100_000_000 // size)
        )  # queries; exact search of all of them takes long
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
        for depth, complete in within.items():
            print(
                f"By sign bits, the ten best are among the best {depth} for {complete:.1%} of 200 queries."
            )
        others = {name: one for name, one in results.items() if name not in (OURS, INT8, ALONE)}
        for contender, mode in product((OURS, INT8), ("single", "batch")):
            ours = results[contender]
            equal = {n: one for n, one in others.items() if one["recall"] >= ours["recall"] - 0.005}
            best = min(equal, key=lambda name: equal[name][mode])
            for peer in dict.fromkeys((PEER, best)):
                claims.append(
                    {
                        "claim": f"{contender}, {mode}, {size} vectors, milliseconds per query",
                        "ours": round(1000 * ours[mode], 3),
                        "peer": peer,
                        "peer_figure": round(1000 * others[peer][mode], 3),
                        "ratio": round(others[peer][mode] / ours[mode], 2),
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
