"""HTTP/1.1 connections: uvicorn's, with limits to their number, their size and their time.

Requests are parsed by llhttp (through httptools), which refuses what h11 takes: Content-Length
beside Transfer-Encoding, either of them twice, folded header lines, and lines that end without CR.
uvicorn sets no limit to the time and the size of a request's head, nor to the time in which an
answer is taken.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from customir.server.limits import MOST_HEADER_BYTES, Limits
from customir.server.metrics import Metrics

MOST_DISCARDED = 8 << 20  # bytes of a body that nobody reads


class Connection(HttpToolsProtocol):
    """One client's connection.

    It is closed if its request does not arrive in time, if its answer is not read in time, or if it
    has been idle for too long.
    """

    def __init__(self, *arguments: Any, limits: Limits, metrics: Metrics, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._limits, self._metrics = limits, metrics
        self._timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        self._received = 0  # bytes since the latest request began
        self._in_head = False
        self.idle_since = self.loop.time()

    @property
    def idle(self) -> bool:
        """Whether no request is being answered."""
        return not self.pipeline and (self.cycle is None or self.cycle.response_complete)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._allow(self._limits.idle)
        if len(self.connections) <= self._limits.connections:
            return
        idle = [
            one
            for one in self.connections
            if isinstance(one, Connection) and one.idle and one is not self
        ]
        if idle:
            min(idle, key=lambda one: one.idle_since).abort()
        else:
            self._refuse(b"503 Service Unavailable", b"retry-after: 1\r\n", status=503)

    def abort(self) -> None:
        """Close the connection, even if the client has not read all of the answer."""
        self.connections.discard(self)
        self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timers()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        if self.idle and not self._in_head:
            self._in_head = True
            self._received = 0
            self._allow(self._limits.transfer)
        self._received += len(data)
        super().data_received(data)
        if self._in_head and self._received > MOST_HEADER_BYTES:
            self._refuse(b"431 Request Header Fields Too Large", status=431)
        # The body's own limit is the application's; this one is for what it never sees, such as
        # trailers.
        elif self._received > self._limits.body + MOST_DISCARDED + MOST_HEADER_BYTES:
            self.abort()

    def on_message_begin(self) -> None:
        self._received = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._stop_timer()
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self.idle_since = self.loop.time()
        if self.idle:
            self._allow(self._limits.idle)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._write_timer = self.loop.call_later(self._limits.transfer, self.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._write_timer is not None:
            self._write_timer.cancel()

    def send_400_response(self, msg: str) -> None:
        self._metrics.count("unparsed", 400, 0.0)
        super().send_400_response(msg)
        self._allow(self._limits.transfer)

    def _refuse(self, status_line: bytes, header: bytes = b"", *, status: int) -> None:
        self._metrics.count("connection", status, 0.0)
        self.transport.write(
            b"HTTP/1.1 " + status_line + b"\r\ncontent-length: 0\r\nconnection: close\r\n"
            + header + b"\r\n"
        )  # fmt: skip
        self.transport.close()

    def _allow(self, seconds: float) -> None:
        """Close the connection after `seconds`, unless a new time is set before."""
        self._stop_timer()
        self._timer = self.loop.call_later(seconds, self.abort)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _stop_timers(self) -> None:
        self._stop_timer()
        if self._write_timer is not None:
            self._write_timer.cancel()
