"""Readers, one module per format. CONTRIBUTING.md explains how to add one.

A reader is a module with a function that recognises its format and one that reads it. There are
three kinds of formats, each with a registry (registry.py, documents.py):

- a file of many documents (mbox, JSON lines, a chat log): `matches(head, name)`, `read(file)`;
- a file that is one document (PDF, HTML, text): `matches(head, name)` or, if it is a zip file,
  `matches_names(names)`, and `read_document(content)`. These also read attachments of mail;
- a folder or archive that is one export (Slack, Zulip): `matches_names(names)`, `read(tree, name)`.

`head` is the unpacked beginning of the file, and `name` is its name in lower case.
"""

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import IO

from customir.corpus.document import RawDocument, RawMail, Unreadable
from customir.corpus.readers.archives import (
    DAMAGE,
    MAXIMUM_FILE,
    FileTree,
    folder_tree,
    is_archive,
    open_archive,
)
from customir.corpus.readers.documents import document_reader, zipped_document_reader
from customir.corpus.readers.files import ReadError, SourceFile
from customir.corpus.readers.message import read_message
from customir.corpus.readers.options import ReadOptions
from customir.corpus.readers.registry import ExportReader, export_reader, stream_reader
from customir.corpus.readers.unwanted import cause_by_path

__all__ = [
    "FORMATS_HELP",
    "Position",
    "ReadOptions",
    "is_readable",
    "parsed",
    "read_source",
    "read_unparsed",
    "regular_files",
]

FORMATS_HELP = (
    "an mbox file, a mail in a file (.eml, .emlx, .msg, Maildir, MH, no extension), an Outlook "
    "store (.pst), JSON lines with `_id`, `title` and `text` (.jsonl), a table with named columns "
    "(.csv, .tsv), a chat export (Slack, Zulip, Mattermost, Telegram, WhatsApp, Discord, Teams, "
    "Signal, IRC log), a document (.txt, .md, .org, .rst, .html, .pdf, .docx, .odt, .rtf, .xlsx, "
    ".pptx, .epub, .ics, .vtt, .srt), a zip or tar file of these, many also as .gz, or a folder "
    "of these"
)
Item = RawDocument | RawMail | Unreadable
NO_FORMAT = "not a format that can be read"
EMPTY_FILE = "empty file"
# How many levels of archives within an archive are opened.
MAXIMUM_NESTING = 2
# An export is recognised by its first channels, so only this many folders are listed.
MAXIMUM_FOLDERS = 20


# These files mark a folder that `--out` created. Such a folder is not read, because its reports
# contain texts of the corpus.
WORKSPACE_NAMES = {"workspace.db", "workspace.lock"}
OWN_FILES = WORKSPACE_NAMES | {
    "workspace.db-wal", "workspace.db-shm", "index.db", "index.db-wal", "index.db-shm",
    "index.lock", "index.vectors", "report.md", "report.html", "customir.toml",
}  # fmt: skip
OWN_FOLDERS = {"generations", "model", "passage-model", "training", "check"}


@dataclass
class Position:
    """How far the files of the sources have been read, in bytes on disk."""

    finished: int = 0
    file: IO[bytes] | None = None

    @property
    def bytes_read(self) -> int:
        """The bytes read from all files so far, including the current one."""
        return self.finished + (self.file.tell() if self.file and not self.file.closed else 0)


def read_source(
    source: Path, options: ReadOptions | None = None
) -> Iterator[RawDocument | Unreadable]:
    """Every document of a file or folder, in an order that depends only on names."""
    options = options or ReadOptions()
    for item in read_unparsed(source, options):
        yield from parsed(item, options)


def parsed(item: Item, options: ReadOptions | None = None) -> Iterable[RawDocument | Unreadable]:
    """The documents of an item: for mail, the message and its attachments; else the item itself."""
    if isinstance(item, RawMail):
        return read_message(item, options or ReadOptions())
    return (item,)


def read_unparsed(
    source: Path, options: ReadOptions | None = None, position: Position | None = None
) -> Iterator[Item]:
    """The same as `read_source`, but mail is not parsed yet."""
    options, position = options or ReadOptions(), position or Position()
    for path, name, found in _walk(source, whole_exports=True):
        if isinstance(found, str):
            yield Unreadable(name, found)
            continue
        try:
            if found is not None:
                yield from found.read(folder_tree(path), name)
                position.finished += _size(path)
                continue
            with path.open("rb") as content:
                position.file = content
                file = SourceFile(name, content, path, options)
                # A file that the user names explicitly is wanted, whatever its name.
                cause = "" if path == source else cause_by_path(name)
                yield from _marked(_read_file(file, content), cause)
            position.finished += path.stat().st_size
        except OSError as error:
            yield Unreadable(name, f"cannot be opened: {error.strerror}")
        except ReadError as error:
            yield Unreadable(name, str(error))


def is_readable(source: Path) -> bool:
    """Whether a file, or any file in a folder, has a supported format.

    Raises:
        ReadError: the source is an archive that cannot be opened.
    """
    for path, _, found in _walk(source, whole_exports=True):
        if isinstance(found, str):
            continue
        try:
            if found is not None or _is_readable_file(path):
                return True
        except (OSError, ReadError):
            if path == source:
                raise
    return False


def regular_files(source: Path) -> Iterator[tuple[Path, str]]:
    """The files that are read, each with its path below `source`."""
    walk = _walk(source, whole_exports=False)
    return ((path, name) for path, name, found in walk if not isinstance(found, str))


def _marked(items: Iterator[Item], cause: str) -> Iterator[Item]:
    """The items of a file. If there is a cause, its mail is marked as unwanted for that cause."""
    if not cause:
        yield from items
        return
    for item in items:
        if isinstance(item, RawMail) or (isinstance(item, RawDocument) and item.is_mail):
            yield replace(item, unwanted=cause)
        else:
            yield item


def _read_file(file: SourceFile, content: IO[bytes], nesting: int = 0) -> Iterator[Item]:
    """The items of a file. Its format is known by its content, and by its name if that is unclear.

    Args:
        content: The same file from its beginning, to open it as an archive.
    """
    if is_archive(file.head):
        if file.path is None:
            content = BytesIO(file.read_all(MAXIMUM_FILE))
        yield from _read_archive(file, content, nesting)
    elif stream := stream_reader(file.head, file.format_name):
        yield from stream.read(file)
    elif reader := document_reader(file.head, file.format_name):
        yield reader.read_document(file.as_content())
    elif file.head or file.read_block():
        yield Unreadable(file.name, NO_FORMAT)
    else:
        yield Unreadable(file.name, EMPTY_FILE)


def _read_archive(archive: SourceFile, content: IO[bytes], nesting: int) -> Iterator[Item]:
    name = archive.name
    with open_archive(content) as tree:
        if zipped := zipped_document_reader(tree.names):
            content.seek(0)
            yield zipped.read_document(
                SourceFile(name, content, None, archive.options).as_content()
            )
        elif export := export_reader(tree.names):
            yield from export.read(tree, name)
        elif nesting > MAXIMUM_NESTING:
            yield Unreadable(name, "an archive in an archive in an archive, not opened")
        else:
            yield from (Unreadable(f"{name}/{below}", why) for below, why in tree.refused)
            for member in tree.names:
                yield from _read_member(tree, member, archive, nesting)


def _read_member(tree: FileTree, member: str, archive: SourceFile, nesting: int) -> Iterator[Item]:
    name = f"{archive.name}/{member}"
    try:
        with tree.open(member) as content:
            file = SourceFile(name, content, None, archive.options)
            yield from _marked(_read_file(file, content, nesting + 1), cause_by_path(member))
    except DAMAGE as error:
        yield Unreadable(name, f"damaged file: {error}")
    except ReadError as error:
        yield Unreadable(name, str(error))


def _is_readable_file(path: Path) -> bool:
    with path.open("rb") as content:
        file = SourceFile(path.name, content, path)
        if not is_archive(file.head):
            known = stream_reader(file.head, file.format_name) or document_reader(
                file.head, file.format_name
            )
            return known is not None
        return any(not isinstance(item, Unreadable) for item in _read_archive(file, content, 0))


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path, _ in regular_files(folder))


def _walk(
    source: Path, *, whole_exports: bool
) -> Iterator[tuple[Path, str, ExportReader | str | None]]:
    """Every file below `source`: (path, path below the source, why it is not read, or None).

    If `whole_exports`, a folder that is an export is yielded as one item with its reader, instead
    of file by file.
    """
    if not source.is_dir():
        yield source, source.name, None
        return
    for folder, folders, names in os.walk(source):
        below = Path(folder)
        if set(names) >= WORKSPACE_NAMES:
            if below != source:
                folders.clear()
                yield below, str(below.relative_to(source)), "a folder of CustomIR, not read"
                continue
            # The source folder is also the workspace: skip only the workspace's own files.
            folders[:] = [each for each in folders if each not in OWN_FOLDERS]
            names = [each for each in names if each not in OWN_FILES]
        export = export_reader(_names_below(below, names, folders)) if whole_exports else None
        if export:
            folders.clear()
            yield below, str(below.relative_to(source)) if below != source else source.name, export
            continue
        if {"cur", "new", "tmp"} <= set(folders):
            folders.remove("tmp")  # Maildir: mail that is being delivered
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


def _names_below(folder: Path, names: list[str], folders: list[str]) -> list[str]:
    """The names that identify an export: of the files in a folder and one level below."""
    below = [
        f"{each}/{entry.name}"
        for each in folders[:MAXIMUM_FOLDERS]
        if not (folder / each).is_symlink()
        for entry in os.scandir(folder / each)
    ]
    return [*names, *below]
