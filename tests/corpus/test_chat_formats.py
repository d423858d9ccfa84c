"""Chat exports of every program: who said what, when, and in which conversation."""

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from customir.corpus.document import RawDocument, Unreadable
from customir.corpus.readers import read_source


def read(path: Path) -> tuple[list[RawDocument], list[Unreadable]]:
    items = list(read_source(path))
    documents = [item for item in items if isinstance(item, RawDocument)]
    assert all(document.is_chat for document in documents)
    return documents, [item for item in items if isinstance(item, Unreadable)]


def written(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = content if isinstance(content, str) else json.dumps(content)
    path.write_text(text, encoding="utf-8")
    return path


def texts(path: Path) -> list[str]:
    return [document.text for document in read(path)[0]]


def rows(*values: Any) -> str:
    return "".join(json.dumps(value) + "\n" for value in values)


MILLIS = 1_620_030_000_000


def direct(user: str, message: str | None, minute: int, **more: Any) -> dict[str, Any]:
    post = {"user": user, "message": message, "create_at": MILLIS + minute * 60_000, **more}
    return {"type": "direct_post", "direct_post": post}


def test_mattermost_keeps_private_conversations_apart(tmp_path: Path) -> None:
    path = written(
        tmp_path / "export.jsonl",
        rows(
            {"type": "version", "version": 1},
            direct("ada", "my salary is 100", 0, channel_members=[]),
            direct("carl", "the party is on Friday", 1, channel_members=[]),
            direct("ben", "that is little", 2, channel_members=None, replies=[]),
            direct("dora", "I bring cake", 3),
            direct("ada", "to Ben", 4, channel_members=["ben", "ada"]),
            direct("ben", "to Ada", 5, channel_members=["ada", "ben"]),
            direct("ada", "to Carl", 6, participants=[{"username": "ada"}, {"username": "carl"}]),
            direct("ada", "to myself", 7, channel_members=["ada"]),
            direct("eve", None, 8, channel_members=["ada", "eve"]),
        ),
    )
    documents, (notices,) = read(path)
    assert [document.sender for document in documents] == [
        "ada", "carl", "ben", "dora", "ada, ben", "ada", "ada",
    ]  # fmt: skip
    assert len({document.identifier for document in documents}) == 7
    assert notices.reason.startswith("chat notices: 1 ")


def test_mattermost_cards_and_files(tmp_path: Path) -> None:
    card = {
        "pretext": "New",
        "title": "Build 17",
        "text": "failed",
        "fields": [{"title": "Host", "value": "db7"}],
    }
    post = {"team": "t", "channel": "c", "user": "bot", "message": "", "create_at": MILLIS}
    path = written(
        tmp_path / "export.jsonl",
        rows(
            {"type": "version", "version": 1},
            {"type": "post", "post": {**post, "props": {"attachments": [card]}}},
            {
                "type": "post",
                "post": {**post, "user": "ada", "attachments": [{"path": "2021/plan.pdf"}]},
            },
        ),
    )
    assert texts(path) == [
        "bot 2021-05-03 08:20: New\nBuild 17\nfailed\nHost: db7\n\nada 08:20: [file: plan.pdf]"
    ]


def test_zulip_keeps_private_conversations_apart(tmp_path: Path) -> None:
    def message(sender: int, recipient: int, content: str) -> dict[str, Any]:
        return {
            "sender": sender,
            "recipient": recipient,
            "subject": "",
            "content": content,
            "date_sent": 1_620_030_000,
        }

    written(
        tmp_path / "zulip" / "realm.json",
        {
            "zerver_userprofile": [{"id": 1, "full_name": "Ada"}, {"id": 2, "full_name": "Ben"}],
            "zerver_recipient": [
                {"id": 7, "type": 1, "type_id": 1},
                {"id": 8, "type": 3, "type_id": 4},
            ],
        },
    )
    found = [message(1, 7, "my salary"), message(2, 8, "the party"), message(1, 7, "is 100")]
    written(tmp_path / "zulip" / "messages-000001.json", {"zerver_message": found})
    assert texts(tmp_path / "zulip") == [
        "Ada 2021-05-03 08:20: my salary\nis 100", "Ben 2021-05-03 08:20: the party",
    ]  # fmt: skip


def slack(seconds: int, **row: Any) -> dict[str, Any]:
    return {"type": "message", "ts": f"{1_620_030_000 + seconds}.000100", **row}


def section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}}


RICH = {
    "type": "rich_text",
    "elements": [
        {"type": "rich_text_section", "elements": [
            {"type": "text", "text": "Ask "}, {"type": "user", "user_id": "U2"},
            {"type": "text", "text": " on "}, {"type": "link", "url": "https://x.org"},
        ]},
        {"type": "rich_text_list", "elements": [
            {"type": "rich_text_section", "elements": [{"type": "text", "text": "one"}]},
            {"type": "rich_text_section", "elements": [{"type": "text", "text": "two"}]},
        ]},
    ],
}  # fmt: skip
SLACK_DAY = [
    slack(0, user="U1", text="", blocks=[RICH]),
    slack(400, user="U1", text="Ask the mill", blocks=[section("Ask the mill")]),
    slack(800, subtype="bot_message", username="CI", text="", blocks=[section("disk full"), {"type": "context", "elements": [{"type": "mrkdwn", "text": "on db7"}]}]),
    slack(1200, subtype="bot_message", bot_id="B1", bot_profile={"name": "Bills"}, text="", attachments=[
        {"title": "Invoice", "pretext": "New", "fields": [{"title": "Amount", "value": "120"}], "fallback": "no preview"},
        {"blocks": [section("paid")], "fallback": "no preview"},
        {"fallback": "only this"},
    ]),
    slack(1600, user="U9", user_profile={"real_name": "Carl Guest", "display_name": "carl"}, text="I am a guest"),
    slack(1700, user="U9", text="no profile here"),
    slack(2000, user="U2", text="", files=[{"name": "a.py", "preview": "def f(): 1"}, {"title": "mail", "plain_text": "we agreed"}]),
    slack(2400, subtype="tombstone", user="USLACKBOT", text="This message was deleted.", hidden=True),
    slack(2500, subtype="message_changed", hidden=True, message=slack(0, user="U1", text="new")),
]  # fmt: skip
SLACK_TEXT = (
    "{u1} 2021-05-03 08:20: Ask @{u2} on https://x.org\n- one\n- two\n\n"
    "{u1} 08:26: Ask the mill\n\nCI 08:33: disk full\non db7\n\n"
    "Bills 08:40: New\nInvoice\nAmount: 120\npaid\nonly this\n\n"
    "carl 08:46: I am a guest\nno profile here\n\n"
    "{u2} 08:53: [file: a.py]\ndef f(): 1\n[file: mail]\nwe agreed"
)


def test_slack_blocks_cards_files_and_guests(tmp_path: Path) -> None:
    export = tmp_path / "export"
    written(export / "channels.json", [{"id": "C1", "name": "general"}])
    written(export / "general" / "2021-05-03.json", SLACK_DAY)
    without_users = SLACK_TEXT.format(u1="U1", u2="U2")
    (document,), (notices,) = read(export)
    assert document.text == without_users
    assert notices.reason.startswith("chat notices: 2 ")
    users = [{"id": "U1", "profile": {"display_name": "Ada"}}, {"id": "U2", "real_name": "Ben B."}]
    written(export / "users.json", users)
    assert texts(export) == [SLACK_TEXT.format(u1="Ada", u2="Ben B.")]
    # A day by itself, of an export without any list.
    day = written(tmp_path / "day" / "2021-05-03.json", SLACK_DAY)
    assert texts(day) == [without_users]


@pytest.mark.parametrize(
    ("name", "log", "text"),
    [
        (
            "irssi.log",
            "--- Log opened Mon Sep 30 00:00:44 2019\n16:59 <@ada> a key?\n17:00 < ben> no\n"
            "17:01  * ada sighs\n17:02 -!- carl [c@h] has joined #x\n"
            "--- Day changed Tue Oct 01 2019\n",
            "ada 2019-09-30 16:59: a key?\n\nben 17:00: no\n\nada 17:01: /me sighs",
        ),
        (
            "x.weechatlog",
            "2021-05-03 09:14:00\t@ada\ta key?\n2021-05-03 09:15:00\tben\tno\n"
            "2021-05-03 09:15:10\t-->\tcarl (c@h) has joined #x\n2021-05-03 09:16:00\t *\tada sighs\n",
            "ada 2021-05-03 09:14: a key?\n\nben 09:15: no\n\nada 09:16: /me sighs",
        ),
        (
            "hexchat.log",
            "**** BEGIN LOGGING AT Mon May  3 09:00:00 2021\n\nMay 03 09:14:00 <ada>\ta key?\n"
            "May 03 09:15:00 <ben>\tno\nMay 03 09:16:00 *\tada sighs\n",
            "ada 2021-05-03 09:14: a key?\n\nben 09:15: no\n\nada 09:16: /me sighs",
        ),
        (
            "mirc.log",
            "Session Start: Mon May 03 09:00:00 2021\n[09:14] <ada> a key?\n[09:15] <ben> no\n"
            "[09:16] * ada sighs\n",
            "ada 2021-05-03 09:14: a key?\n\nben 09:15: no\n\nada 09:16: /me sighs",
        ),
        (
            "20210503.log",
            "[09:14:00] <ada> a key?\n[09:15:00] <ben> no\n[09:16:00] * ada sighs\n"
            "[09:17:00] *** Quits: ben (b@h)\n",
            "ada 2021-05-03 09:14: a key?\n\nben 09:15: no\n\nada 09:16: /me sighs",
        ),
        (
            "lounge.log",
            "[2021-05-03T09:14:00.000Z] <ada> a key?\n[2021-05-03T09:15:00.000Z] <ben> no\n",
            "ada 2021-05-03 09:14: a key?\n\nben 09:15: no",
        ),
        (
            "#x.2021-05-03.log",
            "16:59:05< ada> a key?\n17:00:04< ben> no\n",
            "ada 2021-05-03 16:59: a key?\n\nben 17:00: no",
        ),
    ],
)
def test_irc_logs(tmp_path: Path, name: str, log: str, text: str) -> None:
    assert texts(written(tmp_path / name, log)) == [text]


@pytest.mark.parametrize(
    ("first", "second", "third"),
    [
        ("03.05.21, 12:30 - Ada: ", "03.05.21, 12:31 - Ben: ", "13.05.21, 09:00 - Ada: "),
        ("5/3/21, 12:30 PM - Ada: ", "5/3/21, 12:31 PM - Ben: ", "5/13/21, 9:00 AM - Ada: "),
        ("5/3/21, 12:30\u202fPM - Ada: ", "5/3/21, 12:31\u202fPM - Ben: ", "5/13/21, 9:00\u202fAM - Ada: "),
        ("03/05/2021, 12:30 - Ada: ", "03/05/2021, 12:31 - Ben: ", "13/05/2021, 09:00 - Ada: "),
        ("03/05/2021 12:30 - Ada: ", "03/05/2021 12:31 - Ben: ", "13/05/2021 09:00 - Ada: "),
        ("2021-05-03, 12:30 - Ada: ", "2021-05-03, 12:31 - Ben: ", "2021-05-13, 09:00 - Ada: "),
        ("2021/05/03, 12:30 - Ada: ", "2021/05/03, 12:31 - Ben: ", "2021/05/13, 09:00 - Ada: "),
        ("3-5-2021 12:30 - Ada: ", "3-5-2021 12:31 - Ben: ", "13-5-2021 09:00 - Ada: "),
        ("2021. 05. 03. 12:30 - Ada: ", "2021. 05. 03. 12:31 - Ben: ", "2021. 05. 13. 9:00 - Ada: "),
        ("\u200e[03.05.21, 12:30:01] Ada: ", "[03.05.21, 12:31:00] Ben: ", "[13.05.21, 09:00:00] Ada: "),
        ("[5/3/21, 12:30:01 PM] Ada: ", "[5/3/21, 12:31:00 PM] Ben: ", "[5/13/21, 9:00:00 AM] Ada: "),
        ("[2021/05/03 下午12:30:01] Ada: ", "[2021/05/03 下午12:31:00] Ben: ", "[2021/05/13 上午9:00:00] Ada: "),
        ("2021년 5월 3일 오후 12:30, Ada : ", "2021년 5월 3일 오후 12:31, Ben : ", "2021년 5월 13일 오전 9:00, Ada : "),
        ("[2021-05-03, 12:30] Ada: ", "[2021-05-03, 12:31] Ben: ", "[2021-05-13, 09:00] Ada: "),
    ],
)  # fmt: skip
def test_whatsapp_in_many_locales(tmp_path: Path, first: str, second: str, third: str) -> None:
    log = f"{first}who has the key?\n{second}the porter\nuntil: eight\n{third}<Media omitted>\n{third}thank you\n"
    documents, (notices,) = read(written(tmp_path / "_chat.txt", log))
    assert [document.text for document in documents] == [
        "Ada 2021-05-03 12:30: who has the key?\n\nBen 12:31: the porter\nuntil: eight",
        "Ada 2021-05-13 09:00: thank you",
    ]
    assert notices.reason.startswith("chat notices: 1 ")


@pytest.mark.parametrize(
    "begin",
    [
        "13.05.21 à 21:12 - ", "2021-05-13 à 21 h 12 - ", "13/5/21 9:12 p. m. - ", "13/5/21, 9:12\u00a0p.\u00a0m. - ",
        "13/05/2021 21.12 - ", "13.5.2021 klo 21.12 - ", "[13.5.2021 klo 21.12.00] ", "2021-05-13 kl. 21:12 - ",
        "13. 5. 2021 21:12 - ", "2021.05.13. 21:12 - ", "13/5/21, 9:12 μ.μ. - ", "13/5/21, 9:12 μμ - ",
        "13.05.21 г., 21:12 - ", "13/5/2021, 9:12 م - ", "١٣/٥/٢٠٢١، ٩:١٢ م - ", "١٣\u200f/٥\u200f/٢٠٢١, ٩:١٢ م - ",
        "۲۰۲۱/۵/۱۳،\u200f ۲۱:۱۲ - ", "2021/05/13 21:12 - ", "2021. 5. 13. PM 9:12 - ", "2021년 5월 13일 오후 9:12 - ",
        "2021/5/13 晚上9:12 - ", "13/5/2021 下午9:12 - ", "21:12, 13/05/2021 - ", "[21:12:00, 13/05/2021] ",
        "13/5/64 21:12 - ", "13/5/2564 21:12 - ", "13/05/2021, 9:12 PTG - ", "13. 05. 2021. 21:12 - ",
    ],
)  # fmt: skip
def test_whatsapp_in_more_locales(tmp_path: Path, begin: str) -> None:
    log = f"{begin}Ada: who has the key?\n{begin}Ben: the porter\nuntil: eight\n"
    documents, _ = read(written(tmp_path / "_chat.txt", log))
    assert [document.text for document in documents] == [
        "Ada 2021-05-13 21:12: who has the key?\n\nBen 21:12: the porter\nuntil: eight"
    ]


def test_whatsapp_captions_and_edited_messages(tmp_path: Path) -> None:
    log = (
        "13.05.21, 21:12 - Ada: \u200eIMG-1.jpg (Datei angehängt)\nThe plan\n"
        "13.05.21, 21:13 - Ben: Good \u200e<Diese Nachricht wurde bearbeitet.>\n"
        "13.05.21, 21:14 - \u202a+49 151 1234567\u202c: \u200eIMG-2.jpg (Datei angehängt)\n"
    )
    documents, (notices,) = read(written(tmp_path / "chat.txt", log))
    assert [document.text for document in documents] == [
        "Ada 2021-05-13 21:12: The plan\n\nBen 21:13: Good"
    ]
    assert notices.reason.startswith("chat notices: 1 ")


def test_whatsapp_dates_by_their_order(tmp_path: Path) -> None:
    """Neither month nor day is above 12, and there is no AM: but time goes forward."""
    log = "3/5/21, 09:00 - Ada: a\n4/1/21, 09:00 - Ada: b\n4/2/21, 09:00 - Ada: c\n"
    documents, _ = read(written(tmp_path / "chat.txt", log))
    assert [document.date and document.date[:10] for document in documents] == [
        "2021-03-05", "2021-04-01", "2021-04-02",
    ]  # fmt: skip


def telegram(number: int, text: Any, **row: Any) -> dict[str, Any]:
    return {
        "id": number,
        "type": "message",
        "date": "2021-05-03T11:00:00",
        "date_unixtime": str(1_620_032_400 + number * 60),
        "from": "Ada",
        "text": text,
        **row,
    }


def test_telegram_one_chat_and_all(tmp_path: Path) -> None:
    link = {"type": "text_link", "text": "the lease", "href": "https://x.org"}
    messages = [
        telegram(0, ["see ", link, " now"]),
        telegram(1, "thanks", **{"from": "Ben"}),
        telegram(2, "", **{"from": None, "from_id": "user7"}, file_name="plan.pdf"),
        telegram(3, "", poll={"question": "Lunch?", "answers": [{"text": "yes"}, {"text": "no"}]}),
        {"id": 9, "type": "service", "date": "2021-05-03T11:00:00", "action": "invite_members"},
        telegram(10, "", media_type="sticker"),
        {"id": 11, "type": "message", "date": "never", "from": "Ada", "text": "x"},
    ]
    chat = {"name": "Team", "type": "private_group", "id": 1, "messages": messages}
    other = {"name": "Ben", "type": "personal_chat", "id": 2, "messages": [telegram(0, "private")]}
    text = (
        "Ada 2021-05-03 09:00: see the lease (https://x.org) now\n\nBen 09:01: thanks\n\n"
        "user7 09:02: [file: plan.pdf]\n\nAda 09:03: Lunch?\nyes\nno"
    )
    (document,), (broken, notices) = read(written(tmp_path / "one.json", chat))
    assert document.text == text
    assert broken.identifier.endswith("message 11")
    assert notices.reason.startswith("chat notices: 2 ")
    whole = {"about": "x", "chats": {"about": "y", "list": [chat, other]}}
    assert texts(written(tmp_path / "result.json", whole)) == [
        text,
        "Ada 2021-05-03 09:00: private",
    ]


def test_discord_json_csv_and_data_package(tmp_path: Path) -> None:
    def message(minute: int, content: str, **row: Any) -> dict[str, Any]:
        return {
            "type": "Default",
            "timestamp": f"2021-05-03T11:{minute:02}:00.123+02:00",
            "content": content,
            "author": {"name": "ada", "nickname": "Ada"},
            **row,
        }

    export = {
        "guild": {"id": "0", "name": "Mill"},
        "channel": {"id": "7", "name": "general"},
        "messages": [
            message(0, "a key?"),
            message(1, "", author={"name": "ben"}, attachments=[{"fileName": "plan.pdf"}]),
            message(2, "", author={"name": "CI"}, embeds=[{"title": "Build", "description": "failed", "fields": [{"name": "Host", "value": "db7"}]}]),
            message(3, "Pinned a message.", type="ChannelPinnedMessage"),
        ],
    }  # fmt: skip
    (document,), (notices,) = read(written(tmp_path / "general.json", export))
    assert document.text == (
        "Ada 2021-05-03 09:00: a key?\n\nben 09:01: [file: plan.pdf]\n\n"
        "CI 09:02: Build\nfailed\nHost: db7"
    )
    assert notices.reason.startswith("chat notices: 1 ")
    table = (
        "AuthorID,Author,Date,Content,Attachments,Reactions\n"
        '1,"ada","2021-05-03T11:00:00.1230000+02:00","a key?\nor two?","",""\n'
        '2,"ben","2021-05-03T11:01:00.1230000+02:00","","https://x.org/plan.pdf",""\n'
    )
    assert texts(written(tmp_path / "general.csv", table)) == [
        "ada 2021-05-03 09:00: a key?\nor two?\n\nben 09:01: [file: plan.pdf]"
    ]
    package = tmp_path / "package.zip"
    with zipfile.ZipFile(package, "w") as packed:
        packed.writestr("account/user.json", json.dumps({"username": "ada"}))
        packed.writestr("messages/index.json", "{}")
        rows = [
            {"ID": 1, "Timestamp": "2021-05-03 09:00:00", "Contents": "a key?", "Attachments": ""}
        ]
        packed.writestr("messages/c123456789012345678/messages.json", json.dumps(rows))
        packed.writestr(
            "messages/c123456789012345679/messages.csv",
            "ID,Timestamp,Contents,Attachments\n2,2021-05-03 09:00:00+00:00,other channel,\n",
        )
    assert texts(package) == [
        "ada 2021-05-03 09:00: a key?", "ada 2021-05-03 09:00: other channel",
    ]  # fmt: skip


def test_teams_own_export_and_graph(tmp_path: Path) -> None:
    def message(content: str, **row: Any) -> dict[str, Any]:
        return {
            "id": "1",
            "originalarrivaltime": "2021-05-03T09:00:00Z",
            "messagetype": "RichText/Html",
            "content": content,
            "from": "8:orgid:17",
            **row,
        }

    export = {
        "userId": "8:orgid:1",
        "exportDate": "2021-05-03",
        "conversations": [
            {"id": "19:x", "displayName": "Team", "MessageList": [message("<p>a <b>key</b>?</p>", displayName="Ada"), message("joined", messagetype="ThreadActivity/AddMember")]},
            {"id": "19:y", "displayName": None, "MessageList": [message("<p>private</p>")]},
        ],
    }  # fmt: skip
    path = written(tmp_path / "messages.json", export)
    assert texts(path) == ["Ada 2021-05-03 09:00: a key?", "17 2021-05-03 09:00: private"]

    def graph(number: int, chat: str, html: str, **row: Any) -> dict[str, Any]:
        return {
            "id": str(number),
            "messageType": "message",
            "createdDateTime": f"2021-05-03T09:0{number}:00Z",
            "chatId": chat,
            "from": {"user": {"displayName": "Ada"}},
            "body": {"contentType": "html", "content": html},
            **row,
        }

    answer = {
        "@odata.context": "x",
        "value": [
            graph(1, "a", "<div>a key?</div>"),
            graph(2, "b", "<div>private</div>"),
            graph(3, "a", "<div>gone</div>", deletedDateTime="2021-05-04T09:00:00Z"),
            graph(4, "a", "", attachments=[{"name": "plan.pdf"}]),
        ],
    }
    assert texts(written(tmp_path / "graph.json", answer)) == [
        "Ada 2021-05-03 09:01: a key?\n[file: plan.pdf]", "Ada 2021-05-03 09:02: private",
    ]  # fmt: skip


def test_signal_export(tmp_path: Path) -> None:
    row = {
        "date": "2021-05-03 09:00",
        "sender": "Ada",
        "body": "a key?",
        "quote": "",
        "attachments": [],
    }
    other = {
        **row,
        "sender": "Ben",
        "body": "",
        "attachments": [{"name": "plan.pdf", "path": "media/plan.pdf"}],
    }
    assert texts(written(tmp_path / "data.json", rows(row, other))) == [
        "Ada 2021-05-03 09:00: a key?\n\nBen 09:00: [file: plan.pdf]"
    ]


def test_hexchat_in_other_languages_and_over_new_year(tmp_path: Path) -> None:
    log = (
        "**** DÉBUT DU JOURNAL À ven. déc. 31 23:50:00 2021\n\ndéc. 31 23:50:00 *\tNow talking on #mill\n"
        "déc. 31 23:58:00 <ada>\thappy new year\njanv. 01 00:01:00 <ben>\tto you too\n"
        "janv. 01 00:02:00 *\tcarl (~c@example.org) has joined\njanv. 01 00:03:00 *\tada dances\n"
    )
    documents, (notices,) = read(written(tmp_path / "mill.log", log))
    assert [document.text for document in documents] == [
        "ada 2021-12-31 23:58: happy new year\n\nben 2022-01-01 00:01: to you too\n\nada 00:03: /me dances"
    ]
    assert notices.reason.startswith("chat notices: 2 ")


def test_what_is_no_text_in_telegram(tmp_path: Path) -> None:
    begin = {"type": "message", "date": "2021-05-03T09:00:00", "from": "Ada", "text": ""}
    rows = [
        {"id": 1, **begin, "file": "files/lease.pdf"},
        {"id": 2, **begin, "file": "(File not included.)"},
        {"id": 3, **begin, "place_name": "The mill", "address": "Main Street"},
        {"id": 4, **begin, "contact_information": {"first_name": "Dora", "phone_number": "+49 1"}},
        {"id": 5, **begin, "media_type": "sticker", "file": "stickers/s.webp"},
    ]
    export = {"name": "Team", "type": "private_group", "id": 1, "messages": rows}
    documents, (notices,) = read(written(tmp_path / "result.json", json.dumps(export)))
    assert [document.text for document in documents] == [
        "Ada 2021-05-03 09:00: [file: lease.pdf]\nThe mill\nMain Street\nDora +49 1"
    ]
    assert notices.reason.startswith("chat notices: 2 ")


def test_discord_packages_as_folders_and_old_dates(tmp_path: Path) -> None:
    package = tmp_path / "package"
    written(package / "Account" / "user.json", '{"username": "ada"}')
    written(package / "Messages" / "index.json", "{}")
    row = {
        "ID": 1,
        "Timestamp": "2021-05-13 21:12:00",
        "Contents": "",
        "Attachments": "https://x/plan.pdf?ex=1",
    }
    written(package / "Messages" / "c123456789012345678" / "messages.json", json.dumps([row]))
    documents, _ = read(package)
    assert [document.text for document in documents] == ["ada 2021-05-13 21:12: [file: plan.pdf]"]
    table = "AuthorID,Author,Date,Content,Attachments,Reactions\n1,ada,13-May-21 09:13 PM,hi,,\n"
    documents, _ = read(written(tmp_path / "old.csv", table))
    assert documents[0].text == "ada 2021-05-13 21:13: hi"


def test_cards_with_numbers_and_cards_of_teams(tmp_path: Path) -> None:
    card = {"type": "AdaptiveCard", "body": [{"type": "TextBlock", "text": "The build failed"}]}
    attached = {
        "contentType": "application/vnd.microsoft.card.adaptive",
        "content": json.dumps(card),
    }
    row = {
        "createdDateTime": "2021-05-03T09:00:00Z", "chatId": "1", "from": {"application": {"displayName": "Bot"}},
        "body": {"contentType": "html", "content": ""}, "attachments": [attached],
    }  # fmt: skip
    documents, _ = read(written(tmp_path / "graph.json", json.dumps({"value": [row]})))
    assert documents[0].text == "Bot 2021-05-03 09:00: The build failed"
    fields = {"attachments": [{"fields": [{"title": "Builds", "value": 7}]}]}
    post = {
        "team": "t",
        "channel": "c",
        "user": "bot",
        "message": "",
        "create_at": 1620032400000,
        "props": fields,
    }
    lines = [{"type": "version", "version": 1}, {"type": "post", "post": post}]
    documents, _ = read(written(tmp_path / "mm.jsonl", "\n".join(map(json.dumps, lines))))
    assert documents[0].text == "bot 2021-05-03 09:00: Builds: 7"


def test_slack_exports_that_overlap_give_each_message_once(tmp_path: Path) -> None:
    rows = json.dumps(
        [{"type": "message", "user": "U1", "text": "the key", "ts": "1620032400.000100"}]
    )
    written(tmp_path / "slack" / "channels.json", "[]")
    for day in ("2021-05-03", "2021-05-04"):
        written(tmp_path / "slack" / "general" / f"{day}.json", rows)
    documents, _ = read(tmp_path / "slack")
    assert [document.text for document in documents] == ["U1 2021-05-03 09:00: the key"]
