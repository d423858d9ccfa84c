"""Who may read: the token, Unix sockets, other users of the machine, and the command line."""

import json
import os
import re
import socket
import stat
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from serving import SERVE, TOKEN, command, get

from customir.errors import UserError
from customir.listening import bound_unix_socket, is_loopback
from customir.server.auth import new_token, owned

NOBODY = 65534


def as_another_user(code: str) -> str:
    """What `code` prints, run by a user who owns nothing here."""
    # Imported before, since the interpreter's own files may be closed to that user.
    first = f"import encodings.idna, http.client, os, socket\nos.setuid({NOBODY})\n"
    return subprocess.run(
        [sys.executable, "-I", "-c", first + textwrap.dedent(code)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        cwd="/",
    ).stdout


def test_every_route_but_the_open_ones_demands_the_token(server: Any) -> None:
    paths = ("/search?q=x", "/thread?name=x", "/metrics", "/nothing", "/v1/embeddings")
    for path in paths:
        for given in (None, "wrong", "", TOKEN[:-1], TOKEN + "x"):
            status, headers, content = server.ask("GET", path, token=given)
            assert (status, headers["www-authenticate"]) == (401, "Bearer")
            assert b"token" in content
    for authorization in (f"Basic {TOKEN}", TOKEN, "secrét", "Bearer"):
        headers = {"Authorization": authorization}
        assert server.ask("GET", "/search?q=x", headers=headers, token=None)[0] == 401
    assert server.ask("GET", f"/search?q=x&token={TOKEN}", token=None)[0] == 401
    headers = {"Authorization": f"bearer {TOKEN}"}
    assert server.ask("GET", "/search?q=x", headers=headers, token=None)[0] == 200
    for path in ("/", "/health", "/health/live", "/health/ready", "/openapi.json"):
        assert server.ask("GET", path, token=None)[0] == 200


def test_another_sites_page_cannot_ask_by_its_own_name(server: Any) -> None:
    for path in ("/search?q=x", "/health", "/"):
        for name in ("evil.example.org", "localhost.example.org", "127.0.0.1.example.org"):
            assert server.ask("GET", path, headers={"Host": name}, token=None)[0] == 403
    for name in ("localhost:1", "127.0.0.1", "[::1]:80", "LOCALHOST"):
        assert server.ask("GET", "/health", headers={"Host": name}, token=None)[0] == 200
    # A proxy may have another name; whoever asks through it has the token.
    assert server.ask("GET", "/search?q=x", headers={"Host": "mail.example.org"})[0] == 200


@pytest.mark.parametrize("token", ["", " ", "two words", "secrét", "line\nbreak"])
def test_a_token_that_no_header_carries_is_refused(token: str) -> None:
    with pytest.raises(UserError, match="token"):
        owned(token, loopback=True)


def test_random_tokens_differ() -> None:
    assert len({new_token() for _ in range(100)}) == 100
    assert len(new_token()) >= 43


def test_loopback() -> None:
    loopback = ("127.0.0.1", "::1", "localhost", "127.8.8.8")
    assert all(map(is_loopback, loopback))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "192.0.2.1", "example.org")))


def test_the_command_prints_a_link_and_logs_nothing_that_was_asked(folder: Path) -> None:
    with command(str(folder), "--port", "0") as one, command(str(folder), "--port", "0") as two:
        assert one.token != two.token
        assert get(one.port, "/search?q=pizza")[0] == 401
        assert get(one.port, "/search?q=pizza", two.token)[0] == 401
        status, content = get(one.port, "/search?q=pizza&k=1", one.token)
        assert (status, b"<lunch@example.org>" in content) == (200, True)
        get(one.port, "/a-secret-word", one.token)
        idle = socket.create_connection(("127.0.0.1", one.port))  # must not hold it up
    idle.close()
    lines = [json.loads(line) for line in one.lines]
    assert [line["status"] for line in lines] == [401, 401, 200, 404]
    assert [line["path"] for line in lines] == ["/search"] * 3 + ["other"]
    assert lines[2]["bytes"] == len(content)
    assert lines[2]["ms"] > 0
    assert not re.search(f"pizza|secret|{one.token}", "".join(one.lines))


def test_a_token_of_ones_own_is_not_printed(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("from-the-file\n")
    options = (str(folder), "--port", "0", "--no-access-log")
    with command(*options, "--token-file", str(file), token="unused") as served:
        assert "#" not in served.link
        assert get(served.port, "/search?q=x", "from-the-file")[0] == 200
        assert get(served.port, "/search?q=x", "unused")[0] == 401
    assert served.lines == []
    with command(*options, token="from-outside") as served:
        assert get(served.port, "/search?q=x", "from-outside")[0] == 200


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_of_the_machine_reads_nothing(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "mail.sock"
    opened = tmp_path
    while opened != opened.parent and opened.stat().st_uid == os.getuid():
        opened.chmod(opened.stat().st_mode | 0o011)  # so that only the socket's mode is in the way
        opened = opened.parent
    with (
        command(str(folder), "--port", "0") as served,
        command(str(folder), "--unix-socket", str(path)) as local,
    ):
        assert local.link == f"unix:{path}"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        code = f"""
        for method, path in (("GET", "/search?q=pizza"), ("GET", "/thread?name=thread-lunch"),
                             ("GET", "/metrics"), ("POST", "/search"), ("POST", "/v1/embeddings")):
            connection = http.client.HTTPConnection("127.0.0.1", {served.port}, timeout=30)
            connection.request(method, path, b'{{"query":"pizza"}}' if method == "POST" else None)
            print(connection.getresponse().status)
        try:
            socket.socket(socket.AF_UNIX).connect({str(path)!r})
            print("connected")
        except PermissionError:
            print("denied")
        """
        assert as_another_user(code).split() == ["401"] * 5 + ["denied"]
        with socket.socket(socket.AF_UNIX) as connection:  # its owner needs no token
            connection.connect(str(path))
            asked = b"GET /search?q=pizza&k=1 HTTP/1.1\r\nHost: mail\r\nConnection: close\r\n\r\n"
            connection.sendall(asked)
            with connection.makefile("rb") as answer:
                assert b"<lunch@example.org>" in answer.read()
    assert not path.exists()


def test_a_unix_socket_is_taken_over_only_from_the_dead(tmp_path: Path) -> None:
    path = tmp_path / "mail.sock"
    with bound_unix_socket(path) as bound:
        bound.listen()
        with pytest.raises(UserError, match="another server"), bound_unix_socket(path):
            pass
    assert not path.exists()
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(path))
    dead.close()
    with bound_unix_socket(path):
        pass
    path.write_text("mail")
    with pytest.raises(UserError, match="a file of this name exists"), bound_unix_socket(path):
        pass
    assert path.read_text() == "mail"
    with (
        pytest.raises(UserError, match="cannot be listened on"),
        bound_unix_socket(tmp_path / ("x" * 200)),
    ):
        pass


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["{missing}"], "missing"),
        (["{folder}", "--host", "192.0.2.1"], "192.0.2.1:8080: cannot be served"),
        (["{folder}", "--token-file", "{missing}/no"], "no: cannot be read"),
        (["{folder}", "--unix-socket", "{missing}/s", "--port", "1"], "--port: cannot be combined"),
        (["{folder}", "--port", "0", "--tls-cert", "{folder}/index.db"], "Give both"),
        (["{folder}", "--port", "0", "--root-path", "mail"], "--root-path"),
        (
            ["{folder}", "--port", "0", "--tls-cert", "{folder}/x", "--tls-key", "{folder}/x"],
            "not a TLS certificate",
        ),
        (["{missing}", "--port", "0", "--workers", "2"], "missing"),
    ],
)
def test_the_command_names_what_is_wrong(
    folder: Path, tmp_path: Path, arguments: list[str], expected: str
) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "CUSTOMIR_TOKEN"}
    filled = [one.format(folder=folder, missing=tmp_path / "missing") for one in arguments]
    done = subprocess.run(
        [sys.executable, "-c", SERVE, *filled],
        capture_output=True,
        text=True,
        env=environment,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2
    assert expected in done.stderr
    assert "Traceback" not in done.stderr
