"""The air gap, each time in a process of its own: it can't be opened again."""

import contextlib
import os
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

CLOSE = "from customir import guard; guard.close()\n"
RESULT = """
try:
    attempt()
except BaseException as error:
    chain = []
    while error is not None:
        chain.append(f"{type(error).__name__}: {error}")
        error = error.__cause__ or error.__context__
    print(" <- ".join(chain))
else:
    print("connected")
"""

# Each makes a connection (or sends a datagram) to HOST:PORT.
ATTEMPTS = {
    "connect": "socket.socket().connect((HOST, PORT))",
    "connect_ex": "assert socket.socket().connect_ex((HOST, PORT)) == 0",
    "connect by name": "socket.socket().connect(('localhost', PORT))",
    "create_connection": "socket.create_connection((HOST, PORT))",
    "_socket": "import _socket; _socket.socket().connect((HOST, PORT))",
    "http.client": "import http.client; http.client.HTTPConnection(HOST, PORT).request('GET', '/')",
    "urllib": "import urllib.request; urllib.request.urlopen(f'http://{HOST}:{PORT}/', timeout=9)",
    "requests": "import requests; requests.get(f'http://{HOST}:{PORT}/', timeout=9)",
    "asyncio": "import asyncio; asyncio.run(asyncio.wait_for(asyncio.open_connection(HOST, PORT), 9))",
    "thread": """
    import concurrent.futures
    with concurrent.futures.ThreadPoolExecutor() as pool:
        pool.submit(socket.create_connection, (HOST, PORT)).result()
    """,
}
LOOK_UPS = {
    "getaddrinfo": "socket.getaddrinfo('customir.invalid', 80)",
    "gethostbyname": "socket.gethostbyname('customir.invalid')",
    "gethostbyname_ex": "socket.gethostbyname_ex('customir.invalid')",
    "gethostbyaddr": "socket.gethostbyaddr('192.0.2.1')",
    "getnameinfo": "socket.getnameinfo(('192.0.2.1', 80), 0)",
    # These would look the name up before any audit event.
    "connect": "socket.socket().connect(('customir.invalid', 80))",
    "connect_ex": "socket.socket().connect_ex(('customir.invalid', 80))",
    "sendto": "socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', 0, ('customir.invalid', 80))",
    "sendmsg": "socket.socket(type=socket.SOCK_DGRAM).sendmsg([b'x'], [], 0, ('customir.invalid', 80))",
}


def in_new_process(code: str, **variables: object) -> str:
    """What the code prints; HOST and PORT and the like are given as variables."""
    given = "".join(f"{name} = {value!r}\n" for name, value in variables.items())
    done = subprocess.run(
        [sys.executable, "-c", given + "import socket\n" + code],
        capture_output=True,
        text=True,
        timeout=120,
        env={name: value for name, value in os.environ.items() if "proxy" not in name.lower()},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def attempt(statement: str) -> str:
    body = textwrap.indent(textwrap.dedent(statement).strip(), "    ")
    return f"def attempt():\n{body}\n{RESULT}"


@contextlib.contextmanager
def http_server(family: socket.AddressFamily, host: str) -> Iterator[tuple[int, list[str]]]:
    """A server that answers anything with an empty page; gives its port and who connected."""
    callers: list[str] = []
    with socket.create_server((host, 0), family=family) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, address = listener.accept()
                    callers.append(address[0])
                    with connection, contextlib.suppress(OSError):
                        connection.settimeout(0.5)
                        connection.recv(4096)
                        connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n")

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1], callers
        listener.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def server() -> Iterator[tuple[int, list[str]]]:
    with http_server(socket.AF_INET, "127.0.0.1") as running:
        yield running


@pytest.mark.parametrize("name", ATTEMPTS)
def test_connection_is_refused(name: str, server: tuple[int, list[str]]) -> None:
    port, callers = server
    code = attempt(ATTEMPTS[name])

    # The same code connects where the gap is open, so a refusal is the gap's.
    assert in_new_process(code, HOST="127.0.0.1", PORT=port) == "connected"
    assert len(callers) == 1

    printed = in_new_process(CLOSE + code, HOST="127.0.0.1", PORT=port)
    assert "AirGapError: CustomIR makes no network connections" in printed
    assert f":{port}" in printed
    assert len(callers) == 1


def test_connection_is_refused_over_ipv6() -> None:
    try:
        with http_server(socket.AF_INET6, "::1") as (port, callers):
            code = attempt("socket.create_connection((HOST, PORT))")
            assert in_new_process(code, HOST="::1", PORT=port) == "connected"
            printed = in_new_process(CLOSE + code, HOST="::1", PORT=port)
            assert f"refused to connect to [::1]:{port}" in printed
            assert len(callers) == 1
    except OSError as error:
        pytest.skip(f"no IPv6 here: {error}")


@pytest.mark.parametrize(
    "statement",
    [
        "socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', (HOST, PORT))",
        "socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', 0, (HOST, PORT))",
        "socket.socket(type=socket.SOCK_DGRAM).sendmsg([b'x'], [], 0, (HOST, PORT))",
        "s = socket.socket(type=socket.SOCK_DGRAM); s.connect((HOST, PORT)); s.send(b'x')",
    ],
)
def test_datagram_is_refused(statement: str) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(5)
        port = receiver.getsockname()[1]
        code = attempt(statement)
        assert in_new_process(code, HOST="127.0.0.1", PORT=port) == "connected"
        assert receiver.recv(10) == b"x"

        assert "AirGapError" in in_new_process(CLOSE + code, HOST="127.0.0.1", PORT=port)
        receiver.setblocking(False)
        with pytest.raises(BlockingIOError):
            receiver.recv(10)


@pytest.mark.parametrize("name", LOOK_UPS)
def test_look_up_is_refused(name: str) -> None:
    printed = in_new_process(CLOSE + attempt(LOOK_UPS[name]))
    assert printed.startswith("AirGapError: ")
    assert "customir.invalid" in printed or "192.0.2.1" in printed


def test_other_families_are_refused() -> None:
    netlink = attempt("socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)")
    if in_new_process(netlink) != "connected":
        pytest.skip("this system has no netlink sockets")
    assert "AirGapError" in in_new_process(CLOSE + netlink)


def test_model_hub_client_is_offline(tmp_path: Path) -> None:
    printed = in_new_process(
        CLOSE
        + attempt(
            "import huggingface_hub; "
            "huggingface_hub.hf_hub_download('owner/name', 'config.json', cache_dir=CACHE)"
        ),
        CACHE=str(tmp_path),
    )
    assert "offline" in printed.lower() or "AirGapError" in printed
    assert printed != "connected"


def test_local_socket_stays_free(tmp_path: Path) -> None:
    printed = in_new_process(
        CLOSE
        + attempt("""
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(PLACE)
        listener.listen()
        caller = socket.socket(socket.AF_UNIX)
        caller.connect(PLACE)
        assert caller.connect_ex(PLACE) != 0
        caller.sendall(b'x')
        assert listener.accept()[0].recv(1) == b'x'
        left, right = socket.socketpair()
        left.sendmsg([b'y'])
        assert right.recv(1) == b'y'
        """),
        PLACE=str(tmp_path / "socket"),
    )
    assert printed == "connected"


def test_server_can_serve() -> None:
    code = """
    import http.server, sys
    server = http.server.HTTPServer(('127.0.0.1', 0), http.server.BaseHTTPRequestHandler)
    print(server.server_port, flush=True)
    server.handle_request()
    """
    with subprocess.Popen(
        [sys.executable, "-c", CLOSE + textwrap.dedent(code)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            assert b"501" in connection.recv(100)
        assert process.wait(30) == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_allowed_server_and_no_other(host: str, server: tuple[int, list[str]]) -> None:
    port, callers = server
    close = "from customir import guard; guard.close(frozenset({(ALLOWED, PORT)}))\n"
    reach = attempt(ATTEMPTS["http.client"])
    assert in_new_process(close + reach, ALLOWED=host, HOST=host, PORT=port) == "connected"
    assert callers == ["127.0.0.1"]

    with http_server(socket.AF_INET, "127.0.0.1") as (other_port, other_callers):
        code = attempt("socket.create_connection((HOST, OTHER))")
        printed = in_new_process(close + code, ALLOWED=host, HOST=host, PORT=port, OTHER=other_port)
        assert f"refused to connect to 127.0.0.1:{other_port}" in printed or "[::1]" in printed
        assert other_callers == []

    other_host = in_new_process(
        close + attempt("socket.create_connection(('127.0.0.2', PORT))"), ALLOWED=host, PORT=port
    )
    assert f"refused to connect to 127.0.0.2:{port}" in other_host


def test_closing_twice_allows_only_what_both_allow(server: tuple[int, list[str]]) -> None:
    port, callers = server
    code = "from customir import guard; guard.close({(HOST, PORT)}); guard.close()\n"
    printed = in_new_process(code + attempt(ATTEMPTS["connect"]), HOST="127.0.0.1", PORT=port)
    assert "AirGapError" in printed
    assert callers == []


def test_allowed_host_without_address() -> None:
    printed = in_new_process(
        "from customir import guard\n" + attempt("guard.close({('customir.invalid', 80)})")
    )
    assert printed.startswith("UserError: customir.invalid:80: this server has no address")
