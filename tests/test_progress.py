"""Progress goes to stderr: plain lines into a pipe, bars on a terminal, nothing on stdout."""

import re
import subprocess
import sys

import pytest
from terminals import on_terminal, visible

from customir import progress
from customir.progress import Plain, Silent

SCRIPT = """
from customir.progress import reporter_for_terminal
reporter = reporter_for_terminal()
reporter.say("[1/8] Reading [bold] mail")
with reporter.task("judging", total=4, unit="judgments") as task:
    for _ in range(2):
        task.advance(2)
"""


def test_into_a_pipe_go_plain_lines() -> None:
    run = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout == ""
    first, last = run.stderr.splitlines()
    assert first == "[1/8] Reading [bold] mail"
    assert last.startswith("  judging: 4/4 judgments, ")
    assert last.endswith("judgments/s, 0 s left")
    assert "\x1b" not in run.stderr


def test_on_a_terminal_there_is_a_bar_with_rate_and_end() -> None:
    printed, shown = on_terminal(SCRIPT, columns=140)
    assert printed == ""
    assert "Reading [bold] mail" in shown
    assert "\x1b[" in shown
    assert "judging" in shown
    assert "4/4" in shown
    assert "judgments/s" in shown


def test_bars_and_messages_fit_80_columns() -> None:
    script = (
        SCRIPT.replace("judging", "embedding self-supervised queries, weight 0.25")
        .replace("[1/8] Reading [bold] mail", "  three" * 20)
        .replace("total=4", "total=40000")
        .replace("advance(2)", "advance(20000)")
    )
    _, shown = on_terminal(script, columns=80)
    lines = visible(shown).splitlines()
    assert max(map(len, lines)) <= 80
    (bar,) = [line for line in lines if "40000/40000" in line]
    assert re.search(r"embedding self-\S*… .*/s [\d:]+ left", bar), "only the title is cut"
    assert all(line.startswith("  three") for line in lines if "three" in line)


def test_long_work_says_how_far_it_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "PLAIN_SECONDS", 0.0)
    with Plain().task("embedding", total=3, unit="texts") as task:
        task.advance()
        task.advance(2)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(",")[0].strip() for line in lines] == [
        "embedding: 1/3 texts",
        "embedding: 3/3 texts",
        "embedding: 3/3 texts",
    ]


def test_silent_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    silent = Silent()
    silent.say("x")
    with silent.task("y", total=1, unit="z") as task:
        task.advance()
    assert capsys.readouterr() == ("", "")


@pytest.mark.usefixtures("heeded_interrupts")
def test_a_swallowed_ctrl_c_ends_the_work_all_the_same() -> None:
    script = """
import signal
from customir.interrupt import note_interrupts
from customir.progress import Plain
note_interrupts()
with Plain().task("judging", total=4, unit="judgments") as task:
    task.advance()
    try:
        signal.raise_signal(signal.SIGINT)
    except BaseException:
        print("swallowed", flush=True)
    task.advance()
    print("went on")
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert run.stdout == "swallowed\n"
    assert "KeyboardInterrupt" in run.stderr


def test_an_ignored_ctrl_c_stays_ignored() -> None:
    script = """
import signal
from customir.interrupt import note_interrupts
signal.signal(signal.SIGINT, signal.SIG_IGN)
note_interrupts()
signal.raise_signal(signal.SIGINT)
print("went on")
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert run.stdout == "went on\n"
