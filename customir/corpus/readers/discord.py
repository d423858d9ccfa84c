"""Discord: JSON and CSV of DiscordChatExporter, one channel per file."""

import csv
import re
from collections.abc import Iterator
from typing import Any

from customir.corpus.charsets import decode
from customir.corpus.document import RawDocument, Unreadable
from customir.corpus.readers.chat import Channel, ChatMessage
from customir.corpus.readers.files import ReadError, SourceFile
from customir.corpus.readers.json_chat import FAULTS, dicts_in, load_export, text_in, time_of

JSON_START = re.compile(rb'\A(?:\xef\xbb\xbf)?\s*\{\s*"guild"\s*:\s*\{')
CSV_START = re.compile(rb'\A(?:\xef\xbb\xbf)?"?AuthorID"?,"?Author"?,"?Date"?,"?Content"?,', re.I)
# Replies, and a bot's answers to commands, are messages, too. Joins, pins and calls are not.
MESSAGE_TYPES = ("Default", "Reply", "0", "19", "20", "23")


def matches(head: bytes, name: str) -> bool:
    """Whether a file that begins with `head` is such an export."""
    return bool(JSON_START.match(head) or CSV_START.match(head))


def read(file: SourceFile) -> Iterator[RawDocument | Unreadable]:
    """The conversations of the channel, cut at silences.

    Raises:
        ReadError: it is not such an export.
    """
    channel = Channel()
    rows = _json_rows(file) if JSON_START.match(file.head) else _csv_rows(file)
    for number, row in enumerate(rows, start=1):
        try:
            channel.add(row if isinstance(row, ChatMessage) else _message(row))
        except FAULTS as error:
            yield Unreadable(f"{file.name}: message {number}", f"not a message: {error!r}")
    yield from channel.documents(file.name)


def _json_rows(file: SourceFile) -> Iterator[dict[str, Any]]:
    export = load_export(file)
    if not isinstance(export, dict):
        raise ReadError("not a Discord export: no object")
    yield from dicts_in(export, "messages")


def _csv_rows(file: SourceFile) -> Iterator[dict[str, Any]]:
    content = decode(file.read_all()).splitlines(keepends=True)
    try:
        for row in csv.DictReader(content):
            files = [each for each in (row.get("Attachments") or "").split(",") if each]
            yield {
                "author": {"name": row.get("Author")},
                "timestamp": row.get("Date"),
                "content": row.get("Content"),
                "attachments": [{"fileName": file_name(each)} for each in files],
            }
    except csv.Error as error:
        raise ReadError(f"not a table: {error}") from error


def file_name(address: str) -> str:
    """The name of the file at an address."""
    return address.partition("?")[0].rpartition("/")[2]


def _message(row: dict[str, Any]) -> ChatMessage | None:
    if str(row.get("type", "Default")) not in MESSAGE_TYPES:
        return None
    lines = [text_in(row, "content")]
    for card in dicts_in(row, "embeds"):
        lines += [text_in(card, name) for name in ("title", "description")]
        for each in dicts_in(card, "fields"):
            lines.append(f"{text_in(each, 'name')}: {text_in(each, 'value')}")
    for attached in dicts_in(row, "attachments"):
        if name := text_in(attached, "fileName"):
            lines.append(f"[file: {name}]")
    speaker = text_in(row.get("author"), "nickname", "name") or "unknown"
    return ChatMessage(speaker, time_of(row["timestamp"]), "\n".join(filter(None, lines)))
