"""Makes text safe for a terminal: characters that control it or mislead its reader become visible.

Mail is written by strangers. An escape sequence in it can retitle a terminal's window, fill its
clipboard or hide lines, and a bidirectional override shows other letters than are there (CVE-2021-
42574). Everything that is printed goes through here.
"""

import re

import click

# C0 controls but tab and newline, DEL and C1 controls, line and paragraph separators,
# bidirectional embeddings, overrides and isolates, and halves of surrogate pairs.
_CONTROLS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
_LINE_ENDS = re.compile("[\t\n]")


def printable(text: str) -> str:
    r"""`text` with control characters as `\u001b`; tabs and newlines stay.

    JSON text keeps its meaning, because `\u001b` stands for that character in it.
    """
    return _CONTROLS.sub(_visible, text)


def one_line(text: str) -> str:
    """`printable`, with tabs and newlines made visible, too: for a field of a line or a table."""
    return _LINE_ENDS.sub(_visible, printable(text))


def echo(text: object, err: bool = False) -> None:
    """Print a line, or lines, to stdout or stderr."""
    click.echo(printable(str(text)), err=err)


def _visible(found: re.Match[str]) -> str:
    return f"\\u{ord(found.group()):04x}"
