"""Checks the sources before any work: whether they exist, are readable and have changed."""

from collections.abc import Sequence
from pathlib import Path

from customir.corpus.readers import FORMATS_HELP, is_readable, regular_files
from customir.corpus.readers.files import ReadError
from customir.errors import UserError
from customir.files import sha256_of
from customir.workspace import content_key


def check_sources(sources: Sequence[Path]) -> None:
    """Check that every source holds something that can be read.

    Raises:
        UserError: no source is given, or a source does not exist, is empty, has an unsupported
            format, or is a folder without a readable file. The message names the source and the
            formats.
    """
    if not sources:
        raise UserError(f"No source is given. A source is {FORMATS_HELP}.")
    for source in sources:
        try:
            _check(source)
        except OSError as error:
            raise UserError(f"{source}: cannot be read ({error.strerror}).") from error


def sources_fingerprint(sources: Sequence[Path]) -> str:
    """A content key of all files of the sources, their relative paths, and the sources' order.

    If the fingerprint is the same, reading again gives the same documents.
    """
    parts: list[str] = []
    for source in sources:
        parts.append(str(source))
        for path, name in regular_files(source):
            try:
                parts += [name, sha256_of(path)]
            except OSError as error:
                parts += [name, f"unreadable: {error.strerror}"]
    return content_key(*parts)


def _check(source: Path) -> None:
    try:
        str(source).encode()
    except UnicodeEncodeError as error:
        raise UserError(
            f"{str(source)!r}: its name is not UTF-8, so it cannot be written to the settings. Rename "
            "it, or give the folder that it is in."
        ) from error
    if not source.exists():
        raise UserError(f"{source}: no such file or folder. A source is {FORMATS_HELP}.")
    if source.is_dir():
        if not is_readable(source):
            raise UserError(
                f"{source}: nothing in this folder can be read. A source is {FORMATS_HELP}."
            )
        return
    if not source.is_file():
        raise UserError(f"{source}: not a regular file. A source is {FORMATS_HELP}.")
    if source.stat().st_size == 0:
        raise UserError(f"{source}: the file is empty. A source is {FORMATS_HELP}.")
    try:
        readable = is_readable(source)
    except ReadError as error:
        raise UserError(f"{source}: {error}. A source is {FORMATS_HELP}.") from error
    if not readable:
        raise UserError(
            f"{source}: not a format that can be read, whatever its name says. "
            f"A source is {FORMATS_HELP}."
        )
