"""Requests that no honest client sends, as raw bytes over real sockets."""

import contextlib
import json
import re
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from serving import TOKEN

from customir.server.limits import Limits

BEARER = f"Authorization: Bearer {TOKEN}\r\n".encode()
HEAD = b"Host: localhost\r\n" + BEARER


def answers(server: Any, *parts: bytes, seconds: float = 10) -> bytes:
    """Everything that comes back until the server closes, or is silent for a second."""
    received = b""
    with server.connect() as connection:
        for part in parts:
            connection.sendall(part)
        connection.settimeout(1)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                part = connection.recv(1 << 16)
            except (TimeoutError, ConnectionResetError):
                break
            if not part:
                return received + b"<closed>"
            received += part
    return received


BODY = b'{"query":"pizza"}'
GIVEN = b"Content-Length: 17\r\n"


@pytest.mark.parametrize(
    "request_bytes",
    [
        # Whose body is it? Two answers to that, by two servers in a row, are request smuggling.
        b"POST /search HTTP/1.1\r\n" + HEAD + GIVEN + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /search HTTP/1.1\r\n" + HEAD + b"Transfer-Encoding: chunked\r\n" + GIVEN + b"\r\n0\r\n\r\n",
        b"POST /search HTTP/1.1\r\n" + HEAD + GIVEN + GIVEN + b"\r\n" + BODY,
        b"POST /search HTTP/1.1\r\n" + HEAD + GIVEN + b"Content-Length: 0\r\n\r\n" + BODY,
        b"POST /search HTTP/1.1\r\n" + HEAD + b"Content-Length: 17, 17\r\n\r\n" + BODY,
        b"POST /search HTTP/1.1\r\n" + HEAD + b"Content-Length: +17\r\n\r\n" + BODY,
        b"POST /search HTTP/1.1\r\n" + HEAD + b"Content-Length: -17\r\n\r\n" + BODY,
        b"POST /search HTTP/1.1\r\n" + HEAD + b"Content-Length: 0x11\r\n\r\n" + BODY,
        b"POST /search HTTP/1.1\r\n" + HEAD + b"Content-Length: 1_7\r\n\r\n" + BODY,
        b"POST /search HTTP/1.1\r\n" + HEAD + b"Content-Length:\r\n\r\n" + BODY,
        b"POST /search HTTP/1.1\r\n" + HEAD + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n",
        b"POST /search HTTP/1.1\r\n" + HEAD + b"Content-Length: " + b"0" * 5000 + b"\r\n\r\n",
        b"POST /search HTTP/1.1\r\n" + HEAD + b"Transfer-Encoding: chunked\r\n" * 2 + b"\r\n0\r\n\r\n",
        b"POST /search HTTP/1.1\r\n" + HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"POST /search HTTP/1.1\r\n" + HEAD + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        b"POST /search HTTP/1.1\r\n" + HEAD + b"Transfer-Encoding: identity\r\n\r\n",
        b"POST /search HTTP/1.1\r\n" + HEAD + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        b"POST /search HTTP/1.1\r\n" + HEAD + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
        b"POST /search HTTP/1.1\r\n" + HEAD + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
        b"POST /search HTTP/1.0\r\n" + HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /search HTTP/1.1\r\n" + HEAD + b"Transfer-Encoding: chunked\r\n\r\n0x11\r\n" + BODY,
        b"POST /search HTTP/1.1\r\n" + HEAD + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n" + BODY,
        b"POST /search HTTP/1.1\r\n" + HEAD + b"Transfer-Encoding: chunked\r\n\r\n11;x\n" + BODY,
        b"POST /search HTTP/1.1\r\n" + HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 40 + b"\r\n",
        # Heads that servers read differently.
        b"GET /search?q=x HTTP/1.1\r\n" + HEAD + b"X: a\r\n b\r\n\r\n",
        b"GET /search?q=x HTTP/1.1\r\n X: a\r\n" + HEAD + b"\r\n",
        b"GET /search?q=x HTTP/1.1\n" + HEAD.replace(b"\r", b"") + b"\n",
        b"GET /search?q=x HTTP/1.1\r\n" + HEAD + b"X: a\rY: b\r\n\r\n",
        b"GET /search?q=x HTTP/1.1\r\n" + HEAD + b"X: a\0b\r\n\r\n",
        b"GET /search?q=x HTTP/1.1\r\n" + HEAD + b": x\r\n\r\n",
        b"GET /search?q=x HTTP/1.1\r\n" + HEAD + b"no colon\r\n\r\n",
        b"GET /search?q=x HTTP/9.9\r\n" + HEAD + b"\r\n",
        b"GET /search?q=\xe9 HTTP/1.1\r\n" + HEAD + b"\r\n",
        b"BREW /search?q=x HTTP/1.1\r\n" + HEAD + b"\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS
        # Host.
        b"GET /search?q=x HTTP/1.1\r\n" + BEARER + b"\r\n",
        b"GET /search?q=x HTTP/1.1\r\n" + HEAD + b"Host: localhost\r\n\r\n",
        b"GET /search?q=x HTTP/1.1\r\n" + BEARER + b"Host: [\r\n\r\n",
        b"GET /search?q=x HTTP/1.1\r\n" + BEARER + b"Host: [::1\r\n\r\n",
        b"GET /search?q=x HTTP/1.1\r\n" + BEARER + b"Host: a@localhost\r\n\r\n",
        b"GET /search?q=x HTTP/1.1\r\n" + BEARER + b"Host: localhost/x\r\n\r\n",
        b"GET /search?q=x HTTP/1.1\r\n" + BEARER + b"Host: \xff\r\n\r\n",
        # Another protocol, whose bytes would follow.
        b"GET / HTTP/1.1\r\n" + HEAD + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"POST /search HTTP/1.1\r\n" + HEAD + b"Connection: Upgrade\r\nUpgrade: h2c\r\n" + GIVEN + b"\r\n" + BODY,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)  # fmt: skip
def test_malformed_requests_get_400_and_no_other_answer(server: Any, request_bytes: bytes) -> None:
    followed = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
    found = answers(server, request_bytes + followed)
    assert found.startswith(b"HTTP/1.1 400 "), found
    assert len(re.findall(rb"HTTP/1.1 \d", found)) == 1, found  # what followed is not answered
    assert found.endswith(b"<closed>")
    assert server.ask("GET", "/health")[0] == 200


SMUGGLED = b"POST /search HTTP/1.1\r\nHost: localhost\r\nContent-Length: 500\r\n\r\n"


@pytest.mark.parametrize(
    "first",
    [
        # The attacker has no token: what they put into a body must never begin a request.
        b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(SMUGGLED),
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(SMUGGLED),
        b"GET /search?q=x HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(SMUGGLED),
        b"POST /search HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(SMUGGLED),
        b"POST /nothing HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(SMUGGLED),
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(SMUGGLED),
        b"HEAD / HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(SMUGGLED),
        b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
)  # fmt: skip
def test_through_a_proxys_connection_nobody_asks_with_anothers_token(
    server: Any, first: bytes
) -> None:
    """What a proxy with kept-alive connections forwards: the attacker's request, then the victim's.

    The victim's request, with their token, must either be answered as it is or not at all.
    """
    victim = b"GET /search?q=pizza&k=1 HTTP/1.1\r\nHost: mail.example.org\r\n" + BEARER + b"\r\n"
    with server.connect(3) as connection:
        connection.sendall(first if first.endswith(b"0\r\n\r\n") else first + SMUGGLED)
        found = connection.recv(1 << 16)
        time.sleep(0.2)
        try:
            connection.sendall(victim)
            while part := connection.recv(1 << 16):
                found += part
        except OSError:
            pass
    heads = [part.split(b"\r\n\r\n")[0] for part in found.split(b"HTTP/1.1 ")[1:]]
    assert heads, found
    # Either it closed after the attacker's answer, or the body was empty and the victim got theirs.
    assert len(heads) == 1 or (first.endswith(b"0\r\n\r\n") and heads[1].startswith(b"200")), found
    if not first.endswith(b"0\r\n\r\n"):
        assert b"connection: close" in heads[0].lower()


def test_the_token_is_checked_before_the_body_is_read(server: Any) -> None:
    """Not one byte of the body has been sent as the answer comes."""
    for path, host, status in (
        (b"/search", b"localhost", b"401"),
        (b"/v1/embeddings", b"evil.example.org", b"403"),
    ):
        head = (
            b"POST " + path + b" HTTP/1.1\r\nHost: " + host + b"\r\nContent-Length: 900000\r\n\r\n"
        )
        with server.connect() as connection:
            connection.sendall(head)
            assert connection.recv(4096).startswith(b"HTTP/1.1 " + status)
    # A client that sends all of it before it listens sees the answer, too.
    assert server.ask("POST", "/search", b"x" * 900_000, token=None)[0] == 401


def test_kept_connections_stop_nobody(running: Any, folder: Path) -> None:
    """Who has been idle longest gives way."""
    with running(folder, Limits(connections=8)) as server:
        idle = []
        for _ in range(40):
            connection = server.connect()
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert connection.recv(4096).startswith(b"HTTP/1.1 200 ")
            idle.append(connection)
        assert server.ask("GET", "/search?q=pizza")[0] == 200
        silent = [server.connect() for _ in range(40)]  # have not asked for anything
        assert server.ask("GET", "/search?q=pizza")[0] == 200
        for connection in (*idle, *silent):
            connection.close()


def test_many_bodies_without_a_token_stop_nobody(running: Any, folder: Path) -> None:
    with running(folder) as server, ThreadPoolExecutor(16) as pool:
        posts = [
            pool.submit(server.ask, "POST", "/v1/embeddings", b"[" * 1_000_000, None, None)
            for _ in range(100)
        ]
        assert server.ask("GET", "/search?q=pizza")[0] == 200
        assert {post.result()[0] for post in posts} == {401}


def drip(server: Any, beginning: bytes, seconds: float) -> tuple[bytes, float]:
    """Send `beginning`, then a byte now and then; what comes back, and after how long."""
    start = time.perf_counter()
    with server.connect(0.1) as connection:
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


def test_a_request_that_only_drips_is_ended(running: Any, folder: Path) -> None:
    with running(folder, Limits(transfer=0.5, idle=0.5)) as server:
        body = b"POST /search HTTP/1.1\r\n" + HEAD + b"Content-Length: 5000\r\n\r\n{"
        answer, seconds = drip(server, body, 20)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"connection: close" in answer
        assert 0.4 < seconds < 10
        chunks = (
            b"POST /search HTTP/1.1\r\n" + HEAD + b"Transfer-Encoding: chunked\r\n\r\n1388\r\n{"
        )
        assert drip(server, chunks, 20)[0].startswith(b"HTTP/1.1 408 ")
        head = b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Slow: "
        answer, seconds = drip(server, head, 20)
        assert (answer, 0.4 < seconds < 10) == (b"", True)
        with server.connect(10) as silent:
            start = time.perf_counter()
            with contextlib.suppress(ConnectionResetError):
                assert silent.recv(1) == b""
            assert 0.4 < time.perf_counter() - start < 5


def test_a_head_without_an_end_is_refused(server: Any) -> None:
    with server.connect() as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n")
        sent, found = 0, b""
        while not found and sent < 10 << 20:
            try:
                connection.sendall(b"X-Long: " + b"x" * 8000 + b"\r\n")
                sent += 8010
                connection.settimeout(0.02)
                found = connection.recv(4096)
            except TimeoutError:
                continue
            except OSError:
                break
        assert sent < 2 << 20
    # So are trailers without an end, of a body that nobody reads.
    with server.connect() as connection:
        connection.sendall(
            b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
        )
        trailer = b"X-Long: " + b"x" * 1000 + b"\r\n"
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            connection.sendall(trailer * (64 << 10))


def test_a_client_that_asks_before_it_sends_is_told_to_go_on(server: Any) -> None:
    beginning = b"POST /search HTTP/1.1\r\n" + HEAD + GIVEN + b"Expect: 100-continue\r\n\r\n"
    with server.connect() as connection:
        connection.sendall(beginning)
        assert connection.recv(4096).startswith(b"HTTP/1.1 100 ")
        connection.sendall(BODY)
        assert connection.recv(4096).startswith(b"HTTP/1.1 200 ")
    refused = beginning.replace(BEARER, b"")
    with server.connect() as connection:
        connection.sendall(refused)
        assert connection.recv(4096).startswith(b"HTTP/1.1 401 ")


def test_a_body_in_chunks_is_read(server: Any) -> None:
    head = b"POST /search HTTP/1.1\r\n" + HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
    found = answers(server, head + b'9\r\n{"query":\r\n', b'8\r\n"pizza"}\r\n0\r\n\r\n')
    assert found.startswith(b"HTTP/1.1 200 ")
    assert json.loads(found.split(b"\r\n\r\n")[1])["hits"]
    chunk = b"100000\r\n" + b" " * (1 << 20) + b"\r\n"
    assert answers(server, head, chunk, chunk, b"0\r\n\r\n").startswith(b"HTTP/1.1 413 ")


def test_a_client_that_does_not_take_its_answer_holds_nothing_up(
    running: Any, folder: Path
) -> None:
    with running(folder, Limits(transfer=0.5, connections=1)) as server:
        body = json.dumps({"input": ["some text"] * 256}).encode()
        request = (
            b"POST /v1/embeddings HTTP/1.1\r\n"
            + HEAD
            + f"Content-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        deaf = socket.socket()
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect(("127.0.0.1", server.port))
        deaf.sendall(request * 8)  # answers of some 15 MB
        end, status = time.perf_counter() + 60, 503
        while status != 200 and time.perf_counter() < end:
            time.sleep(0.1)
            status = server.ask("GET", "/health")[0]
        assert status == 200
        deaf.close()


def test_where_all_connections_are_busy_another_one_is_refused(running: Any, folder: Path) -> None:
    with running(folder, Limits(connections=2)) as server:
        held = [server.connect() for _ in range(2)]
        for one in held:
            one.sendall(b"POST /search HTTP/1.1\r\n" + HEAD + b"Content-Length: 9\r\n\r\n")
        time.sleep(0.3)
        status, headers, _ = server.ask("GET", "/health")
        assert (status, headers["retry-after"]) == (503, "1")
        for one in held:
            one.close()
        time.sleep(0.3)
        assert server.ask("GET", "/health")[0] == 200
