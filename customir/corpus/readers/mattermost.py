"""Mattermost's bulk export: JSON lines, by themselves or in a zip file."""

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from customir.corpus.document import RawDocument, Unreadable
from customir.corpus.readers.chat import Said, conversations
from customir.corpus.readers.streams import lines_of
from customir.corpus.readers.trees import open_tree

FAULTS = (ValueError, RecursionError, TypeError, KeyError, AttributeError, OverflowError, OSError)
POSTS = ("post", "direct_post")


def matches(head: bytes, name: str) -> bool:
    """Whether a file that begins with `head` is a bulk export: its first line gives a version."""
    try:
        first = json.loads(head.lstrip(b"\xef\xbb\xbf\r\n\t ").partition(b"\n")[0])
    except (ValueError, RecursionError):
        return False
    return isinstance(first, dict) and first.get("type") == "version" and "version" in first


def count(path: Path) -> int:
    """How many items `read` gives."""
    return sum(1 for _ in read(path, ""))


def read(path: Path, name: str) -> Iterator[RawDocument | Unreadable]:
    """The conversations of every channel: posts with their replies, and those without by time."""
    yield from _read(lines_of(path), name)


class Archive:
    """The same in a zip file."""

    def matches(self, names: Sequence[str]) -> bool:
        """Whether an archive with files of these names may be one: one JSONL file at the top."""
        return len(_at_top(names)) == 1

    def count(self, path: Path) -> int:
        """How many items `read` gives."""
        return sum(1 for _ in self.read(path, ""))

    def read(self, path: Path, name: str) -> Iterator[RawDocument | Unreadable]:
        """As the function `read`."""
        yield from _read_archive(path, name)


def _read_archive(path: Path, name: str) -> Iterator[RawDocument | Unreadable]:
    with open_tree(path) as tree:
        yield from (Unreadable(f"{name}/{below}", why) for below, why in tree.refused)
        (export,) = _at_top(tree.names)
        content = tree.read(export)
        if matches(content[: 1 << 16], export):
            yield from _read(enumerate(content.split(b"\n"), start=1), f"{name}/{export}")
        else:
            yield Unreadable(name, "no format that can be read")


def _at_top(names: Sequence[str]) -> list[str]:
    return [name for name in names if name.endswith(".jsonl") and "/" not in name]


def _read(
    lines: Iterable[tuple[int, bytes | str]], name: str
) -> Iterator[RawDocument | Unreadable]:
    channels: dict[str, list[Said]] = {}
    for number, line in lines:
        if isinstance(line, str):
            yield Unreadable(f"{name}: line {number}", line)
        elif line.strip():
            try:
                row = json.loads(line)
                if row["type"] in POSTS:
                    where, messages = _post(row[row["type"]], number)
                    channels.setdefault(where, []).extend(messages)
            except FAULTS as error:
                yield Unreadable(f"{name}: line {number}", f"not a line of an export: {error!r}")
    for where, messages in channels.items():
        yield from conversations(messages, f"{name}/{where}")


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
