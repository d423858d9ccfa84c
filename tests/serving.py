"""A small index, and servers over it on real sockets."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from customir.listening import bound_socket
from customir.server.auth import Access, owned
from customir.server.command import address_of
from customir.server.limits import Limits
from customir.server.options import Options
from customir.server.service import Service

TOKEN = "a-token-of-the-tests"
SERVE = """
import sys
from customir.cli import main
sys.argv = ["customir", "serve", *sys.argv[1:]]
main()
"""
Answer = tuple[int, dict[str, str], bytes]
Start = Callable[..., AbstractContextManager["Running"]]


@dataclass(frozen=True)
class Running:
    """A server that runs in a thread of this process."""

    service: Service
    port: int
    url: str  # of the search page, without the token

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: dict[str, str] | None = None,
        token: str | None = TOKEN,
    ) -> Answer:
        """Ask by a connection of its own: status, headers in lower case, content."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        sent = {} if token is None else {"Authorization": f"Bearer {token}"}
        content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        try:
            connection.request(method, path, content, sent | (headers or {}))
            answer = connection.getresponse()
            named = {name.lower(): value for name, value in answer.getheaders()}
            return answer.status, named, answer.read()
        finally:
            connection.close()

    def connect(self, seconds: float = 10) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=seconds)


@contextmanager
def _running(
    folder: Path,
    limits: Limits | None = None,
    token: str | None = TOKEN,
    access: Access | None = None,
    audit: Path | None = None,
) -> Any:
    access = access or owned(token, loopback=True)
    with bound_socket("127.0.0.1", 0) as bound:
        options = Options(folder, access, limits or Limits(), audit=audit, logged=False)
        service = Service(options)
        bound.listen()
        port = bound.getsockname()[1]
        thread = threading.Thread(target=service.run, args=([bound],))
        thread.start()
        try:
            yield Running(service, port, address_of(bound, options))
        finally:
            service.stop()
            thread.join(60)
            assert not thread.is_alive()


@pytest.fixture(scope="session")
def running() -> Start:
    """Runs a server over a folder for the length of a `with` block."""
    return _running


@pytest.fixture(scope="session")
def server(folder: Path) -> Iterator[Running]:
    """A server with the usual limits over `folder`."""
    with _running(folder) as server:
        yield server


@dataclass(frozen=True)
class Command:
    process: "subprocess.Popen[str]"
    link: str  # what the first line begins with
    lines: list[str]  # the further ones, once it has ended

    @property
    def port(self) -> int:
        found = re.match(r"https?://[^/]*:(\d+)/", self.link)
        assert found
        return int(found[1])

    @property
    def token(self) -> str:
        return self.link.partition("#token=")[2]


@contextmanager
def command(*arguments: str, token: str | None = None, status: int = 0) -> Iterator[Command]:
    """`customir serve` with these arguments, until the end of the `with` block; then its status."""
    environment = {name: value for name, value in os.environ.items() if name != "CUSTOMIR_TOKEN"}
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE, *arguments],
        stderr=subprocess.PIPE,
        text=True,
        env=environment | ({} if token is None else {"CUSTOMIR_TOKEN": token}),
    )
    try:
        assert process.stderr is not None
        made = Command(process, process.stderr.readline().split()[0], [])
        yield made
        process.send_signal(signal.SIGTERM)
        made.lines.extend(process.communicate(timeout=30)[1].splitlines())
        assert process.returncode == status
    finally:
        process.kill()


def get(port: int, path: str, token: str | None = None, **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    found = answer.status, answer.read()
    connection.close()
    return found
