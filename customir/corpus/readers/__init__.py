"""Readers, one a format. Each gives RawDocuments or RawMails, and an Unreadable for the rest.

A format is a module with three functions: `matches(head, name)` looks at the first bytes of a
file, `read(path, name)` streams its documents, `count(path)` says how many there will be, not
counting attachments. The formats that are folders or archives look at the names of the files.
"""

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from customir.corpus.document import RawDocument, RawMail, Unreadable
from customir.corpus.readers import (
    docx,
    eml,
    irc,
    jsonl,
    mattermost,
    mbox,
    outlook,
    pdf,
    slack,
    slackxml,
    table,
    text,
    web,
    zulip,
)
from customir.corpus.readers.message import read_message
from customir.corpus.readers.streams import head_of
from customir.corpus.readers.trees import TreeError, is_archive, open_tree

FORMATS_HELP = (
    "an mbox file, a mail in a file (.eml, .msg, Maildir, no extension), an Outlook store (.pst), "
    "JSON lines with `_id`, `title` and `text` (.jsonl), a table with named columns (.csv), "
    "a chat export (Slack, Zulip, Mattermost, IRC log), text (.txt, .md, .html, .pdf, .docx), "
    "many also as .gz, or a folder of these"
)


class Reader(Protocol):
    """What every module of a format offers."""

    def count(self, path: Path) -> int: ...

    def read(self, path: Path, name: str) -> Iterator[RawDocument | RawMail | Unreadable]: ...


class FileFormat(Reader, Protocol):
    """A format that a file's first bytes show."""

    def matches(self, head: bytes, name: str) -> bool: ...


class TreeFormat(Reader, Protocol):
    """A format that the names of the files in a folder or archive show."""

    def matches(self, names: Sequence[str]) -> bool: ...


# In the order in which they are asked; the surest signs first.
FILE_FORMATS: tuple[FileFormat, ...] = (
    mbox, outlook, pdf, slackxml, mattermost, jsonl, eml, table, web, irc, text,
)  # fmt: skip
TREE_FORMATS: tuple[TreeFormat, ...] = (slack, zulip)
# These are never folders: a folder of files is read file by file.
ARCHIVE_FORMATS: tuple[TreeFormat, ...] = (*TREE_FORMATS, docx, mattermost.Archive())


def format_of(path: Path) -> Reader | None:
    """The format of a file, by its content, and by its name only where that leaves it open.

    Raises:
        TreeError: it is an archive that can't be opened.
    """
    head = head_of(path)
    if is_archive(head):
        with open_tree(path) as tree:
            names = tree.names
        return next((each for each in ARCHIVE_FORMATS if each.matches(names)), None)
    return next((each for each in FILE_FORMATS if each.matches(head, path.name)), None)


def read_source(source: Path) -> Iterator[RawDocument | Unreadable]:
    """Every document of a file or folder, in an order that depends on nothing but names."""
    for item in read_unparsed(source):
        yield from parsed(item)


def parsed(item: RawDocument | RawMail | Unreadable) -> Iterable[RawDocument | Unreadable]:
    """The documents of an item: a mail and its attachments, or the item itself."""
    return read_message(item.content, item.name) if isinstance(item, RawMail) else (item,)


def read_unparsed(source: Path) -> Iterator[RawDocument | RawMail | Unreadable]:
    """The same as `read_source`, with mail that is still to be parsed."""
    for path, name, found in _units(source):
        if isinstance(found, str):
            yield Unreadable(name, found)
            continue
        try:
            yield from found.read(path, name)
        except (OSError, TreeError) as error:
            yield Unreadable(name, _why(error))


def count_source(source: Path) -> int:
    """How many items `read_source` gives, attachments left out: for the progress bar."""
    total = 0
    for path, _, found in _units(source):
        try:
            total += 1 if isinstance(found, str) else found.count(path)
        except (OSError, TreeError):
            total += 1
    return total


def any_readable(source: Path) -> bool:
    """Whether anything in a folder is of a format that is read."""
    return any(not isinstance(found, str) for _, _, found in _units(source))


def regular_files(source: Path) -> Iterator[tuple[Path, str]]:
    """The files that are read, each with its path below `source`."""
    walk = _files(source, whole_exports=False)
    return ((path, name) for path, name, found in walk if not isinstance(found, str))


def _units(source: Path) -> Iterator[tuple[Path, str, Reader | str]]:
    """(path, path below the source, its format or why it is not read), sorted by name."""
    for path, name, found in _files(source, whole_exports=True):
        unit: Reader | str | None = found
        if found is None:
            try:
                unit = format_of(path)
                if unit is None:
                    empty = path.stat().st_size == 0
                    unit = "empty file" if empty else "no format that can be read"
            except (OSError, TreeError) as error:
                unit = _why(error)
        assert unit is not None
        yield path, name, unit


def _why(error: OSError | TreeError) -> str:
    return f"can't be opened: {error.strerror}" if isinstance(error, OSError) else str(error)


def _files(
    source: Path, *, whole_exports: bool
) -> Iterator[tuple[Path, str, TreeFormat | str | None]]:
    """Every file below `source`, with why it is not read, or None.

    `whole_exports`: a folder that is an export comes as one, with its format, not file by file.
    """
    if not source.is_dir():
        yield source, source.name, None
        return
    for folder, folders, names in os.walk(source):
        below = Path(folder)
        export = next((each for each in TREE_FORMATS if each.matches(names)), None)
        if export and whole_exports:
            folders.clear()
            yield below, str(below.relative_to(source)) if below != source else source.name, export
            continue
        if {"cur", "new", "tmp"} <= set(folders):
            folders.remove("tmp")  # Maildir: mail that is still being delivered
        folders.sort()
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
                yield path, name, None
