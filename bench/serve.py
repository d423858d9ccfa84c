"""`customir serve` under load on loopback: answers per second, latency, and what it refuses above its limit.

The server runs in a process of its own over an index of mail-like texts (`--jsonl FILE`: the "text" of each
line). Each client has one connection and sends one hybrid search after the other, each with another query, so
that no query's vector is cached. Up to the limit of concurrent requests every answer has to be 200; above it,
200 or 429 with Retry-After. The peer is a single client: the ratio is what concurrency adds.

    python bench/serve.py --texts 2000 --seconds 5
    python bench/serve.py --quick
"""

import argparse
import http.client
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from customir.server.limits import Limits

LEVELS = (1, 2, 4, 8, 16, 32, 64)
ABOVE = 128  # clients, twice the limit
SERVE = "import sys; from customir.cli import main; sys.argv = ['customir', 'serve', *sys.argv[1:]]; main()"


def generated(number: int) -> list[str]:
    random_source = random.Random(0)
    words = ["".join(random_source.choices("abcdefghijklmnopqrstuvwxyz", k=6)) for _ in range(3000)]
    return [
        " ".join(random_source.choices(words, k=random_source.randint(8, 120)))
        for _ in range(number)
    ]


def prepare(folder: Path, texts: list[str], model: str) -> None:
    """Write a model and an index to `folder`."""
    from customir.exporters.int8 import quantize
    from customir.exporters.merge import merge_adapter
    from customir.exporters.onnx import export_onnx
    from customir.exporters.similarity import HeldOut

    from customir import models
    from customir.progress import Silent
    from customir.runtime import Embedder, IndexedPassage, build_index

    merged = merge_adapter(models.locate(model), Path(), 0.0, folder / "model")
    export_onnx(merged)
    quantize(merged, HeldOut(texts[:200]))
    passages = [
        IndexedPassage(
            key=str(number), document=str(number), identifier=str(number), source="bench", title="",
            sender="", date=None, thread=str(number // 3), duplicates=str(number), text=text,
        )
        for number, text in enumerate(texts)
    ]  # fmt: skip
    build_index(folder / "index.db", passages, Embedder(merged), Silent())


def load(port: int, token: str, clients: int, seconds: float, queries: list[str]) -> dict[str, Any]:
    """Search for `seconds` with so many clients; return latencies of answers, and counts by status."""
    statuses: Counter[str] = Counter()
    times: list[float] = []
    end = time.perf_counter() + seconds

    def client(number: int) -> None:
        random_source = random.Random(f"{clients} {number}")
        own_times: list[float] = []
        own_statuses: Counter[str] = Counter()
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        while time.perf_counter() < end:
            query = " ".join(
                [*random_source.choice(queries).split()[:6], str(random_source.random())]
            )
            start = time.perf_counter()
            try:
                path = f"/search?k=10&q={quote(query)}"
                connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
                answer = connection.getresponse()
                content = answer.read()
                status = str(answer.status)
                if answer.status == 200:
                    json.loads(content)["hits"]
                    own_times.append(time.perf_counter() - start)
                elif "Retry-After" not in answer.headers:
                    status += " without Retry-After"
                else:
                    time.sleep(0.05)
            except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
                status = type(error).__name__
                connection.close()
            own_statuses[status] += 1
        connection.close()
        statuses.update(own_statuses)
        times.extend(own_times)

    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    elapsed = time.perf_counter() - start
    p50, p99 = np.percentile(np.array(times or [0.0]) * 1000, [50, 99])
    return {
        "clients": clients,
        "answered": len(times),
        "per_second": round(len(times) / elapsed, 1),
        "p50": round(float(p50), 1),
        "p99": round(float(p99), 1),
        "statuses": dict(statuses),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="500 texts, 3 seconds per level")
    parser.add_argument("--jsonl", type=Path, help="texts to index; default: generated ones")
    parser.add_argument("--texts", type=int, default=5000, help="how many are indexed")
    parser.add_argument("--seconds", type=float, default=10.0, help="seconds for each level")
    parser.add_argument("--workers", type=int, default=1, help="processes of the server")
    parser.add_argument("--model", default="minilm", help="a name, or a folder")
    arguments = parser.parse_args()
    number, seconds = (500, 3.0) if arguments.quick else (arguments.texts, arguments.seconds)
    if arguments.jsonl:
        texts = [json.loads(line)["text"] for line in arguments.jsonl.open(encoding="utf-8")]
        texts = texts[:number]
    else:
        texts = generated(number)
    with tempfile.TemporaryDirectory() as scratch:
        prepare(Path(scratch), texts, arguments.model)
        options = ["--port", "0", "--no-access-log", "--workers", str(arguments.workers)]
        process = subprocess.Popen(
            [sys.executable, "-c", SERVE, scratch, *options],
            stderr=subprocess.PIPE,
            text=True,
            env={name: value for name, value in os.environ.items() if name != "CUSTOMIR_TOKEN"},
        )
        try:
            assert process.stderr is not None
            address, _, token = process.stderr.readline().split()[0].partition("#token=")
            port = int(address.rstrip("/").rpartition(":")[2])
            load(port, token, 2, 1.0, texts)
            print(f"{len(texts)} texts, hybrid search, {seconds:g} s per level, ", end="")
            print(f"{arguments.workers} processes of the server and one of the clients")
            print("clients  answers/s  p50 ms  p99 ms  statuses")
            levels = []
            for clients in (*LEVELS, ABOVE):
                levels.append(load(port, token, clients, seconds, texts))
                one = levels[-1]
                print(
                    f"{one['clients']:7} {one['per_second']:10} {one['p50']:7} {one['p99']:7}  "
                    f"{one['statuses']}",
                    flush=True,
                )
            process.send_signal(signal.SIGTERM)
            exit_status = process.wait(30)
        finally:
            process.kill()
    limit = Limits().waiting
    unexpected = {
        one["clients"]: one["statuses"]
        for one in levels
        if set(one["statuses"]) - ({"200"} if one["clients"] <= limit else {"200", "429"})
    }
    best = max(levels[: len(LEVELS)], key=lambda one: one["per_second"])
    claims = [
        {
            "claim": "serve, hybrid searches per second",
            "ours": best["per_second"],
            "peer": "a single client",
            "peer_figure": levels[0]["per_second"],
            "ratio": round(best["per_second"] / levels[0]["per_second"], 2),
            "clients": best["clients"],
            "levels": levels,
            "unexpected_statuses": unexpected,
            "exit_status": exit_status,
            "measured_on": f"{len(texts)} texts, loopback, clients on the same {os.cpu_count()} cores",
        }
    ]
    print(json.dumps({"bench": "serve", "claims": claims}))
    if unexpected or exit_status:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
