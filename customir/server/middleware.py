"""Middleware for every request."""

import asyncio
import logging
import time
from http import HTTPStatus

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from customir.errors import UserError
from customir.server import page
from customir.server.auth import Access, Headers
from customir.server.errors import Refused, malformed
from customir.server.logs import FIELDS, place_of
from customir.server.metrics import Metrics
from customir.server.protocol import MOST_DISCARDED

# They hold nothing of the corpus; the search page takes the token from its address.
OPEN_PATHS = (*page.PATHS, "/health", "/health/live", "/health/ready", "/openapi.json")
LINGER_SECONDS = 2.0
MOST_LENGTH_DIGITS = 18
HEADERS = (
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
CLIENT_LEFT = 499  # nginx's status for a client that did not wait for its answer

log = logging.getLogger(__name__)


class Observed:
    """Counts, times and logs each request, and logs where the application failed.

    Only the method and the route of a request are logged.
    """

    def __init__(
        self, app: ASGIApp, routes: frozenset[str], metrics: Metrics, logged: bool
    ) -> None:
        self._app, self._routes, self._metrics, self._logged = app, routes, metrics, logged

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        start = time.perf_counter()
        status, sent = CLIENT_LEFT, 0

        async def observed_send(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *HEADERS]
            else:
                sent += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, receive, observed_send)
        except ClientDisconnect:
            pass
        except Exception as error:
            kind = type(error).__name__
            log.error(
                "a fault", extra={FIELDS: {"kind": kind, "at": place_of(error.__traceback__)}}
            )
        seconds = time.perf_counter() - start
        path = route_path(scope)
        route = path if path in self._routes else "other"
        self._metrics.count(route, status, seconds)
        if self._logged:
            method = scope["method"] if scope["method"] in ("GET", "HEAD", "POST") else "other"
            fields = {
                "method": method, "path": route, "status": status,
                "ms": round(seconds * 1000, 1), "bytes": sent,
            }  # fmt: skip
            log.info("request", extra={FIELDS: fields})


class Gate:
    """Refuses requests that are malformed or not admitted, before a byte of their body is read.

    Where an answer is given while a part of the body is unread, the connection is closed after it:
    nobody takes the rest for another request. Before that, some of the rest is discarded, since a
    client that is hung up on while it sends would never see the answer.
    """

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app, self._access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = scope["headers"]
        unread = _has_body(headers)
        closing = False

        async def gated_receive() -> Message:
            nonlocal unread
            message = await receive()
            unread = unread and message["type"] == "http.request" and message["more_body"]
            return message

        async def gated_send(message: Message) -> None:
            nonlocal closing
            if message["type"] == "http.response.start":
                closing = unread
                if closing:
                    message["headers"] = [*message["headers"], (b"connection", b"close")]
            elif closing and not message.get("more_body", False):
                await send({**message, "more_body": True})
                await self._discard(receive)
                message = {"type": "http.response.body", "body": b""}
            await send(message)

        try:
            _check_framing(scope["http_version"], headers)
            needs_user = route_path(scope) not in OPEN_PATHS
            address = scope["client"][0] if scope["client"] else None
            user = self._access.admit(headers, address, needs_user=needs_user)
            scope["user"] = user if needs_user else None
        except Refused as error:
            await error.response()(scope, gated_receive, gated_send)
            return
        except UserError:  # of the access file, which only the log names
            unavailable = Refused(
                HTTPStatus.SERVICE_UNAVAILABLE, "The access file of this server is wrong."
            )
            await unavailable.response()(scope, gated_receive, gated_send)
            return
        await self._app(scope, gated_receive, gated_send)

    async def _discard(self, receive: Receive) -> None:
        discarded, more = 0, True
        try:
            async with asyncio.timeout(LINGER_SECONDS):
                while more and discarded < MOST_DISCARDED:
                    message = await receive()
                    discarded += len(message.get("body", b""))
                    more = message.get("more_body", False)
        except TimeoutError:
            return


def route_path(scope: Scope) -> str:
    """The request's path below the server's own root."""
    return str(scope["path"]).removeprefix(scope["root_path"])


def _has_body(headers: Headers) -> bool:
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and value.strip(b"0") != b"")
        for name, value in headers
    )


def _check_framing(version: str, headers: Headers) -> None:
    """Refuse requests that the parser accepts but another server might read differently."""
    names = [name for name, _ in headers]
    if version != "1.0" and b"host" not in names:
        raise malformed("Host: it is missing.")
    encodings = [value.lower() for name, value in headers if name == b"transfer-encoding"]
    if encodings and (encodings != [b"chunked"] or version == "1.0"):
        raise malformed("Transfer-Encoding: only chunked, in HTTP/1.1.")
    lengths = [value for name, value in headers if name == b"content-length"]
    if any(len(value) > MOST_LENGTH_DIGITS for value in lengths):
        raise malformed("Content-Length: it has too many digits.")
    if b"upgrade" in names:
        raise malformed("Upgrade: no other protocol is spoken here; send HTTP/1.1 without it.")
