"""What is printed cannot command a terminal, nor show other letters than are there."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hostile_text import HOSTILE, SEQUENCES, run

from customir.terminal import one_line, printable


def test_controls_and_overrides_become_visible() -> None:
    shown = printable(f"a\tb\n{HOSTILE}é ü 你好 \u200fשלום \udce9")
    assert shown == (
        "a\tb\n\\u001b]52;c;ZXZpbA==\\u0007\\u001b[2J\\u009b31mred\\u007f\\u000d\\u202egnp.exe"
        "\\u2066\\u2069\\u2028é ü 你好 \u200fשלום \\udce9"
    )
    assert one_line("a\tb\nc") == "a\\u0009b\\u000ac"


def test_json_keeps_its_meaning() -> None:
    text = json.dumps({"title": HOSTILE}, ensure_ascii=False)
    assert json.loads(printable(text)) == {"title": HOSTILE}
    assert not set(printable(text)) & set("\x1b\x9b\x7f\u202e\u2066\u2028")


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """DIR after ingest of one mail that is full of controls."""
    folder = tmp_path_factory.mktemp("hostile")
    mail = (
        "From ada@x.org Mon Jan  6 10:00:00 2025\nMessage-ID: <1@x>\n"
        "From: =?utf-8?q?Ada=1B]0=3Bowned=07=E2=80=AE?= <ada@x.org>\n"
        "Subject: =?utf-8?q?Mills=1B[2J=C2=9B31m?=\nContent-Type: text/plain; charset=utf-8\n\n"
        f"The mill turns all night {HOSTILE} and grinds the corn of the whole village.\n"
    )
    (folder / "in.mbox").write_text(mail)
    run("ingest", str(folder / "in.mbox"), "--out", str(folder / "out"))
    return folder / "out"


def test_show_prints_no_escape_sequence_of_a_mail(hostile: Path) -> None:
    shown = run("show", str(hostile), "1@x")
    assert "\\u001b]52;c;" in shown
    assert "owned" in shown
    assert not set(shown) & set("\x1b\x07\x9b\x7f\u202e\u2066\u2028")


def test_json_of_show_holds_no_escape_sequence(hostile: Path) -> None:
    shown = run("show", str(hostile), "1@x", "--json")
    assert not set(shown) & set("\x1b\x07\x9b\x7f\u202e\u2066\u2028")
    assert "\x1b]52" in json.loads(shown)[0]["original"]


def test_analyze_and_status_print_no_escape_sequence_of_a_mail(
    hostile: Path, minilm: Path, smollm: Path
) -> None:
    settings = hostile / "customir.toml"
    llm = f'llm = "{smollm}"'
    settings.write_text(re.sub(r"(?m)^llm = .*$", llm, settings.read_text()))
    shown = run("analyze", str(hostile))
    assert "1 topics:" in shown
    for output in (shown, run("status", str(hostile))):
        assert not any(sequence in output for sequence in SEQUENCES)


def test_an_error_prints_none() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "customir", "status", "nowhere\x1b[31m"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "\\u001b[31m" in done.stderr
    assert "\x1b" not in done.stderr
