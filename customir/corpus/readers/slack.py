"""Slack's own export, as a zip file or a folder, with a folder per channel and a file per day."""

import html
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from customir.corpus.document import RawDocument, Unreadable
from customir.corpus.readers.archives import FileTree
from customir.corpus.readers.chat import Channel, ChatMessage
from customir.corpus.readers.files import ReadError
from customir.corpus.readers.json_chat import (
    FAULTS,
    card_lines,
    dicts_in,
    load_json,
    text_in,
    time_of,
)

MARKUP = re.compile(r"<(?:([@#!])([^<>|]*)|([^<>|@#!][^<>|]*))(?:\|([^<>]*))?>")
# Lists beside the channels' folders. A tool's export may lack the list of users, or all lists.
LISTS = ("channels.json", "groups.json", "mpims.json", "dms.json")
OTHER_LISTS = frozenset(
    ("users.json", "canvases.json", "integration_logs.json", "lists.json", "org_users.json", *LISTS)
)
DAY_FILE = re.compile(r"(?:^|/)\d{4}-\d\d-\d\d\.json$")
NOTICES = ("channel_", "group_", "pinned_", "tombstone", "message_changed", "message_deleted")


def matches_names(names: Sequence[str]) -> bool:
    """Whether a folder or archive with files of these names is a Slack export."""
    lists = sum(each in names for each in (*LISTS, "users.json"))
    return lists > 1 or (lists == 1 and any(DAY_FILE.search(name) for name in names))


def read(tree: FileTree, name: str) -> Iterator[RawDocument | Unreadable]:
    """The conversations of every channel: its threads, and the messages outside of threads."""
    yield from (Unreadable(f"{name}/{below}", why) for below, why in tree.refused)
    people: dict[str, str] = {}
    for user in _users(tree):
        people[str(user.get("id"))] = _name(user.get("profile"), user) or str(user.get("id"))
    channels: dict[str, list[str]] = {}
    for each in sorted(tree.names):
        folder, _, day = each.rpartition("/")
        if folder and day.endswith(".json"):
            channels.setdefault(folder, []).append(each)
        elif each not in OTHER_LISTS:
            yield Unreadable(f"{name}/{each}", "no part of a Slack export that holds messages")
    for where, days in channels.items():
        channel = Channel()
        # Exports that overlap have messages twice, with the same time to the microsecond.
        known: set[ChatMessage] = set()
        for day in days:
            try:
                for message in messages_of(load_json(tree.read(day)), people):
                    channel.add(message if message not in known else None)
                    known.update([message] if message else [])
            except (ReadError, *FAULTS) as error:
                yield Unreadable(f"{name}/{day}", f"not a day of messages: {error}")
        yield from channel.documents(f"{name}/{where}")


def plain(text: str, people: Mapping[str, str]) -> str:
    """Slack's markup as it is shown: names in place of ids, addresses without brackets."""

    def shown(found: re.Match[str]) -> str:
        kind, target, address, label = found.groups()
        if kind == "@":
            return f"@{label or people.get(target, target)}"
        if kind == "!" and target.startswith("date^"):
            return label or target
        if kind:
            name = label or target.partition("^")[0]
            return name if name.startswith(("@", "#")) else f"{kind if kind == '#' else '@'}{name}"
        return f"{label} ({address})" if label and label != address else str(address)

    return html.unescape(MARKUP.sub(shown, text))


def _users(tree: FileTree) -> list[dict[str, Any]]:
    users: list[dict[str, Any]] = []
    for name in ("users.json", "org_users.json"):
        if name in tree.names:
            try:
                users += dicts_in({"rows": json.loads(tree.read(name))}, "rows")
            except (ReadError, ValueError, RecursionError):
                continue
    return users


def _name(profile: Any, user: dict[str, Any]) -> str:
    return text_in(profile, "display_name", "real_name", "name") or text_in(
        user, "real_name", "name"
    )


def messages_of(rows: Any, people: Mapping[str, str]) -> list[ChatMessage | None]:
    """The messages of a day; None for notices and damaged messages.

    Raises:
        TypeError: it is not a list.
    """
    if not isinstance(rows, list):
        raise TypeError("not a list of messages")
    # Guests of other companies are not in the list of users, but their messages give their names.
    guests = {
        str(row.get("user")): name
        for row in dicts_in({"rows": rows}, "rows")
        if (name := _name(row.get("user_profile"), {}))
    }
    known = {**guests, **people}
    return [_message_or_none(row, known) for row in rows]


def _message_or_none(row: Any, people: Mapping[str, str]) -> ChatMessage | None:
    """A message; None if it is a notice or damaged. Damage does not affect other messages."""
    try:
        return _message(row, people)
    except FAULTS:
        return None


def _message(row: dict[str, Any], people: Mapping[str, str]) -> ChatMessage | None:
    kind = str(row.get("subtype") or "")
    if row.get("type") != "message" or kind.startswith(NOTICES) or row.get("hidden"):
        return None
    text = text_in(row, "text")
    blocks = "\n".join(_block_lines(row))
    # The blocks of a person's message repeat its text. A bot's text may be only a summary of them.
    if not text or (kind == "bot_message" and len(blocks) > 2 * len(text)):
        text = blocks
    lines = [text]
    for attached in dicts_in(row, "attachments"):
        in_blocks = list(_block_lines(attached))
        shown = {
            key: value for key, value in attached.items() if key != "fallback" or not in_blocks
        }
        lines += [*card_lines(shown), *in_blocks]
    for file in dicts_in(row, "files"):
        lines += _file_lines(file)
    text = plain("\n".join(line for line in lines if line), people).strip()
    user = str(row.get("user") or row.get("bot_id") or "")
    bot = text_in(row.get("bot_profile"), "name")
    speaker = people.get(user) or text_in(row, "username") or bot or user or "unknown"
    return ChatMessage(speaker, time_of(row["ts"]), text, str(row.get("thread_ts") or ""))


def _file_lines(file: dict[str, Any]) -> Iterator[str]:
    yield f"[file: {text_in(file, 'name', 'title') or 'without a name'}]"
    # The text of mail sent to a channel, or the beginning of a text file.
    if text := text_in(file, "plain_text", "preview_plain_text", "preview"):
        yield text


def _block_lines(holder: dict[str, Any]) -> Iterator[str]:
    """The texts of Block Kit blocks; see https://docs.slack.dev/reference/block-kit/blocks."""
    for block in dicts_in(holder, "blocks"):
        kind = block.get("type")
        if kind == "rich_text":
            yield from filter(None, map(_rich_text, dicts_in(block, "elements")))
            continue
        for part in (block.get("text"), *dicts_in(block, "fields"), *dicts_in(block, "elements")):
            if text := part if isinstance(part, str) else _text_object(part):
                yield text
        if kind in ("image", "video") and (text := _text_object(block.get("title"))):
            yield text
        if kind == "table":
            for row in block.get("rows") or ():
                cells = (_rich_text(cell) or text_in(cell, "text") for cell in row)
                yield " | ".join(cells)


def _text_object(part: Any) -> str:
    inner = part.get("text") if isinstance(part, dict) else None
    return text_in(inner, "text") or text_in(part, "text")


def _rich_text(element: dict[str, Any]) -> str:
    """The text of an element of rich text: a section, a list, a quote, or an element in these."""
    kind = element.get("type")
    parts = dicts_in(element, "elements")
    if kind == "rich_text_list":
        return "\n".join(f"- {_rich_text(part)}" for part in parts)
    if parts:
        separator = "\n" if kind == "rich_text" else ""
        return separator.join(map(_rich_text, parts))
    if kind == "user":
        return f"<@{element.get('user_id')}>"
    if kind == "channel":
        return f"<#{element.get('channel_id')}>"
    if kind == "link":
        label, url = text_in(element, "text"), text_in(element, "url")
        return f"<{url}|{label}>" if label else url
    if kind == "emoji":
        return f":{element.get('name')}:"
    if kind == "broadcast":
        return f"@{element.get('range')}"
    return text_in(element, "text")
