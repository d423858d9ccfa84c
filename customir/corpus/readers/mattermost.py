"""Mattermost's bulk export: JSON lines, by themselves or in a zip file."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from customir.corpus.document import RawDocument, Unreadable
from customir.corpus.readers.chat import Said, conversations
from customir.corpus.readers.files import ReadError, SourceFile

FAULTS = (ValueError, RecursionError, TypeError, KeyError, AttributeError, OverflowError, OSError)
POSTS = ("post", "direct_post")


def matches(head: bytes, name: str) -> bool:
    """Whether a file that begins with `head` is a bulk export: its first line gives a version."""
    try:
        first = json.loads(head.lstrip(b"\xef\xbb\xbf\r\n\t ").partition(b"\n")[0])
    except (ValueError, RecursionError):
        return False
    return isinstance(first, dict) and first.get("type") == "version" and "version" in first


def read(file: SourceFile) -> Iterator[RawDocument | Unreadable]:
    """The conversations of every channel: posts with their replies, and those without by time."""
    channels: dict[str, list[Said]] = {}
    for number, line in file.lines():
        if isinstance(line, ReadError):
            yield Unreadable(f"{file.name}: line {number}", str(line))
        elif line.strip():
            try:
                row = json.loads(line)
                if row["type"] in POSTS:
                    where, messages = _post(row[row["type"]], number)
                    channels.setdefault(where, []).extend(messages)
            except FAULTS as error:
                yield Unreadable(
                    f"{file.name}: line {number}", f"not a line of an export: {error!r}"
                )
    for where, messages in channels.items():
        yield from conversations(messages, f"{file.name}/{where}")


def _post(post: dict[str, Any], number: int) -> tuple[str, list[Said]]:
    """(channel, the post and its replies); notices and posts without text left out."""
    if "channel" in post:
        where = f"{post.get('team')}/{post['channel']}"
    else:
        where = "direct/" + ",".join(sorted(map(str, post["channel_members"])))
    replies = post.get("replies") or []
    thread = str(number) if replies else ""
    found = [post, *replies]
    return where, [
        Said(
            str(each["user"]),
            datetime.fromtimestamp(each["create_at"] / 1000, UTC),
            str(each["message"]),
            thread,
        )
        for each in found
        if str(each["message"]).strip() and not str(each.get("type") or "").startswith("system_")
    ]
