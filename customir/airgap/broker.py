"""Connections to the LLM servers that the user named, made by a process outside the block.

A seccomp filter cannot tell one address from another. So `start` runs this file as a process before
the block; it connects to the named servers only, looks each name up once, and passes the connected
sockets back. It never sees what is sent over them. The file imports the standard library alone, so
that the process starts in milliseconds and runs no code but this.
"""

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass

CONNECT_SECONDS = 30.0
REQUEST_BYTES = 4096
# Each request begins with this byte, which carries the socket that its answer goes to.
REQUEST = b"r"


@dataclass(frozen=True)
class _Running:
    process: subprocess.Popen[bytes]
    control: socket.socket


_running: _Running | None = None


def start(allowed: Collection[tuple[str, int]]) -> None:
    """Start the process that connects to these hosts and ports."""
    global _running
    control, its_end = socket.socketpair()
    with its_end:
        process = subprocess.Popen(
            [
                *(sys.executable, "-I", "-S", __file__),
                *(str(its_end.fileno()), json.dumps(sorted(set(allowed)))),
            ],
            pass_fds=[its_end.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for its parent, with which it ends
        )
    _running = _Running(process, control)


def stop() -> None:
    """End the process, if one is running."""
    global _running
    if _running is not None:
        _running.control.close()
        _running.process.wait()
        _running = None


def open_connection(host: str, port: int, timeout: float) -> socket.socket:
    """Open a TCP connection, by the broker process if it is running, or else directly.

    Args:
        timeout: In seconds, for everything that is done with the socket; connecting has
            CONNECT_SECONDS.

    Raises:
        OSError: it failed, the host and port are not allowed, or the process has ended.
    """
    if _running is None:
        connection = socket.create_connection((host, port), CONNECT_SECONDS)
    else:
        connection = _passed_connection(_running.control, host, port)
    connection.settimeout(timeout)
    return connection


def _passed_connection(control: socket.socket, host: str, port: int) -> socket.socket:
    ours, its_end = socket.socketpair()
    with ours:
        try:
            with its_end:
                socket.send_fds(control, [REQUEST], [its_end.fileno()])
            ours.sendall(json.dumps([host, port]).encode())
            ours.shutdown(socket.SHUT_WR)
            answer, descriptors, *_ = socket.recv_fds(ours, REQUEST_BYTES, 1)
        except (BrokenPipeError, ConnectionResetError):
            answer, descriptors = b"", []
    if descriptors:
        return socket.socket(fileno=descriptors[0])
    raise ConnectionError(
        answer.decode() or "the process that connects to the LLM servers has ended"
    )


def _serve(control: socket.socket, allowed: Collection[tuple[str, int]]) -> None:
    """Answer requests until the other end of `control` is closed."""
    looked_up = {server: _LookUp(*server) for server in allowed}
    while True:
        request, descriptors, *_ = socket.recv_fds(control, len(REQUEST), 1)
        if not request:
            return
        for descriptor in descriptors:
            client = socket.socket(fileno=descriptor)
            threading.Thread(target=_answer, args=(client, looked_up), daemon=True).start()


class _LookUp:
    """The addresses of a server, looked up at the first use and kept."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._lock = threading.Lock()
        self._addresses: list[tuple[str, int]] = []

    def addresses(self) -> list[tuple[str, int]]:
        with self._lock:
            if not self._addresses:
                found = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
                self._addresses = [(str(address[0]), self._port) for *_, address in found]
            return self._addresses


def _answer(client: socket.socket, looked_up: dict[tuple[str, int], _LookUp]) -> None:
    """Send the connected socket, or a text with the reason why there is none."""
    with client, suppress(BrokenPipeError, ConnectionResetError):
        host, port = json.loads(client.makefile("rb").read(REQUEST_BYTES))
        if (host, port) not in looked_up:
            client.sendall(f"{host}:{port} is not among the LLM servers of this run".encode())
            return
        try:
            connection = _connect_to_first(looked_up[host, port].addresses())
        except OSError as error:
            client.sendall(f"{host}:{port}: {error}".encode())
            return
        with connection:
            socket.send_fds(client, [REQUEST], [connection.fileno()])


def _connect_to_first(addresses: list[tuple[str, int]]) -> socket.socket:
    """Connect to the first address that accepts.

    Raises:
        OSError: no address accepts; the error of the last one.
    """
    failure = OSError("it has no address")
    for address in addresses:
        try:
            return socket.create_connection(address, CONNECT_SECONDS)
        except OSError as error:
            failure = error
    raise failure


if __name__ == "__main__":
    _serve(
        socket.socket(fileno=int(sys.argv[1])),
        [(host, port) for host, port in json.loads(sys.argv[2])],
    )
