"""Every supported format, in the order in which they are tried: the surest signs come first."""

from collections.abc import Iterator, Sequence
from typing import Protocol

from customir.corpus.document import RawDocument, RawMail, Unreadable
from customir.corpus.readers import (
    discord,
    discord_package,
    eml,
    emlx,
    irc,
    jsonl,
    mattermost,
    mbox,
    outlook,
    signal_export,
    slack,
    slack_day,
    slack_xml,
    table,
    teams,
    telegram,
    whatsapp,
    zulip,
)
from customir.corpus.readers.archives import FileTree
from customir.corpus.readers.files import SourceFile


class StreamReader(Protocol):
    """A reader of files that contain many documents, or mail."""

    def matches(self, head: bytes, name: str) -> bool: ...

    def read(self, file: SourceFile) -> Iterator[RawDocument | RawMail | Unreadable]: ...


class ExportReader(Protocol):
    """A reader of folders and archives that form one export."""

    def matches_names(self, names: Sequence[str]) -> bool: ...

    def read(self, tree: FileTree, name: str) -> Iterator[RawDocument | Unreadable]: ...


STREAM_READERS: tuple[StreamReader, ...] = (
    mbox, outlook, slack_xml, mattermost, slack_day, telegram, discord, teams, signal_export, jsonl,
    emlx, eml, whatsapp, table, irc,
)  # fmt: skip
EXPORT_READERS: tuple[ExportReader, ...] = (slack, zulip, discord_package)


def stream_reader(head: bytes, name: str) -> StreamReader | None:
    """The reader of a file that begins with `head`; `name` is in lower case."""
    return next((each for each in STREAM_READERS if each.matches(head, name)), None)


def export_reader(names: Sequence[str]) -> ExportReader | None:
    """The reader of a folder or archive with files of these names."""
    return next((each for each in EXPORT_READERS if each.matches_names(names)), None)
