"""Slack's own export, as a zip file or a folder: a folder a channel, a JSON file a day."""

import html
import json
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from customir.corpus.document import RawDocument, Unreadable
from customir.corpus.readers.archives import FileTree
from customir.corpus.readers.chat import Said, conversations
from customir.corpus.readers.files import ReadError

MARKUP = re.compile(r"<(?:([@#!])([^<>|]*)|([^<>|@#!][^<>|]*))(?:\|([^<>]*))?>")
# Lists beside the channels' folders, and where the names in them stand.
LISTS = ("channels.json", "groups.json", "mpims.json", "dms.json")


def matches_names(names: Sequence[str]) -> bool:
    """Whether a folder or archive with files of these names is a Slack export."""
    return "users.json" in names and any(each in names for each in LISTS)


def read(tree: FileTree, name: str) -> Iterator[RawDocument | Unreadable]:
    """The conversations of every channel: its threads, and what is said outside of them."""
    yield from (Unreadable(f"{name}/{below}", why) for below, why in tree.refused)
    people: dict[str, str] = {}
    for user in _rows(tree, "users.json"):
        profile = user["profile"] if isinstance(user.get("profile"), dict) else {}
        shown = profile.get("display_name") or profile.get("real_name") or user.get("name")
        people[str(user.get("id"))] = str(shown or user.get("id"))
    channels: dict[str, list[str]] = {}
    for each in tree.names:
        folder, _, day = each.rpartition("/")
        if folder and day.endswith(".json"):
            channels.setdefault(folder, []).append(each)
    for channel, days in channels.items():
        messages: list[Said] = []
        notices = 0
        for day in days:
            try:
                rows = json.loads(tree.read(day))
                found = [_said(row, people) for row in rows]
            except (ReadError, ValueError, RecursionError, TypeError, AttributeError) as error:
                yield Unreadable(f"{name}/{day}", f"not a day of messages: {error}")
                continue
            messages += [said for said in found if said]
            notices += found.count(None)
        yield from conversations(messages, f"{name}/{channel}")
        if notices:
            what = f"chat notices: {notices} joins, changes and messages without text"
            yield Unreadable(f"{name}/{channel}", what)


def plain(text: str, people: dict[str, str]) -> str:
    """Slack's markup as people see it: names for ids, addresses without brackets."""

    def shown(found: re.Match[str]) -> str:
        kind, target, address, label = found.groups()
        if kind == "@":
            return f"@{label or people.get(target, target)}"
        if kind:
            return f"{kind if kind == '#' else '@'}{label or target}"
        return f"{label} ({address})" if label and label != address else str(address)

    return html.unescape(MARKUP.sub(shown, text))


def _rows(tree: FileTree, name: str) -> list[dict[str, Any]]:
    try:
        rows = json.loads(tree.read(name))
    except (ReadError, ValueError, RecursionError):
        return []
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def _said(row: dict[str, Any], people: dict[str, str]) -> Said | None:
    """A message; None for notices and for what has neither text nor files."""
    kind = str(row.get("subtype") or "")
    if row.get("type") != "message" or kind.startswith(("channel_", "group_", "pinned_")):
        return None
    parts = [str(row.get("text") or "")]
    parts += [
        str(each.get("text") or each.get("fallback") or "") for each in _dicts(row, "attachments")
    ]
    parts += [f"[file: {each.get('name') or each.get('title')}]" for each in _dicts(row, "files")]
    text = plain("\n".join(part for part in parts if part), people).strip()
    if not text:
        return None
    user = str(row.get("user") or row.get("bot_id") or "")
    speaker = people.get(user) or str(row.get("username") or user or "unknown")
    time = datetime.fromtimestamp(float(row["ts"]), UTC)
    return Said(speaker, time, text, str(row.get("thread_ts") or ""))


def _dicts(row: dict[str, Any], name: str) -> list[dict[str, Any]]:
    value = row.get(name)
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
