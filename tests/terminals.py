"""A terminal: what a program prints on one."""

import os
import pty
import re
import subprocess
import sys


def on_terminal(script: str, columns: int, *, stdout: bool = False) -> tuple[str, str]:
    """Run a script of Python whose stderr, or stdout, is a terminal of so many columns.

    Returns:
        What went to the other one, and what the terminal got.
    """
    ours, theirs = pty.openpty()
    streams = {"stdout": theirs if stdout else subprocess.PIPE}
    streams["stderr"] = subprocess.PIPE if stdout else theirs
    run = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "TERM": "xterm", "COLUMNS": str(columns)},
        **streams,
    )
    os.close(theirs)
    shown = b""
    try:
        while block := os.read(ours, 65536):
            shown += block
    except OSError:  # how Linux says that the other side is closed
        pass
    finally:
        os.close(ours)
    assert run.returncode == 0, (shown, run.stderr)
    return ((run.stderr if stdout else run.stdout) or b"").decode(), shown.decode()


def visible(shown: str) -> str:
    """The text without the sequences that colour it and move the cursor."""
    return re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", shown).replace("\r", "\n")
