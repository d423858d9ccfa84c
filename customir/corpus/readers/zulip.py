"""Zulip's export, as a folder or a tar file (gzipped or not), by channel and topic."""

from collections.abc import Iterator, Sequence
from typing import Any

from customir.corpus.document import RawDocument, Unreadable
from customir.corpus.readers.archives import FileTree
from customir.corpus.readers.chat import Channel, ChatMessage
from customir.corpus.readers.files import ReadError
from customir.corpus.readers.json_chat import FAULTS, load_json, time_of

STREAM = 2


def matches_names(names: Sequence[str]) -> bool:
    """Whether a folder or archive with files of these names is a Zulip export."""
    return "realm.json" in names and any(_holds_messages(name) for name in names)


def read(tree: FileTree, name: str) -> Iterator[RawDocument | Unreadable]:
    """The conversations of every topic and of every group of people, cut at long silences."""
    yield from (Unreadable(f"{name}/{below}", why) for below, why in tree.refused)
    try:
        people, places = _directory(tree)
    except (ReadError, *FAULTS) as error:
        yield Unreadable(f"{name}/realm.json", f"not a list of people and channels: {error}")
        return
    topics: dict[tuple[str, str], Channel] = {}
    for each in sorted(filter(_holds_messages, tree.names)):
        try:
            rows = load_json(tree.read(each))["zerver_message"]
            numbered = list(enumerate(rows, start=1))
        except (ReadError, *FAULTS) as error:
            yield Unreadable(f"{name}/{each}", f"not a file of messages: {error}")
            continue
        for number, row in numbered:
            try:
                # Each group of people has its own recipient id, so their messages stay separate.
                place = places.get(row["recipient"], f"direct messages {row['recipient']}")
                speaker = people.get(row["sender"], "unknown")
                topic = str(row["subject"])
                message = ChatMessage(speaker, time_of(row["date_sent"]), str(row["content"]))
            except FAULTS as error:
                yield Unreadable(f"{name}/{each}: message {number}", f"not a message: {error!r}")
                continue
            topics.setdefault((place, topic), Channel(topic)).add(message)
    for (place, topic), channel in topics.items():
        yield from channel.documents("/".join(part for part in (name, place, topic) if part))


def _holds_messages(name: str) -> bool:
    return name.startswith("messages-") and name.endswith(".json")


def _directory(tree: FileTree) -> tuple[dict[Any, str], dict[Any, str]]:
    """The names of people by user id, and of channels by recipient id."""
    realm = load_json(tree.read("realm.json"))
    people = {
        user["id"]: str(user.get("full_name") or user.get("email"))
        for kind in ("zerver_userprofile", "zerver_userprofile_crossrealm")
        for user in realm.get(kind, ())
    }
    channels = {each["id"]: str(each["name"]) for each in realm.get("zerver_stream", ())}
    places = {
        each["id"]: channels.get(each["type_id"], f"channel {each['type_id']}")
        for each in realm.get("zerver_recipient", ())
        if each["type"] == STREAM
    }
    return people, places
