"""Discord's data package: the messages of one account, with one folder per channel."""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from typing import Any

from customir.corpus.charsets import decode
from customir.corpus.document import RawDocument, Unreadable
from customir.corpus.readers.archives import FileTree
from customir.corpus.readers.chat import Channel, ChatMessage
from customir.corpus.readers.discord import file_name
from customir.corpus.readers.files import ReadError
from customir.corpus.readers.json_chat import FAULTS, dicts_in, load_json, text_in, time_of

# What a folder with the package holds at the top, where its channels are two levels below.
LISTS = {"account/user.json", "messages/index.json"}
MESSAGES = re.compile(r"(?:^|/)c?\d{15,20}/messages\.(json|csv)$", re.I)


def matches_names(names: Sequence[str]) -> bool:
    """Whether an archive or folder with files of these names is a data package."""
    lists = {name.lower() for name in names}
    return any(MESSAGES.search(name) for name in names) or lists >= LISTS


def read(tree: FileTree, name: str) -> Iterator[RawDocument | Unreadable]:
    """The conversations of every channel. The package lacks the messages of other people."""
    yield from (Unreadable(f"{name}/{below}", why) for below, why in tree.refused)
    speaker = _account(tree)
    for each in sorted(tree.names):
        found = MESSAGES.search(each)
        if not found:
            continue
        channel = Channel()
        try:
            for row in _rows(tree.read(each), found[1].lower()):
                channel.add(_message(row, speaker))
        except (ReadError, csv.Error, *FAULTS) as error:
            yield Unreadable(f"{name}/{each}", f"not a file of messages: {error}")
        yield from channel.documents(f"{name}/{each.rpartition('/')[0]}")


def _account(tree: FileTree) -> str:
    for each in tree.names:
        if each.lower().endswith("account/user.json"):
            try:
                return text_in(load_json(tree.read(each)), "global_name", "username") or "I"
            except ReadError:
                break
    return "I"


def _rows(content: bytes, kind: str) -> list[dict[str, Any]]:
    if kind == "json":
        return dicts_in({"rows": load_json(content)}, "rows")
    return list(csv.DictReader(io.StringIO(decode(content), newline="")))


def _message(row: dict[str, Any], speaker: str) -> ChatMessage:
    files = text_in(row, "Attachments").split()
    lines = [text_in(row, "Contents"), *(f"[file: {file_name(each)}]" for each in files)]
    return ChatMessage(speaker, time_of(row["Timestamp"]), "\n".join(filter(None, lines)))
