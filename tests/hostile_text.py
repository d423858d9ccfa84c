"""Text that tries to command a terminal, and commands that run on one."""

import os
import pty
import subprocess
import sys

# Parts of it that would do something; colours of our own tables also begin with an escape.
SEQUENCES = ("\x1b]", "\x1b[2J", "\x07", "\x9b", "\x7f", "\u202e", "\u2066", "\u2028")
HOSTILE = "\x1b]52;c;ZXZpbA==\x07\x1b[2J\x9b31mred\x7f\r\u202egnp.exe\u2066\u2069\u2028"


def run(*command: str, status: int = 0) -> str:
    """What `customir` prints on a terminal, stdout and stderr together."""
    ours, theirs = pty.openpty()
    argv = [sys.executable, "-m", "customir", *command]
    with subprocess.Popen(argv, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        found = b""
        while True:
            try:
                found += os.read(ours, 65536)
            except OSError:  # what Linux gives at the end
                break
    os.close(ours)
    text = found.decode()
    assert process.returncode == status, text
    return text
