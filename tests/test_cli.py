"""The command line: every command explains itself, and every mistake of the user's is named."""

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from mail import write_mailbox

from customir.cli import Examples, cli

README = Path(__file__).parent.parent / "README.md"


def commands(
    group: click.Group = cli, before: tuple[str, ...] = ()
) -> list[tuple[tuple[str, ...], click.Command]]:
    found = []
    for name, command in group.commands.items():
        path = (*before, name)
        found += commands(command, path) if isinstance(command, click.Group) else [(path, command)]
    return found


def run(*arguments: str | Path, **more: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "customir.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        **more,  # type: ignore[call-overload]
    )


@pytest.mark.parametrize(("path", "command"), commands(), ids=lambda value: str(value))
def test_every_command_is_documented(path: tuple[str, ...], command: click.Command) -> None:
    assert isinstance(command, Examples)
    assert f"customir {' '.join(path)}" in command.examples
    assert command.help
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{path}: {parameter.name} has no help"
    mentioned = README.read_text()
    assert re.search(rf"customir {path[0]}\b", mentioned), f"README says nothing of {path[0]}"


def test_examples_in_the_help_are_whole_lines() -> None:
    result = run("search", "--help")
    assert 'customir search mail "invoice paid twice" -k 3 --mode vector\n' in result.stdout


@pytest.fixture
def unreadable(tmp_path: Path) -> dict[str, Path]:
    (tmp_path / "empty.mbox").write_bytes(b"")
    (tmp_path / "binary.mbox").write_bytes(bytes(range(256)) * 40)
    (tmp_path / "folder").mkdir()
    (tmp_path / "broken.jsonl").write_text("{\n")
    return {
        "missing": tmp_path / "no such file.mbox",
        "empty": tmp_path / "empty.mbox",
        "binary": tmp_path / "binary.mbox",
        "folder": tmp_path / "folder",
    }


@pytest.mark.parametrize("kind", ["missing", "empty", "binary", "folder"])
def test_a_source_that_cannot_be_read_is_refused_before_any_work(
    kind: str, unreadable: dict[str, Path], tmp_path: Path
) -> None:
    result = run("adapt", unreadable[kind], "--out", tmp_path / "out", "--llm", "smollm2-135m")
    assert result.returncode == 2
    assert str(unreadable[kind]) in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "out").exists()


def test_too_few_messages_says_how_many_it_needs(tmp_path: Path) -> None:
    mail = write_mailbox(tmp_path / "few.mbox", threads=1)
    result = run("adapt", mail, "--out", tmp_path / "out", "--llm", "smollm2-135m")
    assert result.returncode == 2
    assert "3 usable documents" in result.stderr
    assert "40 passages" in result.stderr


def test_a_model_that_is_not_here_names_the_command_that_gets_it(tmp_path: Path) -> None:
    mail = write_mailbox(tmp_path / "mail.mbox")
    result = run(
        "adapt", mail, "--out", tmp_path / "out",
        env={"CUSTOMIR_MODELS": str(tmp_path / "models"), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert result.returncode == 2
    assert "customir models fetch minilm" in result.stderr


def test_an_unknown_setting_names_the_field(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "customir.toml").write_text("[training]\nlearning_rat = 1\n")
    result = run("adapt", write_mailbox(tmp_path / "mail.mbox"), "--out", out)
    assert result.returncode == 2
    assert "training.learning_rat" in result.stderr


def test_a_stage_whose_forerunner_is_missing_names_it(tmp_path: Path) -> None:
    out = tmp_path / "out"
    mail = write_mailbox(tmp_path / "mail.mbox")
    assert run("ingest", mail, "--out", out, "--llm", "smollm2-135m").returncode == 0
    result = run("mine", out)
    assert result.returncode == 2
    assert f"customir generate {out}" in result.stderr


def test_status_without_a_workspace(tmp_path: Path) -> None:
    result = run("status", tmp_path)
    assert result.returncode == 2
    assert "customir adapt" in result.stderr


def test_search_without_an_index(tmp_path: Path) -> None:
    result = run("search", tmp_path, "anything")
    assert result.returncode == 2
    assert "Traceback" not in result.stderr


def test_the_gap_is_closed_in_every_command_but_models_fetch(tmp_path: Path) -> None:
    code = (
        "import sys, socket\n"
        "from customir import cli, errors\n"
        "try:\n    cli.cli(sys.argv[1:], standalone_mode=False)\n"
        "except (errors.UserError, SystemExit):\n    pass\n"
        "listener = socket.create_server(('127.0.0.1', 0))\n"
        "try:\n    socket.create_connection(listener.getsockname(), 2)\n"
        "except errors.UserError:\n    print('refused')\n"
        "else:\n    print('connected')\n"
    )
    lines = {
        "adapt": ["adapt", str(tmp_path / "none.mbox"), "--out", str(tmp_path / "out")],
        "search": ["search", str(tmp_path), "words"],
        "status": ["status", str(tmp_path)],
        "mine": ["mine", str(tmp_path)],
        "models list": ["models", "list"],
        "models fetch": ["models", "fetch", "no-such-model"],
    }
    for name, arguments in lines.items():
        result = subprocess.run(
            [sys.executable, "-c", code, *arguments], capture_output=True, text=True
        )
        expected = "connected" if name == "models fetch" else "refused"
        assert result.stdout.splitlines()[-1:] == [expected], (name, result.stderr)
