"""The command line: every command explains itself, and every mistake of the user's is named."""

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import click
import pytest
from mail import THINGS, write_mailbox
from terminals import on_terminal, visible

from customir.cli import cli
from customir.cli.options import Examples


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


@pytest.mark.parametrize(("path", "command"), [((), cli), *commands()], ids=str)
def test_help_fits_80_columns_and_its_examples_are_not_wrapped(
    path: tuple[str, ...], command: click.Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with click.Context(command, info_name=" ".join(("customir", *path))) as context:
        lines = command.get_help(context).splitlines()
    assert max(map(len, lines)) <= 80
    cut_off = [line for line in lines if line.startswith("  ") and line.endswith("...")]
    assert cut_off == []
    examples = getattr(command, "examples", "").strip().splitlines()
    assert {f"  {example.strip()}" for example in examples} <= set(lines)


def test_a_wide_table_fits_80_columns() -> None:
    row = [
        "evaluate",
        "under way",
        "12345.6",
        "embedding 120000/120000, query 720/720, judging 9/9",
    ]
    script = f"from customir.cli.output import print_table; print_table([{['x'] * 5}, {[*row, 'not measured yet']}])"
    _, shown = on_terminal(script, columns=80, stdout=True)
    lines = visible(shown).splitlines()
    assert max(map(len, lines)) <= 80
    assert " ".join(row).split() == [
        word for word in " ".join(row).split() if word in visible(shown)
    ], "no word is cut"


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


MESSY = {
    "<no-text@x>": b"Content-Type: image/png\nContent-Transfer-Encoding: base64\n\niVBORw0KGgo=\n",
    "<charset@x>": b"Content-Type: text/plain; charset=utf-99\n\nThe parcel for J\xf6rg is here.\n",
    "<mime@x>": b"Content-Type: multipart/mixed; boundary=never\n\nThe boundary is missing.\n",
    "<nul@x>": b"Content-Type: text/plain\n\nThe roof\0 leaks above the archive.\n",
    "<large@x>": (
        b"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain\n\nThe film "
        b"of the factory tour is attached.\n--b\nContent-Type: video/mp4\n"
        b"Content-Transfer-Encoding: base64\n\n"
        + b"QUJD" * 19
        + b"\n"
        + b"QUJDQUJD\n" * 3_400_000
        + b"--b--\n"
    ),
    "<quotes@x>": b"In-Reply-To: <0.0@example.org>\n\n> nothing but a quote\n",
}


@pytest.mark.slow
def test_mail_in_any_state_is_kept_or_listed(tmp_path: Path) -> None:
    mail = write_mailbox(tmp_path / "mail.mbox", threads=20)
    with mail.open("ab") as file:
        for identifier, message in MESSY.items():
            head = b"Subject: odd one\n" if identifier != "<nul@x>" else b""
            file.write(b"\nFrom a@b Tue Oct  1 10:00:00 2024\nFrom: A B <a@b>\n" + head)
            file.write(b"Message-ID: " + identifier.encode() + b"\n" + message)
    out = tmp_path / "out"
    result = run("ingest", mail, "--out", out, "--llm", "smollm2-135m")
    assert result.returncode == 0, result.stderr
    report = (out / "report.md").read_text()
    read = 60 + len(MESSY) + 1  # the film, which has no name
    assert f"| read | {read} |" in report
    with closing(sqlite3.connect(out / "workspace.db")) as database:
        kept = {row[0] for row in database.execute("SELECT identifier FROM document")}
        skipped = {row[0] for row in database.execute("SELECT identifier FROM skipped")}
    assert len(kept) + len(skipped) == read
    assert {"<charset@x>", "<nul@x>", "<large@x>"} <= kept
    assert {"<no-text@x>", "<quotes@x>"} <= skipped
    for identifier in skipped:
        assert identifier in report


@pytest.mark.slow
def test_a_bad_line_of_jsonl_is_listed_by_its_number(tmp_path: Path) -> None:
    source = tmp_path / "corpus.jsonl"
    lines = [
        json.dumps(
            {"_id": str(number), "title": thing, "text": f"The {thing} is in room {number}."}
        )
        for number, thing in enumerate([*THINGS, *(f"second {thing}" for thing in THINGS)])
    ]
    source.write_text("\n".join([*lines[:3], "{not json", *lines[3:]]))
    out = tmp_path / "out"
    result = run("ingest", source, "--out", out, "--llm", "smollm2-135m")
    assert result.returncode == 0, result.stderr
    assert "line 4" in (out / "report.md").read_text()


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_the_gap_is_closed_in_every_command_but_models_fetch(tmp_path: Path) -> None:
    code = (
        "import sys, socket\n"
        "from customir import cli, errors\n"
        "try:\n    cli.cli(sys.argv[1:], standalone_mode=False)\n"
        "except (errors.UserError, SystemExit):\n    pass\n"
        "try:\n    socket.socket()\n"
        "except errors.UserError:\n    print('refused')\n"
        "else:\n    print('opened')\n"
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
        expected = "opened" if name == "models fetch" else "refused"
        assert result.stdout.splitlines()[-1:] == [expected], (name, result.stderr)
