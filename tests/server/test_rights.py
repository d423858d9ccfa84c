"""Users and their rights: the access file, every endpoint, trusted proxies, and the audit log."""

import json
import os
import random
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from random_rights import (
    QUERIES,
    Remembering,
    near,
    permitted,
    random_corpus,
    random_rights,
    thread_names,
)
from serving import TOKEN, command

from customir.errors import UserError
from customir.progress import Silent
from customir.runtime.index import build_index
from customir.runtime.rights import Rights
from customir.server.access_file import AccessFile, hash_token, read_users
from customir.server.audit import AuditLog
from customir.server.auth import Access
from customir.server.errors import Refused

CORPORA, READERS = 8, 3
ALICE, BOARD, MONITOR = "token-of-alice", "token-of-the-board", "token-of-the-monitor"
ACCESS = f"""
[[user]]
name = "alice"
tokens = ["{hash_token(ALICE)}"]
[[user.allow]]
sources = ["archive/open"]

[[user]]
name = "board"
tokens = ["{hash_token(BOARD)}"]
everything = true

[[user]]
name = "monitor"
tokens = ["{hash_token(MONITOR)}"]
metrics = true
"""


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    """Replaces the access file as an editor would, and returns its path."""

    def write(content: str) -> Path:
        path = tmp_path / "access.toml"
        part = tmp_path / "part"
        part.write_text(content)
        part.chmod(0o600)
        part.replace(path)
        return path

    return write


def as_toml(users: Sequence[Rights]) -> str:
    """An access file in which user N has the token N."""
    lines = []
    for number, rights in enumerate(users):
        lines += ["[[user]]", f'name = "{number}"', f'tokens = ["{hash_token(str(number))}"]']
        for grant in rights:
            given = {name: value for name, value in asdict(grant).items() if value}
            lines += ["[[user.allow]]", *(f"{k} = {json.dumps(v)}" for k, v in given.items())]
    return "\n".join(lines)


def everything_asked(
    server: Any, token: str, keys: Sequence[str], threads: Sequence[str]
) -> list[tuple[int, Any, bytes]]:
    """All that somebody may ask of every endpoint."""
    paths = ["/about", "/health", "/metrics"]
    for query in (*QUERIES, "secret03", "from:ann", "-budget", 'in:board "pizza"'):
        for more in ("&mode=text&facets=1", "&mode=vector&by_thread=1", "&facets=1&k=3"):
            paths.append(f"/search?q={quote(query)}{more}")
    paths += [f"/similar?key={quote(key)}&k=4" for key in keys]
    paths += [f"/thread?name={name}" for name in threads]
    answers = [server.ask("GET", path, token=token) for path in paths]
    answers.append(server.ask("POST", "/v1/embeddings", {"input": "budget"}, token=token))
    return answers


def test_no_endpoint_tells_anything_of_what_may_not_be_read(
    running: Any, model: Path, tmp_path: Path, write: Callable[[str], Path]
) -> None:
    """The answers are those of a server that has only what may be read, for random corpora."""
    everything, allowed = tmp_path / "all", tmp_path / "permitted"
    embedder = Remembering(model)
    for folder in (everything, allowed):
        shutil.copytree(model, folder / "model")
        build_index(folder / "index.db", random_corpus(random.Random(0)), embedder, Silent())
    access = Access(AccessFile(write(as_toml([()]))).users, loopback=True)
    forbidden = 0
    with running(everything, access=access) as server, running(allowed) as reference:
        for seed in range(CORPORA):
            chance = random.Random(seed)
            corpus = random_corpus(chance)
            users = [random_rights(chance) for _ in range(READERS)]
            build_index(everything / "index.db", corpus, embedder, Silent())
            write(as_toml(users))
            keys = [passage.key for passage in corpus] + ["document-02", "<03@example.org>"]
            for number, rights in enumerate(users):
                own = permitted(corpus, rights)
                build_index(allowed / "index.db", own, embedder, Silent())
                threads = thread_names(corpus, own)
                given = everything_asked(server, str(number), keys, threads)
                expected = everything_asked(reference, TOKEN, keys, threads)
                assert given[2][0] == 403  # /metrics counts what others ask
                given[2] = expected[2]
                secrets = {one.text.split()[-1] for one in corpus} - {
                    one.text.split()[-1] for one in own
                }
                forbidden += len(secrets)
                for (status, _, content), (wanted, _, reply) in zip(given, expected, strict=True):
                    assert status == wanted, (seed, rights, content)
                    assert near(json_of(content)) == json_of(reply), (seed, rights)
                    for secret in secrets - {"secret03"}:  # which a query names
                        assert secret.encode() not in content
    assert forbidden > 5 * CORPORA


def json_of(content: bytes) -> Any:
    """Parsed, without error messages, which name DIR, and without metrics."""
    answer = json.loads(content) if content.startswith(b"{") else None
    return "error" if answer and "error" in answer else answer


def test_a_changed_file_counts_at_once_and_a_wrong_one_lets_nobody_in(
    running: Any, folder: Path, write: Callable[[str], Path]
) -> None:
    def status(token: str | None, path: str = "/search?q=pizza") -> int:
        return int(server.ask("GET", path, token=token)[0])

    access = Access(AccessFile(write(ACCESS)).users, loopback=True)
    with running(folder, access=access) as server:
        assert [status(one) for one in (ALICE, BOARD, MONITOR, "no", None)] == [200] * 3 + [401] * 2
        assert [status(one, "/metrics") for one in (ALICE, BOARD, MONITOR)] == [403, 403, 200]
        assert json.loads(server.ask("GET", "/search?q=pizza", token=MONITOR)[2])["hits"] == []
        assert json.loads(server.ask("GET", "/about", token=ALICE)[2])["passages"] == 0
        assert json.loads(server.ask("GET", "/about", token=BOARD)[2])["passages"] == 8
        path = write(ACCESS.replace(hash_token(ALICE), hash_token("another")))
        assert (status(ALICE), status("another"), status(BOARD)) == (401, 200, 200)
        write(ACCESS.replace("archive/open", "mail.mbox"))
        assert json.loads(server.ask("GET", "/about", token=ALICE)[2])["passages"] == 8
        write(ACCESS.replace("everything = true", "everything = maybe"))
        assert [status(one) for one in (ALICE, BOARD, None)] == [503] * 3
        assert (status(None, "/health/live"), status(None, "/")) == (200, 200)
        path.unlink()
        assert status(BOARD) == 503
        write(ACCESS)
        assert status(BOARD) == 200
        path.chmod(0o640)
        assert status(BOARD) == 503


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (("everything = true", "everythin = true"), "user.2.everythin"),
        (('sources = ["archive/open"]', "sources = []"), "user.1.allow.1.sources"),
        (('sources = ["archive/open"]', ""), "user alice: A grant without a condition"),
        (('sources = ["archive/open"]', 'since = "soon"'), "user alice: soon: not a date"),
        (("sha256:", "md5:"), "user.1.tokens.1"),
        (("[[user]]", "[[user"), "not a TOML file"),
        (('"monitor"', '"alice"'), "user alice: the name occurs twice"),
        ((hash_token(BOARD), hash_token(ALICE)), "user board: another user has the same token"),
        (("metrics = true", "metrics = true\neverything = true\n[[user.allow]]\nsince='2001'"), "exclude"),
        (("metrics = true", 'metrics = true\n[proxy]\ntrusted = ["nginx"]'), "nginx is neither"),
        (("metrics = true", 'metrics = true\n[proxy]\ntrusted = ["0.0.0.0/0"]'), "this machine"),
        (("metrics = true", 'metrics = true\n[proxy]\ntrusted = ["::1"]'), "this machine"),
    ],
)  # fmt: skip
def test_a_wrong_access_file_is_named(
    write: Callable[[str], Path], change: tuple[str, str], expected: str
) -> None:
    path = write(ACCESS.replace(*change))
    with pytest.raises(UserError, match=expected) as raised:
        read_users(path)
    assert str(path) in str(raised.value)


def test_only_a_trusted_proxy_names_the_user(write: Callable[[str], Path]) -> None:
    networks = '[proxy]\ntrusted = ["192.0.2.7", "2001:db8::/64"]'
    access = Access(AccessFile(write(f"{ACCESS}\n{networks}")).users, loopback=False)
    host = (b"host", b"mail")

    def name(address: str | None, *headers: tuple[bytes, bytes]) -> str | int:
        try:
            user = access.admit((host, *headers), address, needs_user=True)
        except Refused as error:
            return int(error.status)
        return user.name if user else ""

    alice = (b"x-forwarded-user", b"alice")
    assert name("192.0.2.7", alice) == "alice"
    assert name("::ffff:192.0.2.7", alice) == "alice"
    assert name("2001:db8::9", alice) == "alice"
    assert [name(one, alice) for one in ("192.0.2.8", "127.0.0.1", "::1", None)] == [401] * 4
    assert name("192.0.2.7") == 401
    assert name("192.0.2.7", (b"x-forwarded-user", b"nobody")) == 403
    assert name("192.0.2.7", (b"x-forwarded-user", b"")) == 403
    assert name("192.0.2.7", alice, (b"x-forwarded-user", b"board")) == 400
    # A token counts more than a name, wherever it comes from.
    assert name("192.0.2.7", alice, (b"authorization", f"Bearer {BOARD}".encode())) == "board"
    assert name("192.0.2.7", alice, (b"authorization", b"Bearer wrong")) == "alice"


def test_a_proxy_on_a_unix_socket_and_the_audit_log(
    folder: Path, tmp_path: Path, write: Callable[[str], Path]
) -> None:
    path, audit = tmp_path / "mail.sock", tmp_path / "audit.log"
    allowed = ACCESS.replace("archive/open", "mail.mbox")
    file = write(allowed + '[proxy]\ntrusted = ["unix"]')
    options = ("--unix-socket", str(path), "--access", str(file), "--audit-log", str(audit))

    def ask(target: str, header: str) -> bytes:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(path))
            head = f"GET {target} HTTP/1.1\r\nHost: mail\r\nConnection: close\r\n{header}\r\n"
            connection.sendall(head.encode())
            with connection.makefile("rb") as answer:
                return answer.read()

    with command(str(folder), *options) as served:
        assert served.link == f"unix:{path}"
        found = ask("/search?q=pizza&k=2", "X-Forwarded-User: alice\r\n")
        assert b" 200 " in found[:20]
        hits = json.loads(found.partition(b"\r\n\r\n")[2])["hits"]
        ask("/thread?name=key-lunch", f"Authorization: Bearer {BOARD}\r\n")
        ask("/similar?key=key-lunch-or-a-secret", "X-Forwarded-User: monitor\r\n")
        assert b" 401 " in ask("/search?q=pizza", "")[:20]
        assert b" 200 " in ask("/health", "")[:20]
    lines = [json.loads(line) for line in audit.read_text().splitlines()]
    assert [(one["user"], one["path"], one["status"]) for one in lines] == [
        ("alice", "/search", 200), ("board", "/thread", 200), ("monitor", "/similar", 404),
    ]  # fmt: skip
    assert lines[0]["passages"] == [hit["key"] for hit in hits]
    assert lines[0]["documents"] == [hit["identifier"] for hit in hits]
    assert (lines[0]["address"], lines[2]["passages"]) == ("unix", [])
    assert lines[0]["time"].endswith("+00:00")
    assert not any(word in audit.read_text() for word in ("pizza", "secret", BOARD))
    assert audit.stat().st_mode & 0o777 == 0o600


def test_the_audit_log_rotates_and_loses_no_line(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    logs = [AuditLog(path, most_bytes=400, kept=40) for _ in range(4)]  # as of four processes

    def write(number: int) -> None:
        for again in range(20):
            logs[number].write({"line": number * 20 + again, "filler": "x" * 50})

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    files = [path, *(tmp_path / f"audit.log.{number}" for number in range(1, 41))]
    files = [one for one in files if one.exists()]
    assert all(one.stat().st_size <= 400 for one in files)
    assert all(one.stat().st_mode & 0o777 == 0o600 for one in files)
    lines = [json.loads(line)["line"] for one in files for line in one.read_text().splitlines()]
    assert sorted(lines) == list(range(80))
    for again in range(400):
        logs[0].write({"line": again, "filler": "x" * 50})
    assert not (tmp_path / "audit.log.41").exists()


def test_nothing_is_answered_that_cannot_be_recorded(
    running: Any, folder: Path, tmp_path: Path
) -> None:
    audit = tmp_path / "folder" / "audit.log"
    audit.parent.mkdir()
    with running(folder, audit=audit) as server:
        assert server.ask("GET", "/search?q=pizza")[0] == 200
        shutil.rmtree(audit.parent)
        status, _, content = server.ask("GET", "/search?q=pizza")
        assert (status, b"audit log" in content, b"lunch" in content) == (503, True, False)
        assert server.ask("GET", "/health")[0] == 200
    readable = tmp_path / "readable.log"
    readable.touch(0o644)
    with pytest.raises(UserError, match="others can read it"):
        AuditLog(readable)


def customir(*arguments: str) -> "subprocess.CompletedProcess[str]":
    code = "import sys; from customir.cli import main; sys.argv[0] = 'customir'; main()"
    environment = {name: value for name, value in os.environ.items() if name != "CUSTOMIR_TOKEN"}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True,
        env=environment, timeout=120, check=False,
    )  # fmt: skip


def test_tokens_are_made_and_files_checked(folder: Path, write: Callable[[str], Path]) -> None:
    made = json.loads(customir("access", "token", "--json").stdout)
    assert made["hash"] == hash_token(made["token"])
    file = write(ACCESS)
    rows = json.loads(customir("access", "check", str(folder), str(file), "--json").stdout)
    assert [(row["user"], row["documents"], row["metrics"]) for row in rows] == [
        ("alice", 0, False), ("board", 8, False), ("monitor", 0, True),
    ]  # fmt: skip
    assert "8 documents  board" in customir("access", "check", str(folder), str(file)).stdout
    file.chmod(0o644)
    done = customir("access", "check", str(folder), str(file))
    assert (done.returncode, "chmod 600" in done.stderr) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--port", "0", "--access", "{file}", "--token-file", "{file}"), "cannot be combined"),
        (("--port", "0", "--access", "{file}.missing"), "cannot be read"),
        (("--port", "0", "--unix-socket-group", "root"), "only for --unix-socket"),
        (("--unix-socket", "{file}.s", "--unix-socket-group", "root"), "--access or --token-file"),
        (("--unix-socket", "{file}.s", "--unix-socket-group", "no-such"), "no-such"),
        (("--port", "0", "--audit-log", "{file}/audit"), "cannot be written"),
    ],
)
def test_the_command_names_what_is_wrong(
    folder: Path, write: Callable[[str], Path], arguments: tuple[str, ...], expected: str
) -> None:
    file = str(write(ACCESS))
    done = customir("serve", str(folder), *(one.format(file=file) for one in arguments))
    assert (done.returncode, expected in done.stderr) == (2, True), done.stderr
    assert "Traceback" not in done.stderr
