"""Mattermost's bulk export: JSON lines in a file of their own or in a zip file."""

import json
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from customir.corpus.charsets import decode
from customir.corpus.document import RawDocument, Unreadable
from customir.corpus.readers.chat import Channel, ChatMessage
from customir.corpus.readers.files import ReadError, SourceFile
from customir.corpus.readers.json_chat import FAULTS, card_lines, dicts_in, text_in, time_of

POSTS = ("post", "direct_post")


def matches(head: bytes, name: str) -> bool:
    """Whether a file that begins with `head` is a bulk export. Its first line is a version."""
    try:
        first = json.loads(head.lstrip(b"\xef\xbb\xbf\r\n\t ").partition(b"\n")[0])
    except (ValueError, RecursionError):
        return False
    return isinstance(first, dict) and first.get("type") == "version" and "version" in first


def read(file: SourceFile) -> Iterator[RawDocument | Unreadable]:
    """The conversations of every channel: posts with replies, and other posts grouped by time."""
    channels: dict[str, Channel] = {}
    for number, line in file.lines():
        if isinstance(line, ReadError):
            yield Unreadable(f"{file.name}: line {number}", str(line))
        elif line.strip():
            try:
                row = json.loads(decode(line, "utf-8"))
                if row["type"] in POSTS:
                    post = row[row["type"]]
                    where, is_known = _channel(post, number)
                    messages = _messages(post, str(number) if not is_known else "", number)
                    channel = channels.setdefault(where, Channel())
                    for message in messages:
                        channel.add(message)
            except FAULTS as error:
                yield Unreadable(
                    f"{file.name}: line {number}", f"not a line of an export: {error!r}"
                )
    for where, channel in channels.items():
        yield from channel.documents(f"{file.name}/{where}")


def _channel(post: dict[str, Any], number: int) -> tuple[str, bool]:
    """The name of a post's channel, and whether the channel is known.

    Some exports omit the members of a direct channel. Such posts are never joined, because they may
    belong to different private conversations.
    """
    if "channel" in post:
        return f"{post.get('team')}/{post['channel']}", True
    members = [str(each) for each in post.get("channel_members") or []]
    members += [text_in(each, "username") for each in dicts_in(post, "participants")]
    members = sorted(set(filter(None, members)))
    if len(members) < 2 and members != [str(post.get("user"))]:
        return f"direct/unknown (line {number})", False
    return "direct/" + ",".join(members), True


def _messages(post: dict[str, Any], thread: str, number: int) -> list[ChatMessage | None]:
    """The post and its replies; None for notices."""
    replies = post.get("replies") or []
    thread = thread or (str(number) if replies else "")
    return [_message(each, thread) for each in (post, *replies)]


def _message(post: dict[str, Any], thread: str) -> ChatMessage | None:
    if str(post.get("type") or "").startswith("system_"):
        return None
    lines = [text_in(post, "message")]
    for card in dicts_in(post.get("props"), "attachments"):
        lines += card_lines(card)
    for attached in dicts_in(post, "attachments"):
        if path := text_in(attached, "path"):
            lines.append(f"[file: {PurePosixPath(path).name}]")
    text = "\n".join(filter(None, lines))
    return ChatMessage(str(post["user"]), time_of(post["create_at"]), text, thread)
