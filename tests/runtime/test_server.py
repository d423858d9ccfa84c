"""The server, asked over real sockets."""

import base64
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest

from customir.errors import UserError
from customir.progress import Silent
from customir.runtime.embedder import Embedder
from customir.runtime.index import IndexedPassage, build_index
from customir.runtime.search import search
from customir.runtime.server import Limits, Server, is_loopback

SERVE = """
import sys
from customir.cli import main
sys.argv = ["customir", "serve", *sys.argv[1:]]
main()
"""


@pytest.fixture(scope="module")
def folder(
    model: Path, passages: list[IndexedPassage], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("serve")
    shutil.copytree(model, folder / "model")
    build_index(folder / "index.db", passages, Embedder(model), Silent())
    return folder


@contextmanager
def running(folder: Path, **options: Any) -> Iterator[Server]:
    server = Server(folder, ("127.0.0.1", 0), **options)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        server.stop()
        thread.join(10)
        assert not thread.is_alive()


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    with running(folder) as server:
        yield server


def ask(
    server: Server,
    method: str,
    path: str,
    body: Any = None,
    headers: dict[str, str] | None = None,
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=30)
    try:
        content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        connection.request(method, path, content, headers or {})
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


def test_search_gives_what_the_searcher_gives(server: Server, folder: Path) -> None:
    expected = [hit.identifier for hit in search(folder, "pizza on Friday", k=3)]
    status, headers, content = ask(server, "POST", "/search", {"query": "pizza on Friday", "k": 3})
    assert (status, headers["Content-Type"]) == (200, "application/json")
    assert [hit["identifier"] for hit in json.loads(content)["hits"]] == expected
    status, _, content = ask(server, "GET", f"/search?q={quote('pizza on Friday')}&k=3&since=")
    assert [hit["identifier"] for hit in json.loads(content)["hits"]] == expected


def test_filters_and_threads_over_http(server: Server) -> None:
    _, _, content = ask(server, "GET", "/search?q=pizza&since=2020-01-01")
    assert json.loads(content) == {"hits": []}
    _, _, content = ask(server, "GET", "/search?q=pizza&k=1&sender=ANN&by_thread=1")
    (hit,) = json.loads(content)["hits"]
    _, _, content = ask(server, "GET", f"/thread?name={hit['thread']}")
    assert [one["identifier"] for one in json.loads(content)["passages"]] == [hit["identifier"]]


def test_embeddings_in_openais_form(server: Server, folder: Path) -> None:
    texts = ["lunch?", "The gas contract was signed."]
    expected = Embedder(folder / "model").encode(texts)
    _, _, content = ask(server, "POST", "/v1/embeddings", {"input": texts, "model": "any"})
    data = json.loads(content)["data"]
    np.testing.assert_allclose([one["embedding"] for one in data], expected, atol=1e-6)
    _, _, content = ask(
        server, "POST", "/v1/embeddings", {"input": texts, "encoding_format": "base64"}
    )
    raw = [base64.b64decode(one["embedding"]) for one in json.loads(content)["data"]]
    np.testing.assert_allclose([np.frombuffer(one, "<f4") for one in raw], expected, atol=1e-6)
    assert ask(server, "POST", "/v1/embeddings", {"input": "one text"})[0] == 200


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/nothing", None, 404),
        ("GET", "/../../etc/passwd", None, 404),
        ("GET", "/v1/embeddings", None, 405),
        ("POST", "/health", {}, 405),
        ("POST", "/search", b"{no json", 400),
        ("POST", "/search", b"[" * 100_000, 400),
        ("POST", "/search", [], 400),
        ("POST", "/search", {"query": 5}, 400),
        ("POST", "/search", {"query": "x", "k": 0}, 400),
        ("POST", "/search", {"query": "x", "k": True}, 400),
        ("POST", "/search", {"query": "x", "mode": "magic"}, 400),
        ("POST", "/search", {"query": "x", "since": "yesterday"}, 400),
        ("POST", "/search", {"query": "x", "sinse": "2020-01-01"}, 400),
        ("POST", "/search", {"query": "x" * 10_001}, 400),
        ("GET", "/search?q=x&k=ten", None, 400),
        ("POST", "/search", b"x" * (1 << 20) + b"x", 413),
        ("POST", "/v1/embeddings", {"input": []}, 400),
        ("POST", "/v1/embeddings", {"input": ["x"] * 257}, 400),
        ("POST", "/v1/embeddings", {"input": [1, 2]}, 400),
        ("POST", "/v1/embeddings", {"input": "x", "dimensions": 3}, 400),
    ],
)
def test_bad_requests_are_refused_with_a_reason(
    server: Server, method: str, path: str, body: Any, status: int
) -> None:
    found, _, content = ask(server, method, path, body)
    assert found == status
    assert json.loads(content)["error"]["message"]
    assert ask(server, "GET", "/health")[0] == 200


def test_any_text_is_a_query_and_any_input_embeds(server: Server) -> None:
    for text in ("", "\x00", "\ud800", "日本語", '"; DROP TABLE', "<script>"):
        assert ask(server, "POST", "/search", {"query": text})[0] == 200
        assert ask(server, "POST", "/v1/embeddings", {"input": text})[0] == 200


def test_health_metrics_and_the_page(server: Server) -> None:
    assert json.loads(ask(server, "GET", "/health")[2]) == {"status": "ok", "passages": 8}
    ask(server, "GET", "/search?q=pizza")
    text = ask(server, "GET", "/metrics")[2].decode()
    assert 'customir_requests_total{route="/search",status="200"}' in text
    assert 'customir_request_seconds_bucket{route="/search",le="+Inf"}' in text
    assert "pizza" not in text
    status, headers, page = ask(server, "GET", "/")
    assert status == 200
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert b"http://" not in page
    assert b"https://" not in page


def test_another_sites_page_cannot_ask_by_its_own_name(server: Server) -> None:
    assert ask(server, "GET", "/search?q=x", headers={"Host": "evil.example.org"})[0] == 403
    assert ask(server, "GET", "/search?q=x", headers={"Host": "localhost:1"})[0] == 200


def test_a_token_is_demanded(folder: Path) -> None:
    with pytest.raises(UserError, match="only with a token"):
        Server(folder, ("0.0.0.0", 0))
    with pytest.raises(UserError, match="empty"):
        Server(folder, ("127.0.0.1", 0), token=" ")
    with running(folder, token="secret") as server:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "secrét"}):
            assert ask(server, "GET", "/search?q=x", headers=headers)[0] == 401
            assert ask(server, "GET", "/metrics", headers=headers)[0] == 401
        right = {"Authorization": "Bearer secret", "Host": "mail.example.org"}
        assert ask(server, "GET", "/search?q=x", headers=right)[0] == 200
        assert ask(server, "GET", "/health")[0] == 200


def test_loopback() -> None:
    assert [is_loopback(host) for host in ("127.0.0.1", "::1", "localhost", "127.8.8.8")] == [
        True
    ] * 4
    assert not any(is_loopback(host) for host in ("0.0.0.0", "::", "192.0.2.1", "example.org"))


def test_too_many_at_a_time_are_refused_cleanly_and_the_others_answered(folder: Path) -> None:
    with running(folder, limits=Limits(waiting=3, working=1)) as server:
        inner, gate = server.batcher._embedder.encode, threading.Event()

        def slow(*arguments: Any) -> Any:
            gate.wait(20)
            return inner(*arguments)

        server.batcher._embedder.encode = slow  # type: ignore[method-assign]
        with ThreadPoolExecutor(8) as pool:
            asked = [
                pool.submit(ask, server, "POST", "/v1/embeddings", {"input": f"text {number}"})
                for number in range(8)
            ]
            while sum(one.done() for one in asked) < 5:
                time.sleep(0.01)
            gate.set()
            answers = [one.result() for one in asked]
        statuses = [status for status, _, _ in answers]
        assert sorted(statuses) == [200] * 3 + [429] * 5
        assert all("Retry-After" in headers for status, headers, _ in answers if status == 429)
        # Those that came while the first was embedded were embedded together.
        assert server.batcher.texts == 3
        assert server.batcher.batches <= 2
        assert ask(server, "POST", "/v1/embeddings", {"input": "again"})[0] == 200


def test_no_answer_in_time_is_said(folder: Path) -> None:
    with running(folder, limits=Limits(seconds=0.2)) as server:
        inner, gate = server.batcher._embedder.encode, threading.Event()
        server.batcher._embedder.encode = lambda *rest: gate.wait(20) and inner(*rest)  # type: ignore[method-assign]
        status, _, content = ask(server, "POST", "/v1/embeddings", {"input": "x"})
        assert status == 503
        assert "in time" in json.loads(content)["error"]["message"]
        gate.set()


def drip(server: Server, beginning: bytes, seconds: float) -> tuple[bytes, float]:
    """Send `beginning`, then a byte now and then; what comes back, and after how long."""
    start = time.perf_counter()
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=0.1) as connection:
        connection.sendall(beginning)
        while time.perf_counter() - start < seconds:
            try:
                connection.sendall(b"x")
                return connection.recv(4096), time.perf_counter() - start
            except TimeoutError:
                continue
            except OSError:  # closed by the server
                return b"", time.perf_counter() - start
    return b"nothing", seconds


def test_a_request_that_only_drips_is_ended(folder: Path) -> None:
    with running(folder, limits=Limits(transfer=0.5)) as server:
        body = b"POST /search HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000\r\n\r\n{"
        answer, seconds = drip(server, body, 20)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"Connection: close" in answer
        assert 0.4 < seconds < 10
        headers = b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Slow: "
        answer, seconds = drip(server, headers, 20)
        assert (answer, 0.4 < seconds < 10) == (b"", True)
        too_large = f"POST /search HTTP/1.1\r\nHost: localhost\r\nContent-Length: {2 << 20}\r\n\r\n"
        answer, seconds = drip(server, too_large.encode(), 20)
        assert answer.startswith(b"HTTP/1.1 408 ")


def test_a_client_that_asks_before_it_sends_is_told_to_go_on(server: Server) -> None:
    beginning = (
        b"POST /search HTTP/1.1\r\nHost: localhost\r\nContent-Length: 17\r\n"
        b"Expect: 100-continue\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=10) as connection:
        connection.sendall(beginning)
        assert connection.recv(4096).startswith(b"HTTP/1.1 100 ")
        connection.sendall(b'{"query":"pizza"}')
        assert connection.recv(4096).startswith(b"HTTP/1.1 200 ")


def test_a_client_that_does_not_take_its_answer_holds_nothing_up(folder: Path) -> None:
    with running(folder, limits=Limits(transfer=0.5, connections=1)) as server:
        body = json.dumps({"input": ["some text"] * 256}).encode()
        request = (
            b"POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\n"
            + f"Content-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        deaf = socket.socket()
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect(("127.0.0.1", server.server_port))
        deaf.sendall(request * 8)  # answers of some 15 MB
        end, status = time.perf_counter() + 60, 503
        while status != 200 and time.perf_counter() < end:
            time.sleep(0.1)
            status = ask(server, "GET", "/health")[0]
        assert status == 200
        deaf.close()


def test_too_many_connections_are_refused(folder: Path) -> None:
    with running(folder, limits=Limits(connections=2)) as server:
        held = [socket.create_connection(("127.0.0.1", server.server_port)) for _ in range(2)]
        time.sleep(0.3)
        assert ask(server, "GET", "/health")[0] == 503
        for one in held:
            one.close()
        time.sleep(0.3)
        assert ask(server, "GET", "/health")[0] == 200


def test_a_connection_is_kept_for_more_requests(server: Server) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=30)
    for _ in range(3):
        connection.request("GET", "/health")
        answer = connection.getresponse()
        assert (answer.status, answer.will_close) == (200, False)
        answer.read()
    connection.close()


def test_a_rebuilt_index_of_another_model_is_said(
    folder: Path, passages: list[IndexedPassage], tmp_path: Path
) -> None:
    shutil.copytree(folder, tmp_path / "copy")
    with running(tmp_path / "copy") as server:
        settings = tmp_path / "copy" / "model" / "sentence_bert_config.json"
        settings.write_text('{"max_seq_length": 16}')
        other = Embedder(tmp_path / "copy" / "model")
        build_index(tmp_path / "copy" / "index.db", passages, other, Silent())
        status, _, content = ask(server, "GET", "/search?q=pizza")
        assert status == 503
        assert "another model" in json.loads(content)["error"]["message"]
        assert ask(server, "GET", "/health")[0] == 503


def test_what_is_under_way_is_answered_before_it_stops(folder: Path) -> None:
    with running(folder) as server, ThreadPoolExecutor(2) as pool:
        inner, begun, gate = server.batcher._embedder.encode, threading.Event(), threading.Event()

        def slow(*arguments: Any) -> Any:
            begun.set()
            gate.wait(20)
            return inner(*arguments)

        server.batcher._embedder.encode = slow  # type: ignore[method-assign]
        asked = pool.submit(ask, server, "POST", "/v1/embeddings", {"input": "x"})
        assert begun.wait(20)
        stopped = pool.submit(server.stop)
        while not server.stopping:
            time.sleep(0.01)
        gate.set()
        status, headers, content = asked.result(20)
        assert (status, headers["Connection"]) == (200, "close")
        assert len(json.loads(content)["data"]) == 1
        stopped.result(20)
        with pytest.raises(ConnectionError):
            ask(server, "GET", "/health")


def test_the_command_serves_and_stops_gracefully(folder: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(folder), "--port", "0"],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        url = process.stderr.readline().split()[0]
        port = int(url.rstrip("/").rpartition(":")[2])
        idle = socket.create_connection(("127.0.0.1", port))  # must not hold it up
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("GET", "/search?q=pizza&k=1")
        assert b"<lunch@example.org>" in connection.getresponse().read()
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        idle.close()
    finally:
        process.kill()


def test_the_command_names_what_is_wrong(folder: Path, tmp_path: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {
            name: value for name, value in os.environ.items() if name != "CUSTOMIR_TOKEN"
        }
        return subprocess.run(
            [sys.executable, "-c", SERVE, *arguments],
            capture_output=True,
            text=True,
            env=environment,
            timeout=60,
            check=False,
        )

    for arguments, expected in (
        ([str(tmp_path)], "missing"),
        ([str(folder), "--host", "0.0.0.0"], "only with a token"),
        ([str(folder), "--host", "192.0.2.1", "--token-file", str(tmp_path / "no")], "no: cannot"),
    ):
        done = run(*arguments)
        assert done.returncode == 2
        assert expected in done.stderr
        assert "Traceback" not in done.stderr


def test_a_load_of_many_clients_is_answered_without_an_error(
    server: Server, make_passage: Callable[..., IndexedPassage]
) -> None:
    def client(number: int) -> list[int]:
        return [
            ask(server, "GET", f"/search?q=pizza+{number}+{again}&k=2")[0] for again in range(5)
        ]

    with ThreadPoolExecutor(16) as pool:
        statuses = [status for found in pool.map(client, range(16)) for status in found]
    assert statuses == [200] * 80
