"""Slack channels in the XML of a research archive: <slack> with <message conversation_id>."""

import html
from collections.abc import Iterator
from datetime import UTC, datetime
from xml.etree.ElementTree import Element, ParseError, iterparse

from customir.corpus.document import RawDocument, Unreadable
from customir.corpus.readers.chat import ChatMessage, conversations
from customir.corpus.readers.files import DAMAGE, SourceFile
from customir.corpus.readers.slack import plain


def matches(head: bytes, name: str) -> bool:
    """Whether a file that begins with `head` is such an archive. Custom entities are refused."""
    return b"<slack>" in head[:4096] and b"<message" in head and b"<!" not in head[:4096]


def read(file: SourceFile) -> Iterator[RawDocument | Unreadable]:
    """The conversations as annotated by people (`conversation_id`)."""
    messages: list[ChatMessage] = []
    channel, number = "", 0
    try:
        for _, element in iterparse(file.stream):
            if element.tag == "channel_name":
                channel = element.text or ""
            if element.tag != "message":
                continue
            number += 1
            try:
                messages.append(_message(element))
            except ValueError as error:
                yield Unreadable(f"{file.name}: message {number}", f"not a message: {error}")
            element.clear()
    except (ParseError, *DAMAGE) as error:
        yield Unreadable(file.name, f"damaged file, nothing can be read after this: {error}")
    yield from conversations(messages, "/".join(part for part in (file.name, channel) if part))


def _message(message: Element) -> ChatMessage:
    time = datetime.fromisoformat(message.findtext("ts", ""))
    return ChatMessage(
        message.findtext("user") or "unknown",
        time.replace(tzinfo=time.tzinfo or UTC).astimezone(UTC),
        # The archive escaped the text again, which Slack had already escaped.
        plain(html.unescape(message.findtext("text", "")), {}),
        message.get("conversation_id", ""),
    )
