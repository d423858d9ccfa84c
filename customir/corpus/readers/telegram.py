"""Telegram Desktop's export in JSON, of one chat or of all chats."""

import re
from collections.abc import Iterator
from typing import Any

from customir.corpus.document import RawDocument, Unreadable
from customir.corpus.readers.chat import Channel, ChatMessage
from customir.corpus.readers.files import ReadError, SourceFile
from customir.corpus.readers.json_chat import FAULTS, dicts_in, load_export, text_in, time_of

KIND = re.compile(
    rb'"type"\s*:\s*"(?:personal_chat|bot_chat|saved_messages|(?:private|public)_(?:super)?group'
    rb'|(?:private|public)_channel)"'
)
MESSAGES = re.compile(rb'"messages"\s*:\s*\[')


def matches(head: bytes, name: str) -> bool:
    """Whether a file that begins with `head` is such an export."""
    return head.lstrip().startswith(b"{") and bool(KIND.search(head) and MESSAGES.search(head))


def read(file: SourceFile) -> Iterator[RawDocument | Unreadable]:
    """The conversations of every chat, cut at silences.

    Raises:
        ReadError: it is not such an export.
    """
    export = load_export(file)
    if not isinstance(export, dict):
        raise ReadError("not a Telegram export: no object")
    chats = [export] if "messages" in export else []
    for part in ("chats", "left_chats"):
        chats += dicts_in(export.get(part), "list")
    for number, chat in enumerate(chats, start=1):
        where = f"{file.name}/{text_in(chat, 'name') or chat.get('type')} {chat.get('id', number)}"
        channel = Channel()
        for row in dicts_in(chat, "messages"):
            try:
                channel.add(_message(row))
            except FAULTS as error:
                yield Unreadable(f"{where}: message {row.get('id')}", f"not a message: {error!r}")
        yield from channel.documents(where)


def _message(row: dict[str, Any]) -> ChatMessage | None:
    if row.get("type") != "message":
        return None
    lines = [_text(row.get("text"))]
    poll = row.get("poll")
    if isinstance(poll, dict):
        lines += [
            _text(poll.get("question")),
            *(_text(each.get("text")) for each in dicts_in(poll, "answers")),
        ]
    if file := text_in(row, "file_name") or _name_of_file(row):
        lines.append(f"[file: {file}]")
    lines += [text_in(row, "place_name"), text_in(row, "address")]
    if isinstance(contact := row.get("contact_information"), dict):
        lines.append(" ".join(map(str, filter(None, contact.values()))))
    speaker = text_in(row, "from", "from_id", "author") or "unknown"
    text = "\n".join(filter(None, lines))
    return ChatMessage(speaker, time_of(row.get("date_unixtime") or row["date"]), text)


def _name_of_file(row: dict[str, Any]) -> str:
    """The name of an exported file. Stickers and voice messages have names without a meaning."""
    path = text_in(row, "file") if "media_type" not in row else ""
    return "" if path.startswith("(") else path.rpartition("/")[2]


def _text(value: Any) -> str:
    """A text, which may be a list of pieces, some of them links or bold."""
    if isinstance(value, list):
        return "".join(map(_text, value))
    if isinstance(value, dict):
        shown, address = text_in(value, "text"), text_in(value, "href")
        return f"{shown} ({address})" if address and address != shown else shown
    return value if isinstance(value, str) else ""
