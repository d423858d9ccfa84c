"""Chat exports on bytes as the programs write them: speakers, times, threads, silences."""

import io
import json
import re
import tarfile
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from customir.corpus.chunking import Chunker
from customir.corpus.document import RawDocument, Unreadable
from customir.corpus.readers import is_readable, read_source
from customir.corpus.readers.chat import ChatMessage, conversations
from customir.corpus.sources import check_sources, sources_fingerprint
from customir.errors import UserError

CHAT = Path(__file__).parents[3] / "shared" / "data" / "chat"
NOON = datetime(2024, 3, 1, 12, 0, tzinfo=UTC)
SECONDS = NOON.timestamp()


def read(path: Path) -> tuple[list[RawDocument], list[Unreadable]]:
    items = list(read_source(path))
    documents = [item for item in items if isinstance(item, RawDocument)]
    assert all(document.is_chat and document.date for document in documents)
    return documents, [item for item in items if isinstance(item, Unreadable)]


def said(minutes: float, speaker: str, text: str, thread: str = "") -> ChatMessage:
    return ChatMessage(speaker, NOON + timedelta(minutes=minutes), text, thread)


def test_turns_times_threads_and_silences() -> None:
    messages = [
        said(1440, "Ada", "Next day"),
        said(0, "Ada", "Who has\n\n\nthe key?"),
        said(1, "Ada", "The brass one."),
        said(2, "Bob", "Not I."),
        said(3, "Eve", "In thread", "t"),
        said(20, "Bob", "Found it."),
        said(3000, "Ada", "Thread goes on", "t"),
    ]
    first, thread, later = conversations(messages, "general")
    assert first.text == (
        "Ada 2024-03-01 12:00: Who has\nthe key?\nThe brass one.\n\nBob 12:02: Not I.\n\n"
        "Bob 12:20: Found it."
    )
    assert thread.text == (
        "Eve 2024-03-01 12:03: In thread\n\nAda 2024-03-03 14:00: Thread goes on"
    )
    assert later.text == "Ada 2024-03-02 12:00: Next day"
    assert (first.sender, first.date) == ("Ada, Bob", "2024-03-01T12:00:00+00:00")
    assert len({first.identifier, thread.identifier, later.identifier}) == 3


def test_a_channel_that_never_sleeps_is_cut_all_the_same() -> None:
    busy = [said(number / 4, f"p{number % 7}", f"line {number}") for number in range(900)]
    runs = list(conversations(busy, "busy"))
    assert len(runs) > 3
    assert sum(run.text.count("line") for run in runs) == 900


SLACK: dict[str, Any] = {
    "users.json": [
        {"id": "U1", "name": "ada", "profile": {"display_name": "Ada"}},
        {"id": "U2", "name": "bob", "profile": {"real_name": "Bob B."}},
    ],
    "channels.json": [{"id": "C1", "name": "general"}],
    "general/2024-03-01.json": [
        {"type": "message", "user": "U1", "ts": f"{SECONDS}", "text": "<@U2> see <https://x.org/a|the page> &amp; <#C1|general>", "thread_ts": f"{SECONDS}"},
        {"type": "message", "user": "U2", "ts": f"{SECONDS + 60}", "text": "Loose"},
        {"type": "message", "subtype": "channel_join", "user": "U2", "ts": f"{SECONDS + 70}", "text": "<@U2> has joined"},
        {"type": "message", "subtype": "bot_message", "username": "CI", "ts": f"{SECONDS + 80}", "text": "", "attachments": [{"fallback": "build 7 failed"}]},
        {"type": "message", "user": "U9", "ts": f"{SECONDS + 90}", "text": "", "files": [{"name": "plan.pdf"}]},
    ],
    "general/2024-03-02.json": [
        {"type": "message", "user": "U2", "ts": f"{SECONDS + 86400}", "text": "Answer", "thread_ts": f"{SECONDS}"},
    ],
}  # fmt: skip


def as_folder(path: Path, files: dict[str, Any]) -> Path:
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(json.dumps(content))
    return path


def as_zip(path: Path, files: dict[str, Any], root: str = "") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in files.items():
            packed.writestr(root + name, json.dumps(content))
    return path


def as_tar(path: Path, files: dict[str, Any], root: str = "export/") -> Path:
    with tarfile.open(path, "w:gz") as packed:
        for name, content in files.items():
            data = json.dumps(content).encode()
            member = tarfile.TarInfo(root + name)
            member.size = len(data)
            packed.addfile(member, io.BytesIO(data))
    return path


def test_slack_as_zip_and_folder(tmp_path: Path) -> None:
    packed = as_zip(tmp_path / "export.bin", SLACK)
    nested = as_zip(tmp_path / "nested.zip", SLACK, root="company/")
    below = tmp_path / "in"
    folder = as_folder(below / "slack", SLACK)
    (below / "note.txt").write_text("A note beside the export.")
    texts = []
    for path in (packed, nested, folder):
        (thread, loose), (notices,) = read(path)
        texts.append((thread.text, loose.text))
        assert notices.reason == "chat notices: 1 joins, leaves, changes, messages without text"
        assert is_readable(path.parent)
        check_sources([path])
    assert texts[0] == texts[1] == texts[2]
    assert texts[0] == (
        "Ada 2024-03-01 12:00: @Bob B. see the page (https://x.org/a) & #general\n\n"
        "Bob B. 2024-03-02 12:00: Answer",
        "Bob B. 2024-03-01 12:01: Loose\n\nCI 12:01: build 7 failed\n\nU9 12:01: [file: plan.pdf]",
    )
    inside = [item.identifier for item in read_source(below)]
    assert inside[0] == "note.txt"
    assert all(each.startswith("slack/general") for each in inside[1:])
    before = sources_fingerprint([below])
    (folder / "general" / "2024-03-02.json").write_text("[]")
    assert sources_fingerprint([below]) != before


ZULIP: dict[str, Any] = {
    "realm.json": {
        "zerver_userprofile": [{"id": 1, "full_name": "Ada"}, {"id": 2, "email": "bob@x"}],
        "zerver_stream": [{"id": 5, "name": "engines"}],
        "zerver_recipient": [{"id": 7, "type": 2, "type_id": 5}, {"id": 8, "type": 1, "type_id": 1}],
    },
    "messages-000001.json": {
        "zerver_message": [
            {"id": 1, "sender": 1, "recipient": 7, "subject": "mill speed", "content": "How fast?", "date_sent": SECONDS},
            {"id": 2, "sender": 2, "recipient": 7, "subject": "mill speed", "content": "Slow.", "date_sent": SECONDS + 1},
            {"id": 3, "sender": 2, "recipient": 8, "subject": "", "content": "Lunch?", "date_sent": SECONDS + 2},
            {"id": 4, "sender": 2, "recipient": 8, "content": "no subject field"},
        ]
    },
}  # fmt: skip


def test_zulip_as_tar_and_folder(tmp_path: Path) -> None:
    paths = (as_tar(tmp_path / "zulip.tar.gz", ZULIP), as_folder(tmp_path / "zulip", ZULIP))
    for path in paths:
        (topic, direct), (broken,) = read(path)
        assert topic.title == "mill speed"
        assert topic.text == "Ada 2024-03-01 12:00: How fast?\n\nbob@x 12:00: Slow."
        assert direct.text == "bob@x 2024-03-01 12:00: Lunch?"
        assert broken.identifier.endswith("message 4")


def test_mattermost_as_lines_and_zip(tmp_path: Path) -> None:
    millis = int(SECONDS * 1000)
    rows: list[dict[str, Any]] = [
        {"type": "version", "version": 1},
        {"type": "channel", "channel": {"team": "t", "name": "town"}},
        {"type": "post", "post": {"team": "t", "channel": "town", "user": "ada", "message": "Who?", "create_at": millis, "replies": [{"user": "bob", "message": "I.", "create_at": millis + 60_000}]}},
        {"type": "post", "post": {"team": "t", "channel": "town", "user": "eve", "message": "Loose", "create_at": millis}},
        {"type": "post", "post": {"team": "t", "channel": "town"}},
        {"type": "direct_post", "direct_post": {"channel_members": ["bob", "ada"], "user": "bob", "message": "Psst", "create_at": millis}},
    ]  # fmt: skip
    content = "".join(json.dumps(row) + "\n" for row in rows)
    lines = tmp_path / "export.txt"
    lines.write_text(content)
    packed = tmp_path / "export.zip"
    with zipfile.ZipFile(packed, "w") as file:
        file.writestr("import.jsonl", content)
        file.writestr("data/picture.png", b"\x89PNG")
    for path in (lines, packed):
        documents, (broken, *pictures) = read(path)
        assert [each.reason for each in pictures] == ["not a format that can be read"] * (
            path == packed
        )
        assert {document.text for document in documents} == {
            "ada 2024-03-01 12:00: Who?\n\nbob 12:01: I.",
            "eve 2024-03-01 12:00: Loose",
            "bob 2024-03-01 12:00: Psst",
        }
        assert "line 5" in broken.identifier


def test_irc_and_xml(tmp_path: Path) -> None:
    log = tmp_path / "2004-12-25.log"
    log.write_text(
        "=== ada has joined #x\n[23:58] <ada> hello?\n[23:59] <bob> yes <b>\n"
        "[00:01] <ada> new day\n* bob waves\n[25:99] <bob> no such time\n"
    )
    (talk,), (notices,) = read(log)
    assert talk.text == (
        "ada 2004-12-25 23:58: hello?\n\nbob 23:59: yes <b>\n\nada 2004-12-26 00:01: new day"
    )
    assert notices.reason == "chat notices: 3 joins, leaves, changes, messages without text"
    xml = tmp_path / "channel"
    xml.write_text(
        "<slack><channel_name>general</channel_name>"
        '<message conversation_id="1"><ts>2018-12-31T04:52:41.5</ts><user>Fred</user>'
        "<text>&lt;@Ada&gt; 127k -&amp;gt; 84k</text></message>"
        '<message conversation_id="2"><ts>never</ts><user>X</user><text>lost</text></message>'
        '<message conversation_id="1"><ts>2018-12-31T04:53:00</ts><user>Ada</user>'
        "<text>Fine</text></message><broken"
    )
    (talk,), faults = read(xml)
    assert talk.text == "Fred 2018-12-31 04:52: @Ada 127k -> 84k\n\nAda 04:53: Fine"
    assert [fault.reason.partition(":")[0] for fault in faults] == [
        "not a message", "damaged file, nothing can be read after this",
    ]  # fmt: skip
    xml.write_text('<!DOCTYPE a [<!ENTITY b "c">]><slack><message>&b;</message></slack>')
    assert not is_readable(xml)


@pytest.mark.slow
def test_a_zip_bomb_is_not_opened(tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.zip"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("users.json", "[]")
        packed.writestr("channels.json", "[]")
        packed.writestr("general/2024-03-01.json", b"[" + b" " * (300 << 20) + b"]")
    assert bomb.stat().st_size < 1 << 20
    (item,) = read_source(bomb)
    assert isinstance(item, Unreadable)
    assert "200 times its size" in item.reason
    with pytest.raises(UserError, match="200 times its size"):
        check_sources([bomb])


def test_no_path_leads_out_of_an_archive(tmp_path: Path) -> None:
    below = tmp_path / "below"
    below.mkdir()
    (tmp_path / "secret.json").write_text(json.dumps(SLACK["general/2024-03-01.json"]))
    path = below / "export.zip"
    with zipfile.ZipFile(path, "w") as packed:
        for name in ("users.json", "channels.json"):
            packed.writestr(name, "[]")
        packed.writestr("../secret.json", json.dumps([]))
        packed.writestr("/etc/x/2024.json", "[]")
        packed.writestr("general/../../evil.json", "[]")
        link = zipfile.ZipInfo("general/link.json")
        link.external_attr = 0o120777 << 16
        packed.writestr(link, "../../secret.json")
    before = sorted(each for each in tmp_path.rglob("*"))
    documents, refused = read(path)
    assert documents == []
    assert len(refused) == 4
    assert {each.reason for each in refused} == {"a link, or a path that leads out of the archive"}
    assert sorted(each for each in tmp_path.rglob("*")) == before


@pytest.mark.parametrize("cut", [40, 200, 400])
def test_damaged_archives_are_named(tmp_path: Path, cut: int) -> None:
    for path in (as_zip(tmp_path / "s.zip", SLACK), as_tar(tmp_path / "z.tar.gz", ZULIP)):
        path.write_bytes(path.read_bytes()[:-cut])
        items = list(read_source(path))
        assert any(isinstance(item, Unreadable) for item in items)


@pytest.mark.parametrize("name", ["racket-2017-merged-racket-general.xml", "2004-11-15_03.txt"])
def test_real_chat(name: str) -> None:
    path = CHAT / name
    if not path.exists():
        pytest.skip(f"{path} is not on this machine")
    documents, _ = read(path)
    assert len(documents) > 5
    for document in documents:
        first = document.text.split("\n", 1)[0]
        assert document.sender.split(", ")[0] in first
        assert document.date is not None
        assert document.date[:10] in first


@pytest.mark.parametrize("name", ["racket-2017-merged-racket-general.xml", "2004-11-15_03.txt"])
def test_passages_of_real_chat_begin_with_a_name_and_a_time(minilm: Path, name: str) -> None:
    path = CHAT / name
    if not path.exists():
        pytest.skip(f"{path} is not on this machine")
    texts = [document.text for document in read(path)[0]]
    chunker = Chunker(minilm / "tokenizer.json", 200, 20)
    turn = re.compile(r"[^\n]{1,60}? (?:\d{4}-\d\d-\d\d )?\d\d:\d\d: ")

    def share(cut: list[list[str]]) -> float:
        passages = [passage for pieces in cut for passage in pieces]
        return sum(turn.match(passage) is not None for passage in passages) / len(passages)

    assert share(chunker.cut(texts, [True] * len(texts))) > 0.85
    assert share(chunker.cut(texts)) < share(chunker.cut(texts, [True] * len(texts)))
