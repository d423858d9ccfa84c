"""Readers, one a format. Each gives RawDocuments, and an Unreadable for all it can't use.

A format is a module with three functions: `matches(head, name)` looks at the first bytes of a
file, `read(path, name)` streams its documents, `count(path)` says how many there will be.
"""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from customir.corpus.document import RawDocument, Unreadable
from customir.corpus.readers import eml, jsonl, mbox, text
from customir.corpus.readers.streams import head_of

FORMATS_HELP = (
    "an mbox file, a mail in a file (.eml, Maildir, no extension), JSON lines with `_id`, `title` "
    "and `text` (.jsonl), text (.txt, .md), each also as .gz, or a folder of these"
)


class Format(Protocol):
    """What the modules of this package offer."""

    def matches(self, head: bytes, name: str) -> bool: ...

    def count(self, path: Path) -> int: ...

    def read(self, path: Path, name: str) -> Iterator[RawDocument | Unreadable]: ...


# In the order in which they are asked; the surest signs first.
FORMATS: tuple[Format, ...] = (mbox, jsonl, eml, text)


def format_of(path: Path) -> Format | None:
    """The format of a file, by its first bytes, and by its name only where these leave it open."""
    head = head_of(path)
    return next((each for each in FORMATS if each.matches(head, path.name)), None)


def read_source(source: Path) -> Iterator[RawDocument | Unreadable]:
    """Every document of a file or folder, in an order that depends on nothing but names."""
    for path, name, refusal in _files(source):
        if refusal:
            yield Unreadable(name, refusal)
            continue
        try:
            found = format_of(path)
            if found is None:
                empty = path.stat().st_size == 0
                yield Unreadable(name, "empty file" if empty else "no format that can be read")
            else:
                yield from found.read(path, name)
        except OSError as error:
            yield Unreadable(name, f"can't be opened: {error.strerror}")


def count_source(source: Path) -> int:
    """How many items `read_source` gives: one quick pass, for the progress bar."""
    total = 0
    for path, _, refusal in _files(source):
        found = None
        if not refusal:
            try:
                found = format_of(path)
                total += found.count(path) if found else 0
            except OSError:
                found = None
        total += found is None
    return total


def regular_files(source: Path) -> Iterator[tuple[Path, str]]:
    """The files that are read, each with its path below `source`."""
    return ((path, name) for path, name, refusal in _files(source) if not refusal)


def _files(source: Path) -> Iterator[tuple[Path, str, str]]:
    """(path, path below the source, why it is not read) of every file, sorted by name."""
    if not source.is_dir():
        yield source, source.name, ""
        return
    for folder, folders, names in os.walk(source):
        if {"cur", "new", "tmp"} <= set(folders):
            folders.remove("tmp")  # Maildir: mail that is still being delivered
        folders.sort()
        below = Path(folder)
        links = [each for each in folders if (below / each).is_symlink()]
        for each in sorted([*names, *links]):
            path = below / each
            name = str(path.relative_to(source))
            mode = path.lstat().st_mode
            if stat.S_ISLNK(mode):
                yield path, name, "a symbolic link, not followed"
            elif not stat.S_ISREG(mode):
                yield path, name, "not a regular file"
            else:
                yield path, name, ""
