"""Kinds of input that public reports about other tools name; docs/log has the list. Ours, made up."""

import base64
import json
from pathlib import Path

import pytest

from customir.corpus.charsets import codec_of, decode
from customir.corpus.document import RawDocument, RawMail
from customir.corpus.readers import ReadOptions, read_source
from customir.corpus.readers.message import read_message

from .messages import mail


def text_of(content: bytes) -> str:
    (found,) = read_message(RawMail(content, "m"), ReadOptions())
    assert isinstance(found, RawDocument), found
    return found.text.strip()


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("utf-8  euao6y69zh2w", "utf-8"), ('"', ""), ("1", ""), ("unknown", ""), ("iso-8859-8-i", "iso-8859-8"),
        ("_iso-2022-jp$esc", "iso2022_jp"), ("", ""), ("utf-8;", "utf-8"), ("'utf-8'", "utf-8"),
    ],
)  # fmt: skip
def test_charset_names_that_stopped_others(name: str, codec: str) -> None:
    assert codec_of(name).replace("_", "-") == codec.replace("_", "-")
    assert decode("Die Mühle".encode(), name) == "Die Mühle"


def test_text_that_is_declared_base64_and_is_not() -> None:
    body = b"The mill, which stands by the brook, turns all day.\nCome and see it. Ada\n"
    assert text_of(mail(body, content_transfer_encoding="base64")) == body.decode().strip()


def test_text_that_is_declared_quoted_printable_and_is_not() -> None:
    body = b"The mill = the one by the brook; see https://x.org/?a=zz\n"
    assert (
        text_of(mail(body, content_transfer_encoding="quoted-printable")) == body.decode().strip()
    )


def test_a_multipart_that_is_encoded_as_a_whole() -> None:
    parts = "--b\nContent-Type: text/plain; charset=utf-8\n\nDie Mühle läuft.\n--b--\n".encode()
    content = mail(
        base64.encodebytes(parts),
        content_type='multipart/mixed; boundary="b"',
        content_transfer_encoding="base64",
    )
    assert text_of(content) == "Die Mühle läuft."


@pytest.mark.parametrize(
    ("subject", "title"),
    [
        ("=?UTF-8?Q?Die_M=C3?=\n =?UTF-8?Q?=BChle_l=C3=A4uft?=", "Die Mühle läuft"),
        ("=?utf-8?B?RGllIE3D?=\n =?utf-8?B?vGhsZQ==?=", "Die Mühle"),
        ("=?gb2312?B?xKW3u9TL16rW?=\n\t =?gb2312?B?0A==?=", "磨坊运转中"),
        ("=? ISO-2022-JP? B? GyRCP2U8VhsoQg==?=\n =? ISO-2022-JP? B? GyRCJE8bKEI=?=", "水車は"),
    ],
)
def test_words_that_are_split(subject: str, title: str) -> None:
    (found,) = read_message(RawMail(mail(b"Hi", subject=subject), "m"), ReadOptions())
    assert isinstance(found, RawDocument)
    assert found.title == title


@pytest.mark.parametrize(
    "start",
    [
        "2023-12-20, 5:46 p.m. - ", "2023/12/20, 5:46 pm - ", "20/12/2023, 5:46 p. m. - ",
        "20-12-2023 17:46 - ", "[20/12/23 5:46:18 p.m.] ", "20.12.23 à 17:46 - ", "20.12.23, 17:46 - ",
        "12/20/23, 5:46:59 PM: ", "20/12/2023 17:46:48: ", "20/12/23, 17:46:59: ", "[12/20/23, 5:46:22 PM] ",
    ],
)  # fmt: skip
def test_whatsapp_lines(tmp_path: Path, start: str) -> None:
    path = tmp_path / "chat.txt"
    path.write_text(f"{start}Ada: a key?\n{start}Ben: no\n", encoding="utf-8")
    (found,) = read_source(path)
    assert isinstance(found, RawDocument)
    assert found.text == "Ada 2023-12-20 17:46: a key?\n\nBen 17:46: no"


def test_telegram_rows_without_a_sender_and_chats_that_were_left(tmp_path: Path) -> None:
    row = {"id": 1, "type": "message", "date": "2021-05-03T09:00:00", "text": "a"}
    chat = {"name": None, "type": "public_supergroup", "id": 5, "messages": [row]}
    path = tmp_path / "result.json"
    path.write_text(json.dumps({"chats": {"list": []}, "left_chats": {"list": [chat]}}))
    (found,) = read_source(path)
    assert isinstance(found, RawDocument)
    assert found.text == "unknown 2021-05-03 09:00: a"


def test_slack_rows_that_are_damaged_cost_themselves_alone(tmp_path: Path) -> None:
    rows = [
        {"type": "message", "user": "U1", "text": "a", "ts": "1620030000.000100"},
        None,
        {"type": "message", "user": "U1", "text": "no time"},
        {"type": "message", "user": "U1", "text": "b", "ts": "1620030001.000100", "files": [None]},
    ]
    path = tmp_path / "2021-05-03.json"
    path.write_text(json.dumps(rows))
    found, notices = read_source(path)
    assert isinstance(found, RawDocument)
    assert found.text == "U1 2021-05-03 08:20: a\nb"
    assert "chat notices: 2 " in notices.reason  # type: ignore[union-attr]
