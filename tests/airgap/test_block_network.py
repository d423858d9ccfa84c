"""The network block, each time in a process of its own: it cannot be lifted again."""

import contextlib
import os
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

BLOCK = "from customir.airgap import block_network; assert block_network() is None\n"
REFUSED_IN_PYTHON = "AirGapError: CustomIR makes no network connections"
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="the kernel's part is for Linux")
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
LIBC = """
import ctypes, os, struct
libc = ctypes.CDLL(None, use_errno=True)
def check(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
"""
# The same past Python: by libc, and by programs that this process starts.
NATIVE_ATTEMPTS = {
    "libc": """
    descriptor = check(libc.socket(socket.AF_INET, socket.SOCK_STREAM, 0))
    address = struct.pack("=H", socket.AF_INET) + struct.pack("!H", PORT) + socket.inet_aton(HOST)
    check(libc.connect(descriptor, address + bytes(8), 16))
    """,
    "libc thread": """
    import concurrent.futures
    def connect():
        descriptor = check(libc.socket(socket.AF_INET, socket.SOCK_STREAM, 0))
        address = struct.pack("=H", socket.AF_INET) + struct.pack("!H", PORT) + socket.inet_aton(HOST)
        check(libc.connect(descriptor, address + bytes(8), 16))
    with concurrent.futures.ThreadPoolExecutor() as pool:
        pool.submit(connect).result()
    """,
    "python child": """
    import subprocess, sys
    code = f"import socket; socket.create_connection(({HOST!r}, {PORT}))"
    subprocess.run([sys.executable, "-c", code], check=True)
    """,
    "bash child": """
    import subprocess
    subprocess.run(["bash", "-c", f"echo > /dev/tcp/{HOST}/{PORT}"], check=True)
    """,
    "child without environment": """
    import subprocess
    subprocess.run(["env", "-i", "/bin/bash", "-c", f"echo > /dev/tcp/{HOST}/{PORT}"], check=True)
    """,
}
LOOK_UPS = {
    "getaddrinfo": "socket.getaddrinfo('customir.invalid', 80)",
    "gethostbyname": "socket.gethostbyname('customir.invalid')",
    "gethostbyname_ex": "socket.gethostbyname_ex('customir.invalid')",
    "gethostbyaddr": "socket.gethostbyaddr('192.0.2.1')",
    "getnameinfo": "socket.getnameinfo(('192.0.2.1', 80), 0)",
    "create_connection": "socket.create_connection(('customir.invalid', 80))",
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

    # The same code connects without the block, so the refusal is the block's.
    assert in_new_process(code, HOST="127.0.0.1", PORT=port) == "connected"
    assert len(callers) == 1

    assert REFUSED_IN_PYTHON in in_new_process(BLOCK + code, HOST="127.0.0.1", PORT=port)
    assert len(callers) == 1


@linux_only
@pytest.mark.parametrize("name", NATIVE_ATTEMPTS)
def test_native_connection_is_refused_by_the_kernel(
    name: str, server: tuple[int, list[str]]
) -> None:
    port, callers = server
    code = LIBC + attempt(NATIVE_ATTEMPTS[name])
    assert in_new_process(code, HOST="127.0.0.1", PORT=port) == "connected"
    assert len(callers) == 1

    printed = in_new_process(BLOCK + code, HOST="127.0.0.1", PORT=port)
    assert printed.startswith(("PermissionError: [Errno 13]", "CalledProcessError"))
    assert len(callers) == 1


@linux_only
@pytest.mark.parametrize(
    ("name", "number", "arguments"),
    [
        ("io_uring_setup", 425, "8, ctypes.create_string_buffer(120)"),
        ("socket of x32", 0x40000000 + 41, "socket.AF_INET, socket.SOCK_STREAM, 0"),
    ],
)
def test_other_ways_to_a_socket_are_refused(name: str, number: int, arguments: str) -> None:
    code = LIBC + attempt(f"check(libc.syscall({number}, {arguments}))")
    refused = in_new_process(BLOCK + code)
    assert refused.startswith(("PermissionError", "OSError: [Errno 38]"))
    if (printed := in_new_process(code)) != "connected":
        pytest.skip(f"this kernel offers no {name} anyway: {printed}")


@linux_only
def test_thread_that_runs_already_is_blocked_too() -> None:
    code = """
    import threading
    blocked, result = threading.Event(), []
    def connect():
        blocked.wait()
        result.append(libc.socket(socket.AF_INET, socket.SOCK_STREAM, 0))
    thread = threading.Thread(target=connect)
    thread.start()
    from customir.airgap import block_network
    assert block_network() is None
    blocked.set()
    thread.join()
    print(result)
    """
    assert in_new_process(LIBC + textwrap.dedent(code)) == "[-1]"


def test_refusal_names_the_library(server: tuple[int, list[str]]) -> None:
    printed = in_new_process(
        BLOCK + attempt(ATTEMPTS["requests"]), HOST="127.0.0.1", PORT=server[0]
    )
    assert "asked for by urllib3, called by requests" in printed


@linux_only
@pytest.mark.parametrize("family", ["AF_INET", "AF_INET6", "AF_NETLINK", "AF_PACKET", "AF_VSOCK"])
def test_native_socket_of_each_family_is_refused(family: str) -> None:
    code = LIBC + attempt(f"check(libc.socket(socket.{family}, socket.SOCK_DGRAM, 0))")
    assert in_new_process(BLOCK + code) == "PermissionError: [Errno 13] Permission denied"


@linux_only
def test_native_look_up_reaches_no_name_server(tmp_path: Path) -> None:
    """Neither by UDP nor through a local daemon such as nscd or systemd-resolved."""
    code = """
    daemon = socket.socket(socket.AF_UNIX)
    daemon.bind(PLACE)
    daemon.listen()
    unix = libc.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0)
    address = struct.pack("=H", socket.AF_UNIX) + PLACE.encode() + bytes(1)
    check(libc.connect(unix, address, len(address)))
    """
    code = LIBC + attempt(code)
    assert in_new_process(code, PLACE=str(tmp_path / "open")) == "connected"
    assert "FileNotFoundError" in in_new_process(BLOCK + code, PLACE=str(tmp_path / "blocked"))

    # EAI_AGAIN and its like at once, without the seconds that waiting for a name server takes.
    look_up = """
    import time
    start = time.monotonic()
    found = libc.getaddrinfo(b"customir.invalid", None, None, ctypes.byref(ctypes.c_void_p()))
    assert found != 0 and time.monotonic() - start < 1, (found, time.monotonic() - start)
    """
    assert in_new_process(BLOCK + LIBC + attempt(look_up)) == "connected"


def test_connection_is_refused_over_ipv6() -> None:
    try:
        with http_server(socket.AF_INET6, "::1") as (port, callers):
            code = attempt("socket.create_connection((HOST, PORT))")
            assert in_new_process(code, HOST="::1", PORT=port) == "connected"
            printed = in_new_process(BLOCK + code, HOST="::1", PORT=port)
            assert "refused to open a socket of family AF_INET6" in printed
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

        assert "AirGapError" in in_new_process(BLOCK + code, HOST="127.0.0.1", PORT=port)
        receiver.setblocking(False)
        with pytest.raises(BlockingIOError):
            receiver.recv(10)


@pytest.mark.parametrize("name", LOOK_UPS)
def test_look_up_is_refused(name: str) -> None:
    printed = in_new_process(BLOCK + attempt(LOOK_UPS[name]))
    assert printed.startswith("AirGapError: ")
    assert "customir.invalid" in printed or "192.0.2.1" in printed


def test_other_families_are_refused() -> None:
    netlink = attempt("socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)")
    if in_new_process(netlink) != "connected":
        pytest.skip("this system has no netlink sockets")
    assert "AirGapError" in in_new_process(BLOCK + netlink)


def test_model_hub_client_is_offline(tmp_path: Path) -> None:
    printed = in_new_process(
        BLOCK
        + attempt(
            "import huggingface_hub; "
            "huggingface_hub.hf_hub_download('owner/name', 'config.json', cache_dir=CACHE)"
        ),
        CACHE=str(tmp_path),
    )
    assert "offline" in printed.lower() or "AirGapError" in printed
    assert printed != "connected"


@pytest.mark.parametrize(
    "statement",
    [
        "socket.socket().connect(('customir.invalid', 80))",
        "socket.socket().connect_ex(('customir.invalid', 80))",
        "socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', 0, ('customir.invalid', 80))",
        "socket.socket(type=socket.SOCK_DGRAM).sendmsg([b'x'], [], 0, ('customir.invalid', 80))",
        "import _socket; _socket.socket().connect(('customir.invalid', 80))",
        "import _socket; _socket.socket(socket.AF_INET6).connect(('customir.invalid', 80))",
    ],
)
def test_socket_that_would_look_a_name_up_is_not_made(statement: str) -> None:
    """CPython looks the name up in these calls before any audit event."""
    assert "refused to open a socket" in in_new_process(BLOCK + attempt(statement))


def test_local_pairs_stay_free_and_local_daemons_are_refused(tmp_path: Path) -> None:
    pair = """
    left, right = socket.socketpair()
    left.sendmsg([b'y'])
    assert right.recv(1) == b'y'
    """
    assert in_new_process(BLOCK + attempt(pair)) == "connected"
    connect = attempt("socket.socket(socket.AF_UNIX).connect(PLACE)")
    printed = in_new_process(BLOCK + connect, PLACE=str(tmp_path / "socket"))
    assert REFUSED_IN_PYTHON in printed
    assert str(tmp_path / "socket") in printed


def test_socket_that_listens_already_can_serve() -> None:
    code = """
    import http.server
    server = http.server.HTTPServer(('127.0.0.1', 0), http.server.BaseHTTPRequestHandler)
    from customir.airgap import block_network
    assert block_network() is None
    print(server.server_port, flush=True)
    server.handle_request()
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
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


OPEN = """
with open_connection(HOST, PORT, 9) as connection:
    connection.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
    assert connection.recv(100).startswith(b"HTTP/1.0 200")
"""
ALLOW = (
    "from customir.airgap import block_network, open_connection\nblock_network([(ALLOWED, PORT)])\n"
)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_allowed_server_and_no_other(host: str, server: tuple[int, list[str]]) -> None:
    port, callers = server
    assert in_new_process(ALLOW + attempt(OPEN), ALLOWED=host, HOST=host, PORT=port) == "connected"
    assert callers == ["127.0.0.1"]

    with http_server(socket.AF_INET, "127.0.0.1") as (other_port, other_callers):
        other = attempt("open_connection(HOST, OTHER, 9)")
        printed = in_new_process(
            ALLOW + other, ALLOWED=host, HOST=host, PORT=port, OTHER=other_port
        )
        assert f"{host}:{other_port} is not among the LLM servers" in printed
        assert other_callers == []
    printed = in_new_process(ALLOW + attempt(OPEN), ALLOWED=host, HOST="127.0.0.2", PORT=port)
    assert "127.0.0.2" in printed
    assert "is not among the LLM servers" in printed
    # An allowed server is reached in this one way only.
    printed = in_new_process(
        ALLOW + attempt(ATTEMPTS["create_connection"]), ALLOWED=host, HOST="127.0.0.1", PORT=port
    )
    assert REFUSED_IN_PYTHON in printed


def test_many_connections_at_a_time(server: tuple[int, list[str]]) -> None:
    port, _ = server
    code = """
    from concurrent.futures import ThreadPoolExecutor
    with ThreadPoolExecutor(16) as pool:
        for connection in pool.map(lambda _: open_connection(ALLOWED, PORT, 9), range(64)):
            assert connection.getpeername() == ("127.0.0.1", PORT)
            connection.close()
    """
    assert in_new_process(ALLOW + attempt(code), ALLOWED="localhost", PORT=port) == "connected"


def test_failures_of_an_allowed_server_are_told() -> None:
    reach = ALLOW + attempt("open_connection(ALLOWED, PORT, 9)")
    printed = in_new_process(reach, ALLOWED="customir.invalid", PORT=80)
    assert printed.startswith("ConnectionError: customir.invalid:80: ")
    printed = in_new_process(reach, ALLOWED="127.0.0.1", PORT=9)
    assert "127.0.0.1:9: [Errno 111] Connection refused" in printed

    killed = "from customir.airgap import broker; broker._running.process.kill()\n"
    killed += "broker._running.process.wait()\n"
    printed = in_new_process(
        ALLOW + killed + attempt("open_connection(ALLOWED, PORT, 9)"), ALLOWED="127.0.0.1", PORT=9
    )
    assert printed.startswith("ConnectionError: the process that connects to the LLM servers has")


def test_connecting_process_ends_with_its_parent(server: tuple[int, list[str]]) -> None:
    show = "from customir.airgap import broker; print(broker._running.process.pid, flush=True)\n"
    kill = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)\n"
    done = subprocess.run(
        [sys.executable, "-c", f"ALLOWED, PORT = 'localhost', {server[0]}\n{ALLOW}{show}{kill}"],
        capture_output=True,
        text=True,
    )
    pid = int(done.stdout)
    for _ in range(100):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return
            os.kill(pid, 0)
        except (ProcessLookupError, FileNotFoundError):
            return
        time.sleep(0.05)
    raise AssertionError(f"process {pid} is still there")


def test_blocking_again_allows_nothing(server: tuple[int, list[str]]) -> None:
    port, callers = server
    code = ALLOW + "block_network()\n" + attempt("open_connection(ALLOWED, PORT, 9)")
    assert REFUSED_IN_PYTHON in in_new_process(code, ALLOWED="127.0.0.1", PORT=port)
    assert callers == []
