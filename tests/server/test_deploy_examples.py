"""examples/deploy: the Dockerfile, the systemd unit and nginx's configuration."""

import base64
import http.client
import json
import re
import shlex
import shutil
import socket
import ssl
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from serving import command

from customir.cli.serve import serve

EXAMPLES = Path(__file__).parents[2] / "examples" / "deploy"
UNIT = EXAMPLES / "customir@.service"
ACCESS = """
[proxy]
trusted = ["unix"]
[[user]]
name = "ann"
[[user.allow]]
sources = ["mail.mbox"]
[[user]]
name = "bob"
"""


def find(tool: str) -> str | None:
    """A program in PATH, or in the environment of this interpreter."""
    return shutil.which(tool) or shutil.which(tool, path=str(Path(sys.executable).parent))


def needs(tool: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(find(tool) is None, reason=f"{tool} is not installed")


def test_the_commands_have_options_that_exist() -> None:
    unit = re.search(r"ExecStart=(.*?[^\\])\n", UNIT.read_text(), re.DOTALL)
    file = (EXAMPLES / "Dockerfile").read_text()
    image = re.search(r"^CMD (\[.*\])$", file, re.MULTILINE)
    assert unit is not None
    assert image is not None
    words = [*shlex.split(unit[1].replace("\\\n", " ")), *json.loads(image[1])]
    known = {name for parameter in serve.params for name in parameter.opts}
    given = {word for word in words if word.startswith("--")}
    assert given <= known
    assert given >= {"--access", "--unix-socket-group", "--audit-log", "--host"}


@needs("hadolint")
def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    hadolint = [str(find("hadolint")), str(EXAMPLES / "Dockerfile")]
    done = subprocess.run(hadolint, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@needs("systemd-analyze")
def test_the_unit_is_valid_and_hardened(tmp_path: Path) -> None:
    unit = tmp_path / "customir@1.service"
    # verify asks whether the program exists.
    unit.write_text(UNIT.read_text().replace("/opt/customir/bin/customir", "/usr/bin/env"))
    done = subprocess.run(
        ["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    security = ["systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=10"]
    done = subprocess.run([*security, str(unit)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@needs("nginx")
@needs("openssl")
def test_two_servers_behind_nginx(folder: Path, tmp_path: Path) -> None:
    certificate, key = tmp_path / "mail.pem", tmp_path / "mail.key"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"]
    named = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*made, *named, *files], check=True, capture_output=True)
    (tmp_path / "users").write_text("ann:{PLAIN}ann\nbob:{PLAIN}bob\nzoe:{PLAIN}zoe\n")
    access = tmp_path / "access.toml"
    access.write_text(ACCESS)
    access.chmod(0o600)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with ExitStack() as stack:
        for number in (1, 2):
            (tmp_path / f"customir-{number}").mkdir()
            path = tmp_path / f"customir-{number}" / "mail.sock"
            options = ("--unix-socket", str(path), "--access", str(access))
            stack.enter_context(command(str(folder), *options))
        nginx = start_nginx(tmp_path, port)
        stack.callback(nginx.wait, 30)
        stack.callback(nginx.terminate)
        trusting = ssl.create_default_context(cafile=str(certificate))

        def ask(user: str, **headers: str) -> tuple[int, bytes]:
            connection = http.client.HTTPSConnection("127.0.0.1", port, context=trusting)
            secret = base64.b64encode(f"{user}:{user}".encode()).decode()
            connection.request(
                "GET", "/search?q=pizza&k=1", headers=headers | {"Authorization": f"Basic {secret}"}
            )
            answer = connection.getresponse()
            found = answer.status, answer.read()
            connection.close()
            return found

        wait_for_port(port)
        for _ in range(4):  # both servers
            status, content = ask("ann")
            assert (status, b"<lunch@example.org>" in content) == (200, True)
            # What a client sends is replaced.
            status, content = ask("bob", **{"X-Forwarded-User": "ann"})
            assert (status, json.loads(content)["hits"]) == (200, [])
            assert ask("zoe", **{"X-Forwarded-User": "ann"})[0] == 403
            assert ask("eve", **{"X-Forwarded-User": "ann"})[0] == 401


def start_nginx(place: Path, port: int) -> "subprocess.Popen[bytes]":
    """nginx with the example's configuration, its paths and port replaced."""
    example = (EXAMPLES / "nginx.conf").read_text()
    for old, new in (("/run/", f"{place}/"), ("/etc/nginx/", f"{place}/"), ("listen 443", f"listen 127.0.0.1:{port}")):  # fmt: skip
        assert old in example
        example = example.replace(old, new)
    temporary = "".join(
        f"{name}_temp_path {place}/{name};\n"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    configuration = place / "nginx.conf"
    configuration.write_text(
        f"daemon off;\nuser root;\npid {place}/pid;\nerror_log {place}/error.log;\nevents {{}}\n"
        f"http {{\naccess_log off;\n{temporary}{example}}}\n"
    )
    arguments = ["nginx", "-e", f"{place}/error.log", "-c", str(configuration)]
    return subprocess.Popen(arguments, stderr=subprocess.DEVNULL)


def wait_for_port(port: int) -> None:
    end = time.monotonic() + 30
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
        except OSError:
            assert time.monotonic() < end
            time.sleep(0.05)
        else:
            return
