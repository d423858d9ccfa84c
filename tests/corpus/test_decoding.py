"""Bytes to text: every charset name that mail uses, one bad byte, broken transfer encodings."""

import base64
import time

import pytest

from customir.corpus.charsets import codec_of, decode
from customir.corpus.document import RawDocument, RawMail, Unreadable
from customir.corpus.readers.dates import iso_date
from customir.corpus.readers.message import read_message
from customir.corpus.readers.mime import decode_base64, decode_words, unflow
from customir.corpus.readers.options import ReadOptions

from .messages import mail


def read(content: bytes, envelope: bytes = b"") -> list[RawDocument | Unreadable]:
    return list(read_message(RawMail(content, "m", envelope), ReadOptions()))


def text_of(body: bytes, **headers: str) -> str:
    (found,) = read(mail(body, **headers))
    assert isinstance(found, RawDocument), found
    return found.text.strip()


@pytest.mark.parametrize(
    ("name", "codec", "text"),
    [
        ("windows-874", "cp874", "โต๊ะอยู่ที่ห้องประชุม"), ("tis-620", "cp874", "โต๊ะ"),
        ("cp-850", "cp850", "Die Mühle läuft"), ("dos-862", "cp862", "הטחנה עובדת"),
        ("IBM866", "cp866", "Мельница"), ("x-gbk", "gbk", "磨坊在运转"), ("cp936", "gbk", "磨坊"),
        ("gb2312", "gb18030", "磨坊朱镕基"), ("x-sjis", "cp932", "水車①は動く"),
        ("windows-31j", "cp932", "水車は㈱"), ("x-euc-jp", "euc-jp", "水車は動く"),
        ("eucJP-ms", "euc_jis_2004", "水車①"), ("big5", "cp950", "磨坊碁銹"),
        ("big5", "big5hkscs", "磨坊喺"), ("ks_c_5601-1987", "cp949", "물레방아 똠"),
        ("x-windows-949", "cp949", "물레방아"), ("x-windows-1250", "cp1250", "Młyn już działa"),
        ("win-1251", "cp1251", "Мельница"), ("x-mac-roman", "mac-roman", "Die Mühle läuft"),
        ("macintosh", "mac-roman", "Mühle"), ("x-mac-cyrillic", "mac-cyrillic", "Мельница"),
        ("iso-8859-6-i", "iso-8859-6", "الطاحونة تعمل"), ("iso-8859-8-e", "iso-8859-8", "הטחנה"),
        ("unicode-1-1-utf-7", "utf-7", "Die Mühle läuft"), ("utf8mb4", "utf-8", "Mühle 🙂"),
        ("utf-8*de", "utf-8", "Mühle"), ("\"UTF-8\"", "utf-8", "Mühle"),
        ("latin-1", "cp1252", "The mill’s “wheel” – €5"), ("us-ascii", "cp1252", "Mühle – 5 €"),
        ("ansi_x3.4-1968", "cp1252", "Mühle"), ("iso-8859-9", "cp1254", "Değirmen “çalışıyor”"),
        ("koi8-u", "koi8-u", "Млин працює ґ"), ("hz-gb-2312", "hz", "磨坊在运转"),
        ("iso-2022-kr", "iso2022_kr", "물레방아"), ("x-unknown", "cp1252", "Die Mühle läuft"),
        ("utf-16le", "utf-16-le", "Die Mühle"),
    ],
)  # fmt: skip
def test_charset_names(name: str, codec: str, text: str) -> None:
    assert decode(text.encode(codec), name) == text
    transfer = base64.b64encode(text.encode(codec))
    kind = {"content_type": f"text/plain; charset={name}", "mime_version": "1.0"}
    found = text_of(transfer, content_transfer_encoding="base64", **kind)
    assert found == text


@pytest.mark.parametrize("name", ["base64", "rot13", "zip", "undefined", "\0", "x" * 300, "idna"])
def test_no_charset_at_all(name: str) -> None:
    assert codec_of(name) == ""
    assert decode("Mühle".encode(), name) == "Mühle"


@pytest.mark.parametrize(
    ("codec", "text"),
    [
        ("utf-8", "Die Mühle läuft über den Bach, natürlich auch für Übungen."),
        ("gb18030", "磨坊星期五下午三点开始运转，请大家带上合同的最新版本。"),
        ("cp932", "水車は金曜日の午後三時に動きます。契約書を持ってきてください。"),
        ("euc-jp", "水車は金曜日の午後三時に動きます。契約書を持ってきてください。"),
        ("cp949", "물레방아는 금요일 오후 세 시에 돌아갑니다. 계약서를 가져오세요."),
    ],
)
def test_one_bad_byte_costs_one_character(codec: str, text: str) -> None:
    bad = b"\x81" if codec == "cp932" else b"\xff"
    whole = text.encode(codec) + b"\n" + bad + b"\nThe end.\n"
    found = decode(whole, codec)
    assert found == f"{text}\n\ufffd\nThe end.\n"
    if codec == "utf-8":
        cut = text.encode()[: text.encode().rindex("Ü".encode()) + 1]
        assert decode(cut, codec) == decode(cut) == text[: text.rindex("Ü")] + "\ufffd"


def test_a_wrong_declaration_is_not_believed() -> None:
    assert decode("Die Mühle läuft".encode("cp1252"), "utf-8") == "Die Mühle läuft"
    assert decode("Die Mühle läuft".encode(), "iso-8859-1") == "Die Mühle läuft"
    assert (
        decode("Мельница работает с утра".encode("koi8-r"), "utf-8") == "Мельница работает с утра"
    )
    assert decode("Мельница работает с утра".encode("cp1251")) == "Мельница работает с утра"
    assert decode(bytes(range(256))) != ""


def in_jis(character: str) -> bytes:
    """The row and column of a character of CP932, as CP50221 writes them."""
    lead, trail = character.encode("cp932")
    row = (lead - (0x70 if lead < 0xE0 else 0xB0)) * 2 - (trail < 0x9F)
    return bytes((row, trail - (0x7E if trail >= 0x9F else 0x1F if trail < 0x7F else 0x20)))


def test_japanese_with_rows_of_vendors() -> None:
    text = "来週の打合せは①東京②大阪の順です。担当は㈱例の高橋さんです。"
    with pytest.raises(UnicodeEncodeError):
        text.encode("iso-2022-jp")
    raw = b"Hi \x1b$B" + b"".join(map(in_jis, text)) + b"\x1b(B!"
    assert decode(raw, "iso-2022-jp") == f"Hi {text}!"
    assert decode(b"\x1b(I\x46\x3d\x44\x1b(B!", "iso-2022-jp") == "ﾆｽﾄ!"
    cut = decode(raw.replace(in_jis("京"), in_jis("京")[:1]), "iso-2022-jp")
    assert cut.startswith("Hi 来週の打合せは①東")


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("=?utf-8?Q?Gr=C3?= =?utf-8?Q?=BC=C3=9Fe?=", "Grüße"),
        ("=?UTF-8?B?R3LD?=\n =?UTF-8?B?vMOfZQ==?= x", "Grüße x"),
        ("=? utf-8 ? Q ?Gr=C3=BC=C3=9Fe?=", "Grüße"),
        ("=?utf-8?Q?Angebot f=C3=BCr Sie?=", "Angebot für Sie"),
        ("Re:=?utf-8?q?Gr=C3=BC=C3=9Fe?=weiter", "Re:Grüßeweiter"),
        ('"=?UTF-8?Q?Gr=C3=BC=C3=9Fe?=" <a@x>', '"Grüße" <a@x>'),
        ("=?iso-8859-1?q?a_b?= =?utf-8?q?_c?=", "a b c"),
        ("=?no-such?q?a=FC?=", "aü"),
        ("=?utf-8?b?!!?= =?utf-8?x?y?=", " =?utf-8?x?y?="),
        ("=?utf-8*de?Q?Gr=C3=BC=C3=9Fe?=", "Grüße"),
        ("=?ks_c_5601-1987?B?sMu79g==?=", "검색"),
    ],
)
def test_encoded_words(raw: str, text: str) -> None:
    assert decode_words(raw) == text


def test_raw_bytes_beside_encoded_words() -> None:
    (found,) = read(
        b"From: a@x\nSubject: Gr\xc3\xbc\xc3\x9fe =?utf-8?q?=C3=BCber?= M\xfchle\nTo: b@x\n\nHi\n"
    )
    assert isinstance(found, RawDocument)
    assert found.title.startswith("Gr")
    assert found.title.endswith("über Mühle")


@pytest.mark.parametrize(
    ("encoding", "body", "text"),
    [
        ("base64 ", b"VGhlIG1pbGw=", "The mill"),
        ("BASE64", b"VGhlIG1p\nbGw", "The mill"),
        ("base64", b"VGhlIG0=\naWxsIHR1cm5z", "The mill turns"),
        ("base64", b"VGhlIG1pbGwgdHVybnMgeA", "The mill turns x"),
        ("base64", b"VGhl!IG1p bGw=\n\n--\nlist", "The mill"),
        ("Quoted-Printable ", b"M=C3=BChle l=C3=A4uft=\n weiter", "Mühle läuft weiter"),
        ("quoted-printable", b"semi=  \nnar, por=\t\r\nter", "seminar, porter"),
        ("quoted-printable", b"5 =3D five, 100=% sure=", "5 = five, 100=% sure"),
        ('"quoted-printable"', b"M=c3=bchle", "Mühle"),
        ("x-unknown", b"as it is", "as it is"),
    ],
)
def test_transfer_encodings(encoding: str, body: bytes, text: str) -> None:
    found = text_of(
        body, content_transfer_encoding=encoding, content_type="text/plain; charset=utf-8"
    )
    assert found.startswith(text)


def test_large_base64_takes_no_time() -> None:
    data = base64.encodebytes(b"x" * (20 << 20))
    start = time.process_time()
    assert len(decode_base64(data)) == len(decode_base64(b"QQ==\n" + data)) - 1 == 20 << 20
    assert time.process_time() - start < 10


def test_a_message_in_base64() -> None:
    inner = base64.encodebytes(mail("Die Mühle läuft.".encode(), message_id="<2@x>"))
    body = (
        b"--b\n\nSee.\n--b\nContent-Type: message/rfc822\n"
        b"Content-Transfer-Encoding: base64\n\n" + inner + b"\n--b--\n"
    )
    own, attached = read(mail(body, content_type="multipart/mixed; boundary=b", message_id="<1@x>"))
    assert isinstance(own, RawDocument)
    assert isinstance(attached, RawDocument)
    assert (attached.identifier, attached.text.strip()) == ("<2@x>", "Die Mühle läuft.")


@pytest.mark.parametrize(
    ("flowed", "delete_space", "text"),
    [
        ("The mill \nturns.\n\nNext.\n", False, "The mill turns.\n\nNext."),
        ("The mi \nll turns\n", True, "The mill turns"),
        (" From here\n >not a quote\n", False, "From here\n>not a quote"),
        ("> The mill \n> turns\nYes \n> no\n", False, "> The mill turns\nYes \n> no"),
        (">> a \n> b\n", False, ">> a \n> b"),
        ("Yours \n-- \nAda\n", False, "Yours \n-- \nAda"),
    ],
)
def test_format_flowed(flowed: str, delete_space: bool, text: str) -> None:
    assert unflow(flowed, delete_space=delete_space) == text
    kind = f"text/plain; charset=utf-8; format=flowed; delsp={'yes' if delete_space else 'no'}"
    assert text_of(flowed.encode(), content_type=kind) == text.strip()


def test_the_charset_of_html_is_in_its_meta_tag() -> None:
    html = '<html><head><meta charset="koi8-r"></head><body>Мельница</body></html>'
    for kind in ("text/html", "text/html; charset=us-ascii"):
        assert text_of(html.encode("koi8-r"), content_type=kind) == "Мельница"
    assert (
        text_of(html.encode("cp1251"), content_type="text/html; charset=windows-1251") == "Мельница"
    )


def alternative(plain: bytes, html: bytes) -> str:
    body = (
        b"--b\nContent-Type: text/plain; charset=utf-8\n\n" + plain + b"\n"
        b"--b\nContent-Type: text/html; charset=utf-8\n\n" + html + b"\n--b--\n"
    )
    return text_of(body, content_type="multipart/alternative; boundary=b")


@pytest.mark.parametrize(
    "plain",
    [
        b"This message is in HTML. Your client does not support that.",
        b"Ihr Programm kann diese Nachricht nicht anzeigen.",
        b"To view this message as a page, go to https://example.org/v?id=1",
        b" \n\n",
        b"The two chairs",
    ],
)
def test_a_useless_plain_part_loses(plain: bytes) -> None:
    html = b"<p>The two chairs of order 17 were sent today and come on Friday at noon.</p>"
    assert alternative(plain, html).startswith("The two chairs of order 17")


def test_a_plain_part_that_says_the_same_wins() -> None:
    html = b"<p>The two <b>chairs</b> were sent.</p><p>Sent from a phone</p>"
    assert alternative(b"The two *chairs* were sent.", html) == "The two *chairs* were sent."


@pytest.mark.parametrize(
    ("value", "date"),
    [
        ("jue ago 30 13:55:12 2007", "2007-08-30T13:55:12+00:00"),
        ("mar, 30 août 2011 13:55 +0200", "2011-08-30T11:55:00+00:00"),
        ("Mo, 3 Mär 2014 09:00:00 +0100", "2014-03-03T08:00:00+00:00"),
        ("пн, 3 мая 2021 10:00:00 +0300", "2021-05-03T07:00:00+00:00"),
        ("2021-05-03T10:00:00Z", "2021-05-03T10:00:00+00:00"),
        ("2021-05-03 10:00", "2021-05-03T10:00:00+00:00"),
        ("Thu, 30-Aug-2007 13:55:12 GMT", "2007-08-30T13:55:12+00:00"),
        ("03.05.2021 09:12", "2021-05-03T09:12:00+00:00"),
        ("5/23/2021 9:12 PM", "2021-05-23T21:12:00+00:00"),
        ("03/05/2021", None),
        ("tomorrow", None),
    ],
)
def test_dates_of_every_kind(value: str, date: str | None) -> None:
    assert iso_date(value) == date


def test_where_there_is_no_date_the_envelope_or_received_has_one() -> None:
    received = "from a by b; Fri, 3 May 2019 09:59:00 +0000"
    content = mail(b"Hi\n", date="", received=received)
    (by_envelope,) = read(content, b"From ada@example.org Fri May  3 10:00:00 2019")
    (by_received,) = read(content, b"From - Mon May 03 10:00:00 2021")
    assert isinstance(by_envelope, RawDocument)
    assert isinstance(by_received, RawDocument)
    assert by_envelope.date == "2019-05-03T10:00:00+00:00"
    assert by_received.date == "2019-05-03T09:59:00+00:00"


@pytest.mark.parametrize("above", ["", "\n"])
def test_a_footer_that_a_server_appended_to_base64(above: str) -> None:
    body = base64.encodebytes("Die Mühle läuft. Ölen ist nötig.".encode()).decode()
    footer = (
        "_______________________________________________\nmills mailing list\nhttps://example.org\n"
    )
    for text in (body + above + footer, body.replace("=", "") + "\n" + footer):
        found = text_of(text.encode(), content_transfer_encoding="base64")
        assert found == f"Die Mühle läuft. Ölen ist nötig.\n{footer.strip()}"


@pytest.mark.parametrize("name", ["utf-16", "", "iso-10646-ucs-2"])
def test_utf16_with_the_line_end_of_a_mail(name: str) -> None:
    assert decode("Die Mühle".encode("utf-16") + b"\n", name) == "Die Mühle"


def test_charset_names_of_vendors() -> None:
    assert decode("水車①".encode("cp932"), "csWindows31J") == "水車①"
    assert decode("水車".encode("cp932"), "x-mac-japanese") == "水車"
    assert decode("磨坊".encode("big5"), "big5-eten") == "磨坊"


def test_a_broken_header_line_does_not_end_the_header() -> None:
    header = b"Subject: Mill\nthis line lost its name\nContent-Type: text/plain; charset=utf-8\n"
    (found,) = read(
        header + b"Content-Transfer-Encoding: base64\n\n" + base64.b64encode("Mühle".encode())
    )
    assert isinstance(found, RawDocument)
    assert found.text == "Mühle"
    assert found.title.startswith("Mill")
    many = b"Subject : Mill\n" + b"lost\n" * 5000 + b"Content-Type: text/html\n\n<p>ready"
    (found,) = read(many)
    assert isinstance(found, RawDocument)
    assert (found.title[:4], found.text) == ("Mill", "ready\n")
    # Without a field of MIME below it, such a line is the text.
    (found,) = read(b"Subject: Mill\nThe mill is ready\nnote: at once\n\nBye\n")
    assert isinstance(found, RawDocument)
    assert "The mill is ready" in found.text


@pytest.mark.parametrize(
    ("kind", "body", "text"),
    [
        ("text/markdown", "# Mill", "# Mill"), ("plain/text", "Mill is ready", "Mill is ready"),
        ("text/x-anything", "Mill", "Mill"), ("text/x-amp-html", "<p>Mill</p>", "Mill"),
        ("text/enriched", "<bold>Mill</bold> <<b> <color><param>red</param>is</color>", "Mill <b> is"),
    ],
)  # fmt: skip
def test_a_body_of_another_kind_of_text(kind: str, body: str, text: str) -> None:
    assert text_of(body.encode(), content_type=kind) == text


def multipart(kind: str, *parts: str) -> bytes:
    """A multipart. Its parts are headers and text."""
    lines = "".join(f"--{kind}\n{part}\n" for part in parts)
    return f"Content-Type: multipart/{kind}; boundary={kind}\n\n{lines}--{kind}--\n".encode()


def test_attachments_in_an_alternative_are_not_lost() -> None:
    """Apple Mail writes plain text beside a multipart of HTML and the attached files."""
    log = 'Content-Type: text/plain\nContent-Disposition: attachment; filename="a.log"\n\nthe log'
    mixed = multipart("mixed", "Content-Type: text/html\n\n<p>See the log", log).decode()
    own, attached = read(
        multipart("alternative", f"Content-Type: text/plain\n\n{'See it. ' * 100}", mixed)
    )
    assert isinstance(own, RawDocument)
    assert own.text.startswith("See it.")
    assert isinstance(attached, RawDocument)
    assert attached.text == "the log"


def test_a_file_without_a_name_is_named_among_the_skipped() -> None:
    parts = ("Content-Type: text/plain\n\nSee", "Content-Type: application/zip\n\nPK")
    own, attached = read(multipart("mixed", *parts))
    assert isinstance(own, RawDocument)
    assert isinstance(attached, Unreadable)
    assert "application/zip" in attached.reason


def test_an_appointment_beside_a_text_is_an_attachment() -> None:
    calendar = (
        "BEGIN:VCALENDAR\nBEGIN:VEVENT\nSUMMARY:Mill\nDTSTART:20210507T130000Z\nLOCATION:Room 2\n"
        "END:VEVENT\nEND:VCALENDAR"
    )
    invitation = f"Content-Type: text/calendar; method=REQUEST\n\n{calendar}"
    own, attached = read(multipart("mixed", "Content-Type: text/plain\n\nPlease come", invitation))
    assert isinstance(own, RawDocument)
    assert own.text == "Please come"
    assert isinstance(attached, RawDocument)
    assert attached.text == "Mill\nWhen: 2021-05-07 13:00 UTC\nWhere: Room 2"
    assert attached.is_attachment


@pytest.mark.parametrize(
    "plain",
    ["This client cannot show HTML.\n" + "https://example.org/0123456789\n" * 40, "<div>The <b>mill</b> is ready, and so is the wheel.</div>" * 20],
)  # fmt: skip
def test_a_long_plain_part_may_be_useless_too(plain: str) -> None:
    html = (
        "Content-Type: text/html\n\n"
        + "<div>The <b>mill</b> is ready, and so is the wheel.</div>" * 20
    )
    (found,) = read(multipart("alternative", f"Content-Type: text/plain\n\n{plain}", html))
    assert isinstance(found, RawDocument)
    assert found.text.split("\n")[0] == "The mill is ready, and so is the wheel."


@pytest.mark.parametrize(
    ("value", "date"),
    [
        ("13-May-21 09:13 PM", "2021-05-13T21:13:00+00:00"),
        ("03/May/21 9:12 AM", "2021-05-03T09:12:00+00:00"),
        ("3 May 2021 12:05 am", "2021-05-03T00:05:00+00:00"),
        ("03-Mai-2021", "2021-05-03T00:00:00+00:00"),
    ],
)
def test_dates_of_trackers_and_chats(value: str, date: str) -> None:
    assert iso_date(value) == date
