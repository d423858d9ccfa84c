"""Signal: data.json of signal-export, one message per line. whatsapp.py reads its chat.md."""

import json
from collections.abc import Iterator
from typing import Any

from customir.corpus.charsets import decode
from customir.corpus.document import RawDocument, Unreadable
from customir.corpus.readers.chat import Channel, ChatMessage
from customir.corpus.readers.files import ReadError, SourceFile
from customir.corpus.readers.json_chat import FAULTS, dicts_in, text_in, time_of

FIELDS = {"date", "sender", "body", "attachments"}


def matches(head: bytes, name: str) -> bool:
    """Whether a file that begins with `head` is a data.json of signal-export."""
    try:
        row = json.loads(head.partition(b"\n")[0])
    except (ValueError, RecursionError):
        return False
    return isinstance(row, dict) and row.keys() >= FIELDS


def read(file: SourceFile) -> Iterator[RawDocument | Unreadable]:
    """The conversations of the chat, cut at silences."""
    channel = Channel()
    for number, line in file.lines():
        if isinstance(line, ReadError):
            yield Unreadable(f"{file.name}: line {number}", str(line))
        elif line.strip():
            try:
                channel.add(_message(json.loads(decode(line, "utf-8"))))
            except FAULTS as error:
                yield Unreadable(f"{file.name}: line {number}", f"not a message: {error!r}")
    yield from channel.documents(file.name)


def _message(row: dict[str, Any]) -> ChatMessage:
    lines = [text_in(row, "body")]
    lines += [
        f"[file: {name}]"
        for each in dicts_in(row, "attachments")
        if (name := text_in(each, "name"))
    ]
    return ChatMessage(
        text_in(row, "sender") or "unknown", time_of(row["date"]), "\n".join(filter(None, lines))
    )
