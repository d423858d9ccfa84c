"""Microsoft Teams and Skype: an account's own export, and output of the Microsoft Graph API."""

import re
from collections.abc import Iterator
from typing import Any

from customir.corpus.document import RawDocument, Unreadable
from customir.corpus.readers.chat import Channel, ChatMessage
from customir.corpus.readers.files import ReadError, SourceFile
from customir.corpus.readers.html import html_to_text
from customir.corpus.readers.json_chat import (
    FAULTS,
    dicts_in,
    load_export,
    load_json,
    text_in,
    time_of,
)

EXPORT = re.compile(rb'"conversations"\s*:\s*\[')
EXPORT_SIGN = re.compile(rb'"(?:MessageList|exportDate)"\s*:')
GRAPH = re.compile(rb'"body"\s*:\s*\{[^{}]{0,2000}"contentType"\s*:')
GRAPH_SIGNS = (b'"createdDateTime"', b'"from"')
# Cards of bots. Their JSON is a text in the message.
CARD = "application/vnd.microsoft.card."
CARD_TEXTS = ("title", "subtitle", "summary", "text", "value")
# "RichText/Html" and "Text" in an account's export. Other types are calls, joins and the like.
TEXT_TYPES = ("richtext", "text")


def matches(head: bytes, name: str) -> bool:
    """Whether a file that begins with `head` is one of these formats."""
    if not head.lstrip(b"\xef\xbb\xbf \r\n\t").startswith((b"{", b"[")):
        return False
    is_export = EXPORT.search(head) and EXPORT_SIGN.search(head)
    is_graph = all(sign in head for sign in GRAPH_SIGNS) and GRAPH.search(head)
    return bool(is_export or is_graph)


def read(file: SourceFile) -> Iterator[RawDocument | Unreadable]:
    """The conversations of every chat and channel.

    Raises:
        ReadError: it is not JSON.
    """
    export = load_export(file)
    channels: dict[str, Channel] = {}
    for number, (where, row) in enumerate(_rows(export), start=1):
        try:
            message = _from_graph(row) if isinstance(row.get("body"), dict) else _from_export(row)
        except (ReadError, *FAULTS) as error:
            yield Unreadable(f"{file.name}: message {number}", f"not a message: {error!r}")
            continue
        channels.setdefault(where, Channel()).add(message)
    for where, channel in channels.items():
        yield from channel.documents(f"{file.name}/{where}")


def _rows(export: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """(conversation, message)"""
    for conversation in dicts_in(export, "conversations"):
        name = text_in(conversation, "displayName")
        where = " ".join(filter(None, [name, str(conversation.get("id") or "")]))
        yield from ((where, row) for row in dicts_in(conversation, "MessageList"))
    rows = {"value": export} if isinstance(export, list) else export
    for row in dicts_in(rows, "value") + dicts_in(rows, "messages"):
        place = row.get("channelIdentity")
        where = text_in(row, "chatId") or text_in(place, "channelId") or "messages"
        yield where, row


def _from_export(row: dict[str, Any]) -> ChatMessage | None:
    kind = str(row.get("messagetype") or "text").lower()
    if not kind.startswith(TEXT_TYPES):
        return None
    sender = str(row.get("from") or "unknown")
    speaker = text_in(row, "displayName", "imdisplayname") or sender.rpartition(":")[2]
    text = _text(text_in(row, "content"), is_html=True)
    return ChatMessage(speaker, time_of(row["originalarrivaltime"]), text)


def _from_graph(row: dict[str, Any]) -> ChatMessage | None:
    if row.get("messageType", "message") != "message" or row.get("deletedDateTime"):
        return None
    sender = row.get("from") or {}
    who = sender.get("user") or sender.get("application") or sender.get("emailAddress")
    lines = [text_in(row, "subject")]
    body = row["body"]
    lines.append(_text(text_in(body, "content"), is_html=body.get("contentType") == "html"))
    for attached in dicts_in(row, "attachments"):
        if name := text_in(attached, "name"):
            lines.append(f"[file: {name}]")
        if text_in(attached, "contentType").startswith(CARD):
            lines += _card_texts(load_json(text_in(attached, "content").encode()))
    return ChatMessage(
        text_in(who, "displayName", "name") or "unknown",
        time_of(row["createdDateTime"]),
        "\n".join(filter(None, lines)),
        str(row.get("replyToId") or ""),
    )


def _card_texts(card: Any) -> Iterator[str]:
    """The texts of a card and of the elements in it, in order."""
    if isinstance(card, list):
        for each in card:
            yield from _card_texts(each)
    elif isinstance(card, dict):
        yield from filter(None, (text_in(card, name) for name in CARD_TEXTS))
        for value in card.values():
            yield from _card_texts(value)


def _text(content: str, *, is_html: bool) -> str:
    return html_to_text(content).strip() if is_html and "<" in content else content
