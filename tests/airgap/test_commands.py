"""Every command blocks the network, and says where the corpus is sent by an earlier choice."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from mail import write_mailbox

from customir.cli import cli

pytestmark = pytest.mark.slow

# Runs a command that fails for want of data, then tells whether the kernel filters this process.
RUN_AND_TELL = """
import re, sys
from customir.cli import cli
from customir.errors import UserError
try:
    cli(sys.argv[1:], standalone_mode=False)
except UserError as error:
    print(f"UserError: {error}", file=sys.stderr)
print(re.search(r"^Seccomp:\\t(\\d)", open("/proc/self/status").read(), re.MULTILINE)[1])
"""
# With what each command gets as far as its own work; DIR is an empty folder.
ARGUMENTS = {
    "access check": ["DIR", "no-such-file"],
    "access token": [],
    "adapt": ["--out", "DIR"],
    "analyze": ["DIR"],
    "backup": ["DIR", "DIR/backup.tar"],
    "check": ["DIR", "DIR"],
    "doctor": [],
    "evaluate": ["DIR"],
    "export": ["DIR"],
    "generate": ["DIR"],
    "index": ["DIR"],
    "ingest": ["--out", "DIR"],
    "mine": ["DIR"],
    "models add": ["no-such-folder", "--name", "new"],
    "models convert": ["no-such-folder", "new", "--pooling", "mean"],
    "models list": [],
    "models optimize": ["no-such-model"],
    "models path": ["no-such-model"],
    "models remove": ["no-such-model"],
    "models verify": ["no-such-model"],
    "privacy": ["DIR"],
    "purge": ["DIR", "--before", "2019", "--yes"],
    "report": ["DIR", "report.md"],
    "restore": [__file__, "DIR"],
    "rollback": ["DIR"],
    "search": ["DIR", "query"],
    "serve": ["DIR", "--port", "0"],
    "show": ["DIR", "id"],
    "status": ["DIR"],
    "train": ["DIR"],
    "verify": ["DIR"],
}
SECCOMP_FILTERS = "2"


def customir(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "customir", *map(str, arguments)], capture_output=True, text=True
    )


def test_each_command_is_in_the_table() -> None:
    names = {
        f"{name} {inner}".strip()
        for name, command in cli.commands.items()
        for inner in getattr(command, "commands", [""])
    }
    assert names - {"models fetch"} == set(ARGUMENTS)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's part is for Linux")
@pytest.mark.parametrize("name", ARGUMENTS)
def test_kernel_filters_each_command(name: str, tmp_path: Path) -> None:
    given = [argument.replace("DIR", str(tmp_path)) for argument in ARGUMENTS[name]]
    done = subprocess.run(
        [sys.executable, "-c", RUN_AND_TELL, *name.split(), *given], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == SECCOMP_FILTERS


# No name server knows it.
SERVER_BY_NAME = "http://customir.invalid:8080"


@pytest.fixture(scope="module")
def with_named_server(tmp_path_factory: pytest.TempPathFactory, minilm: Path) -> Path:
    folder = tmp_path_factory.mktemp("named")
    mail = write_mailbox(folder / "mail.mbox", threads=16)
    done = customir("ingest", mail, "--out", folder / "out", "--llm-url", SERVER_BY_NAME)
    assert done.returncode == 0, done.stderr
    return folder / "out"


@pytest.mark.parametrize("command", ["train", "evaluate", "export", "index"])
def test_server_by_name_is_no_matter_where_no_llm_is_used(
    command: str, with_named_server: Path
) -> None:
    done = customir(command, with_named_server)
    if command == "index":  # after `ingest` it indexes with the base
        assert done.returncode == 0, done.stderr
    else:
        assert "comes before" in done.stderr
    assert "customir.invalid" not in done.stderr


def test_server_of_the_settings_is_named_before_text_is_sent(with_named_server: Path) -> None:
    done = customir("generate", with_named_server)
    assert done.returncode == 2
    warning, *_, error = done.stderr.splitlines()
    assert warning.startswith(
        f"Text of the corpus is sent to {SERVER_BY_NAME}, because llm_urls in "
    )
    assert "unencrypted" in warning
    assert "no LLM server is left" in error
    assert "customir.invalid:8080: [Errno" in error

    given = customir("generate", with_named_server, "--llm-url", SERVER_BY_NAME)
    assert "Text of the corpus" not in given.stderr


@pytest.mark.parametrize("planted", ["", "customir.toml"])
def test_server_that_others_may_have_chosen_is_refused(
    planted: str, with_named_server: Path
) -> None:
    path = with_named_server / planted
    mode = path.stat().st_mode
    try:
        path.chmod(mode | 0o020)
        done = customir("generate", with_named_server)
        assert done.returncode == 2
        assert f"{path}: other users can write to it" in done.stderr
        assert "no LLM server is left" not in done.stderr
        # Whoever names the server on the command line has made the choice.
        given = customir("generate", with_named_server, "--llm-url", SERVER_BY_NAME)
        assert "no LLM server is left" in given.stderr
    finally:
        (with_named_server / planted).chmod(mode)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_server_in_another_user_s_folder_is_refused(with_named_server: Path) -> None:
    settings = with_named_server / "customir.toml"
    try:
        os.chown(settings, 65534, -1)
        done = customir("analyze", with_named_server)
        assert done.returncode == 2
        assert f"{settings}: belongs to another user" in done.stderr
    finally:
        os.chown(settings, os.geteuid(), -1)
