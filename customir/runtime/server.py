"""Search and embeddings over HTTP: what `customir serve` runs, on the standard library's server."""

import base64
import hmac
import io
import ipaddress
import json
import queue
import signal
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from pathlib import Path
from typing import Any, get_args
from urllib.parse import parse_qs, urlsplit

from customir.encoder.folder import Kind
from customir.errors import UserError
from customir.listening import bound_socket
from customir.runtime.batcher import Batcher
from customir.runtime.embedder import DEFAULT_FILE, Embedder
from customir.runtime.filters import Filter
from customir.runtime.metrics import Metrics
from customir.runtime.search import MODEL_NAME, Mode, Searcher

PAGE_NAME = "page.html"
PAGE_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
IDLE_SECONDS = 30.0  # that a connection may wait for its next request
RETRY_SECONDS = 1
MOST_HITS = 1000
MOST_DISCARDED = 8 << 20  # bytes of a request that is too large


@dataclass(frozen=True)
class Limits:
    """What one client may ask for, and how many at a time.

    Attributes:
        body: Bytes of a request.
        texts: Of one request for embeddings.
        query: Characters of a search.
        working: Searches at a time, each with a connection to the index of its own.
        waiting: Requests under way; another one is refused with 429.
        connections: Open at a time; another one is refused with 503 and closed.
        seconds: For a request to get its turn, and to be embedded.
        transfer: Seconds for a request to come in whole, once it has begun, and for its answer to
            be taken, however busily the client drips.
    """

    body: int = 1 << 20
    texts: int = 256
    query: int = 10_000
    working: int = 4
    waiting: int = 64
    connections: int = 256
    seconds: float = 30.0
    transfer: float = 30.0


class Refused(Exception):  # noqa: N818
    """A request that gets another answer than the one it asked for."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


class Server(ThreadingHTTPServer):
    """Serves DIR until `stop`.

    Args:
        address: Host, an IP address or localhost, and port; 0: any that is free.
        token: What every request but /, /health has to bring ("Authorization: Bearer TOKEN").
        bound: A socket bound to `address`, where one was made before the network was blocked.

    Raises:
        UserError: no index, or a damaged one; the address is taken, or not of this machine, or
            not loopback and there is no token.
    """

    daemon_threads = False
    block_on_close = True
    request_queue_size = 128

    def __init__(
        self,
        folder: Path,
        address: tuple[str, int] = ("127.0.0.1", 8080),
        token: str | None = None,
        limits: Limits = Limits(),
        threads: int | None = None,
        bound: socket.socket | None = None,
    ) -> None:
        host = address[0]
        if token is not None and not token.strip():
            raise UserError("The token is empty.")
        if token is None and not is_loopback(host):
            raise UserError(
                f"{host}: anybody who reaches this machine could read the mail. Serve it there "
                "only with a token: --token-file FILE, or the variable CUSTOMIR_TOKEN."
            )
        self.limits, self._token = limits, token
        self.stopping = False
        self.metrics = Metrics()
        self._started = time.time()
        self._model = Embedder(folder / MODEL_NAME, DEFAULT_FILE, threads)
        self.batcher = Batcher(self._model, limits.seconds)
        self._under_way = threading.BoundedSemaphore(limits.waiting)
        self._connections = threading.BoundedSemaphore(limits.connections)
        self._idle: set[socket.socket] = set()
        self._idle_lock = threading.Lock()
        self._searchers: queue.LifoQueue[Searcher] = queue.LifoQueue()
        self.page = files("customir.runtime").joinpath(PAGE_NAME).read_bytes()
        try:
            for _ in range(limits.working):
                self._searchers.put(Searcher(folder, embedder=self.batcher))
            self.socket = bound or bound_socket(*address)
            self.server_name, self.server_port = self.socket.getsockname()[:2]
            socketserver.BaseServer.__init__(self, address, _Handler)
            self.server_activate()
        except UserError:
            self._close_searchers()
            raise

    @property
    def url(self) -> str:
        host = f"[{self.server_name}]" if ":" in str(self.server_name) else self.server_name
        return f"http://{host}:{self.server_port}/"

    def stop(self) -> None:
        """Take no more requests, finish those under way, and close. From another thread."""
        self.stopping = True
        self.shutdown()
        with self._idle_lock:
            for connection in self._idle:
                _hang_up(connection)
        self.server_close()
        self.batcher.close()
        self._close_searchers()

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._connections.acquire(blocking=False):
            self.metrics.count("connection", 503, 0.0)
            request.settimeout(1.0)
            with suppress(OSError):
                request.sendall(
                    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\n"
                    b"Content-Length: 0\r\nConnection: close\r\n\r\n"
                )
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._connections.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no error of ours."""

    @contextmanager
    def waits_for_client(self, connection: socket.socket) -> Iterator[None]:
        """Mark a connection that may be hung up when the server stops."""
        with self._idle_lock:
            self._idle.add(connection)
            if self.stopping:
                _hang_up(connection)
        try:
            yield
        finally:
            with self._idle_lock:
                self._idle.discard(connection)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Be one of the requests under way.

        Raises:
            Refused: there are too many.
        """
        if not self._under_way.acquire(blocking=False):
            raise Refused(HTTPStatus.TOO_MANY_REQUESTS, "Too many requests at a time.")
        self.metrics.enter()
        try:
            yield
        finally:
            self.metrics.leave()
            self._under_way.release()

    @contextmanager
    def searcher(self) -> Iterator[Searcher]:
        try:
            searcher = self._searchers.get(timeout=self.limits.seconds)
        except queue.Empty:
            raise TimeoutError from None
        try:
            yield searcher
        finally:
            self._searchers.put(searcher)

    def admit(self, headers: Mapping[str, str]) -> None:
        """Refuse who has no token; where there is none, refuse other sites' pages.

        A page of another site can make a browser ask this server under that site's name (DNS
        rebinding): then Host is not a loopback one.
        """
        if self._token is not None:
            given = headers.get("Authorization") or ""
            wanted = f"Bearer {self._token.strip()}"
            if not hmac.compare_digest(given.encode(), wanted.encode()):
                raise Refused(HTTPStatus.UNAUTHORIZED, "A token is needed.")
        elif urlsplit(f"//{headers.get('Host') or ''}").hostname not in LOOPBACK_NAMES:
            raise Refused(HTTPStatus.FORBIDDEN, "Ask for this server by a loopback name.")

    def measured(self) -> dict[str, float]:
        """Figures beside those of the requests, for /metrics."""
        return {
            "customir_embedding_batches_total": self.batcher.batches,
            "customir_embedded_texts_total": self.batcher.texts,
            "customir_start_time_seconds": self._started,
        }

    def _close_searchers(self) -> None:
        while not self._searchers.empty():
            self._searchers.get().close()


def serve_until_stopped(server: Server) -> None:
    """Serve until SIGINT or SIGTERM, then finish what is under way. In the main thread."""
    stopped = threading.Event()
    previous = {
        number: signal.signal(number, lambda *_: stopped.set())
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    thread = threading.Thread(target=server.serve_forever, name="serving")
    thread.start()
    try:
        stopped.wait()
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        server.stop()
        thread.join()


class _TimedSocket(io.RawIOBase):
    """A socket as a file whose reads and writes all have to be done by `deadline`.

    A socket's own time-out starts again with every byte, so that a client which sends one now and
    then could hold a connection for ever.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.deadline = 0.0  # by time.monotonic

    def allow(self, seconds: float) -> None:
        self.deadline = time.monotonic() + seconds

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._connection.settimeout(self._left())
        return self._connection.recv_into(buffer)

    def write(self, content: Any) -> int:
        self._connection.settimeout(self._left())
        return self._connection.send(content)

    def _left(self) -> float:
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "CustomIR", ""

    def setup(self) -> None:
        self.connection = self.request
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        self._socket = _TimedSocket(self.connection)
        self.rfile = io.BufferedReader(self._socket)
        self.wfile = io.BufferedWriter(self._socket)  # one packet an answer

    def handle_one_request(self) -> None:
        with self.server.waits_for_client(self.connection):
            self._socket.allow(IDLE_SECONDS)
            try:
                first = self.rfile.peek(1)  # type: ignore[attr-defined]
            except OSError:
                first = b""
        self._socket.allow(self.server.limits.transfer)
        if not first or self.server.stopping:
            self.close_connection = True
            return
        super().handle_one_request()

    def handle_expect_100(self) -> bool:
        go_on = super().handle_expect_100()
        self.wfile.flush()  # the client waits for it before it sends the body
        return go_on

    def do_GET(self) -> None:
        self._answer(GET)

    def do_POST(self) -> None:
        self._answer(POST)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing: a log of requests would hold what people search for."""

    def _answer(self, routes: "Mapping[str, Route]") -> None:
        start, path = time.perf_counter(), urlsplit(self.path).path
        known = path in routes
        try:
            body = self._received() if routes is POST else {}
            if not known:
                raise self._unknown(path)
            if path not in OPEN:
                self.server.admit(self.headers)  # type: ignore[arg-type]
            status, content, kind = HTTPStatus.OK, *routes[path](self.server, self.path, body)
        except Refused as error:
            status, content, kind = error.status, _problem(str(error)), JSON
        except UserError as error:
            status, content, kind = HTTPStatus.SERVICE_UNAVAILABLE, _problem(str(error)), JSON
        except TimeoutError:
            status, content, kind = (
                HTTPStatus.SERVICE_UNAVAILABLE, _problem("No answer in time."), JSON,
            )  # fmt: skip
        except Exception as error:  # a fault of ours must not end the connection without a word
            status, kind = HTTPStatus.INTERNAL_SERVER_ERROR, JSON
            content = _problem(f"A fault of the server: {type(error).__name__}.")
        self.server.metrics.count(path if known else "other", status, time.perf_counter() - start)
        self._send(status, content, kind)

    def _unknown(self, path: str) -> Refused:
        if path in GET or path in POST:
            return Refused(HTTPStatus.METHOD_NOT_ALLOWED, "Another method is needed here.")
        return Refused(HTTPStatus.NOT_FOUND, "There is nothing here.")

    def _received(self) -> Any:
        try:
            return self._body()
        except TimeoutError:
            self.close_connection = True
            raise Refused(
                HTTPStatus.REQUEST_TIMEOUT,
                f"The request did not come in whole in {self.server.limits.transfer:g} seconds.",
            ) from None

    def _body(self) -> Any:
        length = self.headers.get("Content-Length", "")
        if not length.isascii() or not length.isdigit():
            self.close_connection = True
            raise Refused(HTTPStatus.LENGTH_REQUIRED, "Content-Length is needed.")
        if int(length) > self.server.limits.body:
            self.close_connection = True
            # Hung up on while it still sends, a client would never see the answer.
            left = min(int(length), MOST_DISCARDED)
            while left and (part := self.rfile.read(min(left, 1 << 16))):
                left -= len(part)
            raise Refused(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"At most {self.server.limits.body} bytes."
            )
        try:
            return json.loads(self.rfile.read(int(length)))
        except (ValueError, RecursionError) as error:
            raise Refused(HTTPStatus.BAD_REQUEST, f"Not JSON: {error}") from error

    def _send(self, status: HTTPStatus, content: bytes, kind: str) -> None:
        self._socket.allow(self.server.limits.transfer)
        if self.server.stopping:
            self.close_connection = True
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        if kind == HTML:
            self.send_header("Content-Security-Policy", PAGE_POLICY)
        if status in (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS):
            self.send_header("Retry-After", str(RETRY_SECONDS))
        if status == HTTPStatus.UNAUTHORIZED:
            self.send_header("WWW-Authenticate", "Bearer")
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(content)
        self.wfile.flush()


Route = Callable[[Server, str, Any], tuple[bytes, str]]
JSON, HTML, TEXT = "application/json", "text/html; charset=utf-8", "text/plain; version=0.0.4"


def _page(server: Server, path: str, body: Any) -> tuple[bytes, str]:
    return server.page, HTML


def _health(server: Server, path: str, body: Any) -> tuple[bytes, str]:
    with server.searcher() as searcher:
        return _json({"status": "ok", "passages": searcher.count()})


def _metrics(server: Server, path: str, body: Any) -> tuple[bytes, str]:
    return server.metrics.text(server.measured()).encode(), TEXT


def _search_get(server: Server, path: str, body: Any) -> tuple[bytes, str]:
    asked: dict[str, Any] = {name: values[-1] for name, values in _query(path).items()}
    asked["query"] = asked.pop("q", "")
    if "k" in asked:
        asked["k"] = int(asked["k"]) if asked["k"].isascii() and asked["k"].isdigit() else None
    if "by_thread" in asked:
        asked["by_thread"] = asked["by_thread"] in ("1", "true", "on")
    return _search(server, path, {name: value for name, value in asked.items() if value != ""})


def _search(server: Server, path: str, body: Any) -> tuple[bytes, str]:
    fields = {"query", "k", "mode", "since", "until", "sender", "source", "by_thread"}
    if not isinstance(body, dict) or set(body) - fields:
        raise _bad(f"Wanted is an object with some of: {', '.join(sorted(fields))}.")
    query, k, mode = body.get("query", ""), body.get("k", 10), body.get("mode", "hybrid")
    if not isinstance(query, str) or len(query) > server.limits.query:
        raise _bad(f"query: a text of at most {server.limits.query} characters.")
    if type(k) is not int or not 1 <= k <= MOST_HITS:
        raise _bad(f"k: a number from 1 to {MOST_HITS}.")
    if mode not in get_args(Mode):
        raise _bad(f"mode: one of {', '.join(get_args(Mode))}.")
    by_thread = body.get("by_thread", False)
    if type(by_thread) is not bool:
        raise _bad("by_thread: true or false.")
    conditions = {name: body.get(name) for name in ("since", "until", "sender", "source")}
    if not all(value is None or isinstance(value, str) for value in conditions.values()):
        raise _bad("since, until, sender, source: texts.")
    try:
        only = Filter(**conditions)
    except UserError as error:
        raise _bad(str(error)) from error
    with server.turn(), server.searcher() as searcher:
        hits = searcher.search(query, k, mode, only, by_thread)
    return _json({"hits": [asdict(hit) for hit in hits]})


def _thread(server: Server, path: str, body: Any) -> tuple[bytes, str]:
    name = _query(path).get("name", [""])[-1]
    with server.turn(), server.searcher() as searcher:
        return _json({"passages": [asdict(passage) for passage in searcher.thread(name)]})


def _embeddings(server: Server, path: str, body: Any) -> tuple[bytes, str]:
    """https://platform.openai.com/docs/api-reference/embeddings, and `kind`: query or passage."""
    if not isinstance(body, dict):
        raise _bad("Wanted is an object with input.")
    texts = [body["input"]] if isinstance(body.get("input"), str) else body.get("input")
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise _bad("input: a text or a list of texts.")
    if not 1 <= len(texts) <= server.limits.texts:
        raise _bad(f"input: 1 to {server.limits.texts} texts.")
    kind, form = body.get("kind", "passage"), body.get("encoding_format", "float")
    if kind not in get_args(Kind) or form not in ("float", "base64"):
        raise _bad("kind: query or passage; encoding_format: float or base64.")
    dimensions = server.batcher.dimensions
    if body.get("dimensions") not in (None, dimensions):
        raise _bad(f"dimensions: this model has {dimensions}.")
    with server.turn():
        vectors = server.batcher.encode(texts, kind)
    data = [
        {
            "object": "embedding",
            "index": number,
            "embedding": vector.tolist()
            if form == "float"
            else base64.b64encode(vector.astype("<f4").tobytes()).decode(),
        }
        for number, vector in enumerate(vectors)
    ]
    return _json({"object": "list", "data": data, "model": MODEL_NAME, "usage": NO_USAGE})


# Nothing is paid for here; clients want the field.
NO_USAGE = {"prompt_tokens": 0, "total_tokens": 0}
GET: dict[str, Route] = {
    "/": _page,
    "/health": _health,
    "/metrics": _metrics,
    "/search": _search_get,
    "/thread": _thread,
}
POST: dict[str, Route] = {"/search": _search, "/v1/embeddings": _embeddings}
OPEN = ("/", "/health")  # hold nothing of the corpus


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _query(path: str) -> dict[str, list[str]]:
    return parse_qs(urlsplit(path).query, keep_blank_values=True, errors="replace")


def _json(content: Any) -> tuple[bytes, str]:
    return json.dumps(content, ensure_ascii=True).encode(), JSON


def _problem(message: str) -> bytes:
    return json.dumps({"error": {"message": message}}).encode()


def _bad(message: str) -> Refused:
    return Refused(HTTPStatus.BAD_REQUEST, message)


def _hang_up(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RD)
