"""Zulip's export, as a folder or a (gzipped) tar file: messages by channel and topic."""

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from customir.corpus.document import RawDocument, Unreadable
from customir.corpus.readers.archives import FileTree
from customir.corpus.readers.chat import Said, conversations
from customir.corpus.readers.files import ReadError

STREAM = 2
FAULTS = (ReadError, ValueError, RecursionError, TypeError, KeyError, AttributeError, OverflowError)


def matches_names(names: Sequence[str]) -> bool:
    """Whether a folder or archive with files of these names is a Zulip export."""
    return "realm.json" in names and any(_holds_messages(name) for name in names)


def read(tree: FileTree, name: str) -> Iterator[RawDocument | Unreadable]:
    """The conversations of every topic and of every group of people, cut at long silences."""
    yield from (Unreadable(f"{name}/{below}", why) for below, why in tree.refused)
    try:
        people, places = _directory(tree)
    except FAULTS as error:
        yield Unreadable(f"{name}/realm.json", f"not a list of people and channels: {error}")
        return
    topics: dict[tuple[str, str], list[Said]] = {}
    for each in filter(_holds_messages, tree.names):
        try:
            rows = json.loads(tree.read(each))["zerver_message"]
        except FAULTS as error:
            yield Unreadable(f"{name}/{each}", f"not a file of messages: {error}")
            continue
        for number, row in enumerate(rows, start=1):
            try:
                place = places.get(row["recipient"], "direct messages")
                speaker = people.get(row["sender"], "unknown")
                time = datetime.fromtimestamp(float(row["date_sent"]), UTC)
                topic = str(row["subject"])
                said = Said(speaker, time, str(row["content"]))
            except (*FAULTS, OSError) as error:
                yield Unreadable(f"{name}/{each}: message {number}", f"not a message: {error!r}")
                continue
            topics.setdefault((place, topic), []).append(said)
    for (place, topic), messages in topics.items():
        where = "/".join(part for part in (name, place, topic) if part)
        yield from conversations(messages, where, topic)


def _holds_messages(name: str) -> bool:
    return name.startswith("messages-") and name.endswith(".json")


def _directory(tree: FileTree) -> tuple[dict[Any, str], dict[Any, str]]:
    """Names by user id, and channels' names by recipient id."""
    realm = json.loads(tree.read("realm.json"))
    people = {
        user["id"]: str(user.get("full_name") or user.get("email"))
        for kind in ("zerver_userprofile", "zerver_userprofile_crossrealm")
        for user in realm.get(kind, ())
    }
    channels = {each["id"]: str(each["name"]) for each in realm.get("zerver_stream", ())}
    places = {
        each["id"]: channels.get(each["type_id"], "unknown channel")
        for each in realm.get("zerver_recipient", ())
        if each["type"] == STREAM
    }
    return people, places
