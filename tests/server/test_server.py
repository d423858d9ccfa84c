"""What the server answers, asked over real sockets."""

import base64
import http.client
import json
import shutil
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest

from customir.progress import Silent
from customir.runtime.embedder import Embedder
from customir.runtime.index import IndexedPassage, build_index
from customir.runtime.search import Searcher, search
from customir.server.limits import Limits


def test_search_gives_what_the_searcher_gives(server: Any, folder: Path) -> None:
    expected = [hit.identifier for hit in search(folder, "pizza on Friday", k=3)]
    status, headers, content = server.ask("POST", "/search", {"query": "pizza on Friday", "k": 3})
    assert (status, headers["content-type"]) == (200, "application/json")
    assert [hit["identifier"] for hit in json.loads(content)["hits"]] == expected
    _, _, content = server.ask("GET", f"/search?q={quote('pizza on Friday')}&k=3&since=")
    assert [hit["identifier"] for hit in json.loads(content)["hits"]] == expected


def test_filters_and_threads_over_http(server: Any) -> None:
    _, _, content = server.ask("GET", "/search?q=pizza&since=2020-01-01")
    assert json.loads(content)["hits"] == []
    _, _, content = server.ask("GET", "/search?q=pizza&k=1&sender=ANN&by_thread=1")
    (hit,) = json.loads(content)["hits"]
    _, _, content = server.ask("GET", f"/thread?name={hit['thread']}")
    thread = json.loads(content)
    assert [one["identifier"] for one in thread["passages"]] == [hit["identifier"]]
    (document,) = thread["documents"]
    assert (document["text"], document["passages"]) == (hit["text"], [hit["key"]])


def test_operators_and_facets_over_http(server: Any) -> None:
    query = 'lunch "vote by noon" from:ann -supplier'
    _, _, content = server.ask("POST", "/search", {"query": query, "facets": True})
    answer = json.loads(content)
    assert [hit["identifier"] for hit in answer["hits"]] == ["<lunch@example.org>"]
    assert answer["query"] == {
        "text": "lunch vote by noon",
        "filters": [
            {"name": "phrase", "value": "vote by noon", "negated": False},
            {"name": "from", "value": "ann", "negated": False},
            {"name": "phrase", "value": "supplier", "negated": True},
        ],
    }
    assert answer["considered"] == 1
    assert answer["facets"] == {
        "senders": [{"value": "Ann <ann@example.org>", "count": 1}],
        "months": [{"value": "2002-08", "count": 1}],
        "sources": [{"value": "mail.mbox", "count": 1}],
        "languages": [],
    }
    _, _, content = server.ask("GET", f"/search?q={quote('pizza after:2020')}")
    answer = json.loads(content)
    assert (answer["hits"], answer["query"]["text"]) == ([], "pizza")
    assert "facets" not in answer
    status, _, content = server.ask("GET", "/search?q=before:soon")
    assert (status, "not a date" in json.loads(content)["error"]["message"]) == (400, True)


def test_similar_passages_and_what_the_index_holds_over_http(server: Any, folder: Path) -> None:
    _, _, content = server.ask("GET", "/similar?key=key-lunch&k=3")
    with Searcher(folder) as searcher:
        expected = [hit.key for hit in searcher.similar("key-lunch", 3)]
    answer = json.loads(content)
    assert [hit["key"] for hit in answer["hits"]] == expected
    assert answer["query"] == {"text": "", "filters": []}
    status, _, content = server.ask("GET", "/similar?key=nothing")
    assert (status, "is called nothing" in json.loads(content)["error"]["message"]) == (404, True)
    assert server.ask("GET", "/about", token=None)[0] == 401
    about = json.loads(server.ask("GET", "/about")[2])
    assert (about["passages"], about["documents"], about["first"]) == (8, 8, "2002-08-22")
    assert about["senders"] == [{"value": "Ann <ann@example.org>", "count": 8}]
    assert len(about["examples"]) == 6


def test_embeddings_in_openais_form(server: Any, folder: Path) -> None:
    texts = ["lunch?", "The gas contract was signed."]
    expected = Embedder(folder / "model").encode(texts)
    _, _, content = server.ask("POST", "/v1/embeddings", {"input": texts, "model": "any"})
    data = json.loads(content)["data"]
    np.testing.assert_allclose([one["embedding"] for one in data], expected, atol=1e-6)
    asked = {"input": texts, "encoding_format": "base64", "dimensions": 64}
    _, _, content = server.ask("POST", "/v1/embeddings", asked)
    raw = [base64.b64decode(one["embedding"]) for one in json.loads(content)["data"]]
    cut = expected[:, :64] / np.linalg.norm(expected[:, :64], axis=1, keepdims=True)
    np.testing.assert_allclose([np.frombuffer(one, "<f4") for one in raw], cut, atol=1e-6)
    assert server.ask("POST", "/v1/embeddings", {"input": "one text"})[0] == 200


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/nothing", None, 404),
        ("GET", "/../../etc/passwd", None, 404),
        ("GET", "/search/", None, 404),
        ("GET", "/v1/embeddings", None, 405),
        ("POST", "/health", {}, 405),
        ("POST", "/search", b"{no json", 400),
        ("POST", "/search", b"\xff\xfe", 400),
        ("POST", "/search", b"[" * 100_000, 400),
        ("POST", "/search", b'{"k":' + b"9" * 5000 + b"}", 400),
        ("POST", "/search", [], 400),
        ("POST", "/search", {"query": 5}, 400),
        ("POST", "/search", {"query": "\ud800"}, 400),
        ("POST", "/search", {"query": "x", "sender": "\udfff"}, 400),
        ("POST", "/search", {"query": "x", "k": 0}, 400),
        ("POST", "/search", {"query": "x", "k": True}, 400),
        ("POST", "/search", {"query": "x", "mode": "magic"}, 400),
        ("POST", "/search", {"query": "x", "since": "yesterday"}, 400),
        ("POST", "/search", {"query": "x", "until": "10000-01-01"}, 400),
        ("POST", "/search", {"query": "x", "sinse": "2020-01-01"}, 400),
        ("POST", "/search", {"query": "x" * 4001}, 400),
        ("GET", "/search?q=x&k=ten", None, 400),
        ("GET", "/search?q=x&k=" + "9" * 5000, None, 400),
        ("GET", "/search?q=" + "x" * 4001, None, 400),
        ("GET", "/thread?name=" + "x" * 1001, None, 400),
        ("GET", "/search?q=has:legs", None, 400),
        ("GET", "/similar", None, 400),
        ("GET", "/similar?key=nothing", None, 404),
        ("POST", "/about", {}, 405),
        ("POST", "/search", b"x" * (1 << 20) + b"x", 413),
        ("POST", "/v1/embeddings", {"input": []}, 400),
        ("POST", "/v1/embeddings", {"input": ["x"] * 257}, 400),
        ("POST", "/v1/embeddings", {"input": [1, 2]}, 400),
        ("POST", "/v1/embeddings", {"input": ["\ud800"]}, 400),
        ("POST", "/v1/embeddings", {"input": "x", "dimensions": 0}, 400),
        ("POST", "/v1/embeddings", {"input": "x", "dimensions": 385}, 400),
        ("POST", "/v1/embeddings", {"input": "x", "kind": "magic"}, 400),
    ],
)
def test_bad_requests_are_refused_with_a_reason(
    server: Any, method: str, path: str, body: Any, status: int
) -> None:
    found, _, content = server.ask(method, path, body)
    assert found == status
    assert json.loads(content)["error"]["message"]
    assert server.ask("GET", "/health")[0] == 200


@pytest.mark.parametrize("day", ["9999-12-31", "0001-01-01", "9999-12-31T23:59-14:00"])
def test_the_first_and_the_last_day_are_days(server: Any, day: str) -> None:
    for field in ("since", "until"):
        assert server.ask("POST", "/search", {"query": "pizza", field: day})[0] == 200
        assert server.ask("GET", f"/search?q=pizza&{field}={day}")[0] == 200


def test_any_text_is_a_query_and_any_input_embeds(server: Any) -> None:
    for text in ("", "\x00", "\ufdd0", "日本語", '"; DROP TABLE', "<script>"):
        assert server.ask("POST", "/search", {"query": text})[0] == 200
        assert server.ask("POST", "/v1/embeddings", {"input": text})[0] == 200
    assert server.ask("GET", "/search?q=%ED%A0%80&sender=%FF")[0] == 200


def test_health_metrics_and_the_page(server: Any) -> None:
    for path in ("/health", "/health/ready"):
        assert json.loads(server.ask("GET", path)[2]) == {"status": "ok"}
    assert json.loads(server.ask("GET", "/health/live")[2]) == {"status": "ok"}
    server.ask("GET", "/search?q=pizza")
    server.ask("GET", "/a-secret-word?another")
    text = server.ask("GET", "/metrics")[2].decode()
    assert 'customir_requests_total{route="/search",status="200"}' in text
    assert 'customir_request_seconds_bucket{le="+Inf",route="/search"}' in text
    assert "customir_embedded_texts_total" in text
    assert "pizza" not in text
    assert "secret" not in text
    status, headers, page = server.ask("GET", "/", token=None)
    assert status == 200
    assert "default-src 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert b"http://" not in page
    assert b"https://" not in page


def test_the_description_names_every_route(server: Any) -> None:
    described = json.loads(server.ask("GET", "/openapi.json", token=None)[2])
    assert described["openapi"].startswith("3.1")
    for path, operations in described["paths"].items():
        for method in operations:
            assert server.ask(method.upper(), path, {} if method == "post" else None)[0] in (
                200,
                400,
            ), path
    fields = described["components"]["schemas"]["SearchRequest"]["properties"]
    assert fields["k"]["maximum"] == 1000
    assert "snippet" in described["components"]["schemas"]["Hit"]["properties"]


def hold(server: Any) -> tuple[threading.Event, threading.Event]:
    """Let the model wait until the first event is set; the second says that it waits."""
    embedder = server.service.backend.batcher._current._embedder
    inner, gate, waits = embedder.encode, threading.Event(), threading.Event()

    def slow(*arguments: Any) -> Any:
        waits.set()
        gate.wait(20)
        return inner(*arguments)

    embedder.encode = slow
    return gate, waits


def embedded(server: Any) -> tuple[float, float]:
    """How often the model was called, and for how many texts."""
    text = server.ask("GET", "/metrics")[2].decode()
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    return (
        float(values["customir_embedding_batches_total"]),
        float(values["customir_embedded_texts_total"]),
    )


def test_too_many_at_a_time_are_refused_cleanly_and_the_others_answered(
    running: Any, folder: Path
) -> None:
    with running(folder, Limits(waiting=3, working=1)) as server:
        gate, _ = hold(server)
        with ThreadPoolExecutor(8) as pool:
            asked = [
                pool.submit(server.ask, "POST", "/v1/embeddings", {"input": f"text {number}"})
                for number in range(8)
            ]
            while sum(one.done() for one in asked) < 5:
                time.sleep(0.01)
            gate.set()
            answers = [one.result() for one in asked]
        assert sorted(status for status, _, _ in answers) == [200] * 3 + [429] * 5
        assert all("retry-after" in headers for status, headers, _ in answers if status == 429)
        # Those that came while the first was embedded were embedded together.
        batches, texts = embedded(server)
        assert (texts, batches <= 2) == (3, True)
        assert server.ask("POST", "/v1/embeddings", {"input": "again"})[0] == 200


def test_no_answer_in_time_is_said_and_its_work_is_dropped(running: Any, folder: Path) -> None:
    with running(folder, Limits(seconds=0.2)) as server:
        gate, waits = hold(server)
        with ThreadPoolExecutor(4) as pool:
            asked = [pool.submit(server.ask, "POST", "/v1/embeddings", {"input": "first"})]
            assert waits.wait(20)
            bodies = [{"input": f"text {number}"} for number in range(3)]
            asked += [pool.submit(server.ask, "POST", "/v1/embeddings", body) for body in bodies]
            for status, headers, content in (one.result() for one in asked):
                assert (status, headers["retry-after"]) == (503, "1")
                assert "in time" in json.loads(content)["error"]["message"]
        gate.set()
        time.sleep(0.5)
        assert embedded(server) == (1, 1)


def test_a_search_does_not_wait_for_many_long_texts(running: Any, folder: Path) -> None:
    with running(folder) as server, ThreadPoolExecutor(4) as pool:
        texts = [f"{number} " + "some words of a long text " * 60 for number in range(96)]
        asked = [
            pool.submit(server.ask, "POST", "/v1/embeddings", {"input": texts}) for _ in range(2)
        ]
        time.sleep(0.3)
        start = time.perf_counter()
        assert server.ask("GET", "/search?q=a+query+that+nobody+asked+before")[0] == 200
        waited = time.perf_counter() - start
        alone = time.perf_counter()
        assert [one.result()[0] for one in asked] == [200] * 2
        if time.perf_counter() - alone > 1:  # otherwise the machine is too fast to tell
            assert waited < (time.perf_counter() - start) / 3


def test_a_connection_is_kept_for_more_requests(server: Any) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    for _ in range(3):
        connection.request("GET", "/health")
        answer = connection.getresponse()
        assert (answer.status, answer.will_close) == (200, False)
        answer.read()
    connection.close()


def test_a_rebuilt_index_of_another_model_is_said(
    running: Any, folder: Path, passages: list[IndexedPassage], tmp_path: Path
) -> None:
    shutil.copytree(folder, tmp_path / "copy")
    with running(tmp_path / "copy") as server:
        settings = tmp_path / "copy" / "model" / "sentence_bert_config.json"
        settings.write_text('{"max_seq_length": 16}')
        other = Embedder(tmp_path / "copy" / "model")
        build_index(tmp_path / "copy" / "index.db", passages, other, Silent())
        status, _, content = server.ask("GET", "/search?q=pizza")
        assert status == 503
        assert "another model" in json.loads(content)["error"]["message"]
        assert server.ask("GET", "/health")[0] == 503
        assert server.ask("GET", "/health/live")[0] == 200


def test_what_is_under_way_is_answered_before_it_stops(running: Any, folder: Path) -> None:
    with running(folder) as server, ThreadPoolExecutor(1) as pool:
        gate, waits = hold(server)
        asked = pool.submit(server.ask, "POST", "/v1/embeddings", {"input": "x"})
        assert waits.wait(20)
        server.service.stop()
        end = time.monotonic() + 20
        while time.monotonic() < end:
            try:
                server.connect().close()
            except ConnectionError:
                break
            time.sleep(0.05)
        gate.set()
        status, headers, content = asked.result(20)
        assert (status, headers["connection"]) == (200, "close")
        assert len(json.loads(content)["data"]) == 1
        with pytest.raises(ConnectionError):
            server.ask("GET", "/health")


def test_a_load_of_many_clients_is_answered_without_an_error(server: Any) -> None:
    def client(number: int) -> list[int]:
        return [server.ask("GET", f"/search?q=pizza+{number}+{again}&k=2")[0] for again in range(5)]

    with ThreadPoolExecutor(16) as pool:
        statuses = [status for found in pool.map(client, range(16)) for status in found]
    assert statuses == [200] * 80


def test_a_fault_names_its_kind_and_nothing_else(running: Any, folder: Path) -> None:
    with running(folder) as server:

        def fail(*_: Any) -> None:
            raise ValueError("a secret word")

        server.service.backend.batcher._current._embedder.encode = fail
        status, _, content = server.ask("POST", "/v1/embeddings", {"input": "x"})
        assert status == 500
        assert b"ValueError" in content
        assert b"secret" not in content


def test_a_long_query_with_many_hits_takes_seconds(
    running: Any, model: Path, make_passage: Any, tmp_path: Path
) -> None:
    """It once took a minute: each hit's snippet looked every word of the query up again."""
    words = [f"w{number}" for number in range(900)]
    many = [
        make_passage(str(number), f"{number} " + " ".join(words[number % 890 : number % 890 + 6]))
        for number in range(1100)
    ]
    shutil.copytree(model, tmp_path / "model")
    build_index(tmp_path / "index.db", many, Embedder(model), Silent())
    with running(tmp_path) as server:
        query = " ".join(words)[:4000]
        start = time.perf_counter()
        asked = {"query": query, "k": 1000, "since": "2002"}  # which all fulfil
        status, _, content = server.ask("POST", "/search", asked)
        assert (status, len(json.loads(content)["hits"])) == (200, 1000)
        assert time.perf_counter() - start < 10


def test_an_idle_connection_does_not_hold_up_the_end(running: Any, folder: Path) -> None:
    with running(folder) as server:
        idle = server.connect()
        start = time.monotonic()
    assert time.monotonic() - start < 10
    idle.close()


def test_answers_are_not_held_back(running: Any, folder: Path) -> None:
    """Head and body are two packets; with Nagle's algorithm the second takes 40 ms longer."""
    with running(folder) as server, server.connect() as connection:
        connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert connection.recv(4096).startswith(b"HTTP/1.1 200 ")
        (accepted,) = server.service._server.server_state.connections
        kept = accepted.transport.get_extra_info("socket")
        assert kept.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
