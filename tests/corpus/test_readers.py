"""Every format on real bytes, good and bad: nothing raises, nothing is lost without a word."""

import base64
import gzip
import io
import json
import os
import time
import tracemalloc
from pathlib import Path

import pytest

from customir.corpus.document import RawDocument, Unreadable
from customir.corpus.readers import is_readable, parsed, read_source, regular_files
from customir.corpus.readers import mbox as mbox_format
from customir.corpus.readers.documents import document_reader
from customir.corpus.readers.files import SourceFile
from customir.corpus.readers.registry import stream_reader

from .messages import ENVELOPE, mail, mbox


def read(path: Path) -> list[RawDocument | Unreadable]:
    return list(read_source(path))


def one(tmp_path: Path, message: bytes) -> RawDocument | Unreadable:
    path = tmp_path / "one.eml"
    path.write_bytes(message)
    item, *attachments = read(path)
    assert all(each.is_attachment for each in attachments)
    return item


def text_of(item: RawDocument | Unreadable) -> str:
    assert isinstance(item, RawDocument), item
    return item.text.strip()


def reason_of(item: RawDocument | Unreadable) -> str:
    assert isinstance(item, Unreadable), item
    return item.reason


def parts(kind: str, *children: bytes, extra: str = "") -> bytes:
    """A multipart message."""
    body = b"".join(b"--b\n" + child + b"\n" for child in children) + b"--b--\n"
    return mail(body, content_type=f'multipart/{kind}; boundary="b"{extra}', mime_version="1.0")


PLAIN = b"Content-Type: text/plain; charset=utf-8\n\nThe mill is ready.\n"


def test_headers_are_decoded(tmp_path: Path) -> None:
    item = one(
        tmp_path,
        mail(
            b"Hi\n",
            subject="=?utf-8?B?R3LDvMOf?=\n =?utf-8?Q?e?= and more",
            **{"from": "=?iso-8859-1?Q?J=F6rg?= <j@x>"},
            message_id="<1@x>",
            references="<0@x>\n <00@x>",
            in_reply_to="<00@x>",
        ),
    )
    assert isinstance(item, RawDocument)
    assert item.title == "Grüße and more"
    assert item.sender == "Jörg <j@x>"
    assert item.date == "2002-08-22T11:26:25+00:00"
    assert (item.identifier, item.references) == ("<1@x>", ("<0@x>", "<00@x>"))


@pytest.mark.parametrize(
    ("value", "date"),
    [
        ("Fri, 1 Jan 1904 00:00:00 +0000", "1904-01-01T00:00:00+00:00"),
        ("Fri, 1 Jan 2094 00:00:00 +0000", "2094-01-01T00:00:00+00:00"),
        ("Fri, 31 Dec 9999 23:00:00 -1400", None),
        ("yesterday", None),
        ("Thu, 99 Foo 2002 99:99:99", None),
        ("", None),
    ],
)
def test_dates(tmp_path: Path, value: str, date: str | None) -> None:
    item = one(tmp_path, mail(b"Hi\n", date=value))
    assert isinstance(item, RawDocument)
    assert item.date == date


def test_no_subject_no_id_no_date(tmp_path: Path) -> None:
    item = one(tmp_path, mail(b"Hi\n", subject="", date="", x_mailer="y"))
    assert isinstance(item, RawDocument)
    assert (item.title, item.identifier, item.date) == ("", "one.eml", None)


@pytest.mark.parametrize("name", ["utf-8", "no-such-charset", "", "\x00", "utf-16", "base64"])
def test_broken_charsets_are_survived(tmp_path: Path, name: str) -> None:
    body = "The mill — prêt".encode("cp1252") + b"\x00\xff\n"
    item = one(tmp_path, mail(body, content_type=f'text/plain; charset="{name}"'))
    assert isinstance(item, RawDocument)


@pytest.mark.parametrize(
    ("headers", "body", "text"),
    [
        ({"content_transfer_encoding": "base64"}, base64.b64encode(b"The mill"), "The mill"),
        ({"content_transfer_encoding": "base64"}, b"VGhlIG1pbGw", "The mill"),
        ({"content_transfer_encoding": "quoted-printable"}, b"The=20mi=\nll=", "The mill"),
        ({"content_transfer_encoding": "x-unknown"}, b"The mill", "The mill"),
        ({"content_type": "text"}, b"The mill", "The mill"),
        ({"content_type": "multipart/mixed"}, b"The mill", "The mill"),
        ({"content_type": 'multipart/mixed; boundary="never"'}, b"The mill", "The mill"),
        ({"content_type": "text/html"}, b"<p>The <b>mill</b><p>stands", "The mill\n\nstands"),
        ({}, b"<html><body>The mill</body>", "The mill"),
        ({"x_a": "b\nbroken header line"}, b"The mill", "The mill"),
    ],
)
def test_encodings_and_broken_mime(
    tmp_path: Path, headers: dict[str, str], body: bytes, text: str
) -> None:
    assert text_of(one(tmp_path, mail(body, **headers))).endswith(text)


def test_plain_text_is_preferred_and_attachments_are_left_alone(tmp_path: Path) -> None:
    html = b"Content-Type: text/html\n\n<p>The mill is READY</p>\n"
    note = (
        b"Content-Type: text/plain\nContent-Disposition: attachment; filename=a.txt\n\nATTACHED\n"
    )
    picture = b"Content-Type: image/png\nContent-Transfer-Encoding: base64\n\niVBORw0K\n"
    assert text_of(one(tmp_path, parts("alternative", html, PLAIN))) == "The mill is ready."
    assert text_of(one(tmp_path, parts("alternative", html, picture))) == "The mill is READY"
    assert text_of(one(tmp_path, parts("mixed", PLAIN, note, picture))) == "The mill is ready."
    with_files = one(
        tmp_path, parts("mixed", PLAIN, note, picture.replace(b"png", b"png; name=b.png", 1))
    )
    assert isinstance(with_files, RawDocument)
    assert with_files.attachments == ("a.txt", "b.png")
    only = one(tmp_path, parts("mixed", picture))
    assert reason_of(only) == "no text part: image/png"
    assert reason_of(one(tmp_path, mail(b"  \n"))) == "empty body"


@pytest.mark.parametrize(
    "unit",
    [
        "<",
        "<!--",
        "<a ",
        "<a href='",
        "&",
        "<ul><li>",
        "<blockquote>x\n",
        "<![",
        "</a ",
        "<!",
        "<?",
    ],
)
def test_no_html_takes_long(tmp_path: Path, unit: str) -> None:
    start = time.process_time()
    one(tmp_path, mail(b"<p>" + unit.encode() * 30_000, content_type="text/html"))
    assert time.process_time() - start < 5


def test_broken_html_is_still_read(tmp_path: Path) -> None:
    html = b"<p>a < b<!-- <b>hidden</b> --><![if x]>shown<![endif]><br>Gr&uuml;&szlig;e <b"
    text = text_of(one(tmp_path, mail(html, content_type="text/html")))
    assert "a < b" in text
    assert "hidden" not in text
    assert "shown" in text
    assert "Grüße" in text


def test_bytes_after_a_broken_header_line_are_survived(tmp_path: Path) -> None:
    message = mail("Grüße\n".encode("latin-1"), x_a="b\nno header \x00 line")
    assert text_of(one(tmp_path, message)).endswith("Grüße")


@pytest.mark.slow
def test_an_attachment_of_30_mb(tmp_path: Path) -> None:
    data = base64.encodebytes(os.urandom(1 << 20)) * 30
    big = b"Content-Type: application/zip\nContent-Transfer-Encoding: base64\n\n" + data
    path = tmp_path / "big.mbox"
    path.write_bytes(mbox(parts("mixed", PLAIN, big), mail(b"After it.\n")))
    start = time.process_time()
    first, archive, second = read(path)
    assert time.process_time() - start < 20
    assert text_of(first) == "The mill is ready."
    assert reason_of(archive) == "attachment not read: application/zip"
    assert text_of(second) == "After it."


@pytest.mark.parametrize("depth", [100, 3000])
def test_messages_in_messages(tmp_path: Path, depth: int) -> None:
    item = one(tmp_path, b"Subject: a\nContent-Type: message/rfc822\n\n" * depth + mail(b"Deep\n"))
    if isinstance(item, RawDocument):
        assert item.text.strip() == "Deep"
    else:
        assert item.reason == "MIME parts nested too deep" or "no text part" in item.reason
    assert depth > 100 or isinstance(item, RawDocument)


def test_encrypted_and_signed_mail_is_named(tmp_path: Path) -> None:
    version = b"Content-Type: application/pgp-encrypted\n\nVersion: 1\n"
    cipher = b"Content-Type: application/octet-stream\n\n-----BEGIN PGP MESSAGE-----\n"
    assert reason_of(one(tmp_path, parts("encrypted", version, cipher))).startswith(
        "encrypted (PGP"
    )
    sealed = mail(b"MIIB", content_type="application/pkcs7-mime; smime-type=enveloped-data")
    assert reason_of(one(tmp_path, sealed)).startswith("encrypted (S/MIME)")
    opaque = mail(b"MIIB", content_type="application/pkcs7-mime; smime-type=signed-data")
    assert reason_of(one(tmp_path, opaque)).startswith("signed as an opaque block (S/MIME)")
    signature = b"Content-Type: application/pgp-signature\n\n-----BEGIN PGP SIGNATURE-----\n"
    assert text_of(one(tmp_path, parts("signed", PLAIN, signature))) == "The mill is ready."


def test_mbox_is_split_only_at_envelopes(tmp_path: Path) -> None:
    body = (
        b"First.\n\nFrom the mill we heard nothing in May 2002\n\n"
        b"From: not a header\n>From here on, quoted\nFrom x Thu Aug 22 12:36:23 2002\nLast.\n"
    )
    path = tmp_path / "mail"
    content = mbox(mail(body), mail(b"Second.\n")) + ENVELOPE.replace(b"\n", b"\r\n")
    content += mail(b"Third.\n").replace(b"\n", b"\r\n") + b"\r\n" + ENVELOPE + mail(b"Fourth.")
    path.write_bytes(content)
    first, second, third, fourth = map(text_of, read(path))
    assert "From the mill" in first
    assert "\nFrom here on, quoted" in first
    assert first.endswith("Last.")
    assert (second, third, fourth) == ("Second.", "Third.", "Fourth.")
    packed = tmp_path / "mail.gz"
    packed.write_bytes(gzip.compress(content))
    assert [text_of(item) for item in read(packed)] == [first, second, third, fourth]
    packed.write_bytes(gzip.compress(content)[:-30])
    *_, last = read(packed)
    assert reason_of(last).startswith("damaged file")


def test_text_before_the_first_message_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.mbox"
    path.write_bytes(mbox(mail(b"One.\n")))
    with path.open("rb") as file:
        assert mbox_format.matches(file.read(100), "a.mbox")
    path.write_bytes(b"junk\n\n" + mbox(mail(b"One.\n")))
    first, second = (
        item
        for raw in mbox_format.read(SourceFile("a.mbox", io.BytesIO(path.read_bytes())))
        for item in parsed(raw)
    )
    assert reason_of(first) == "text before the first message"
    assert text_of(second) == "One."


@pytest.mark.slow
def test_memory_is_flat(tmp_path: Path) -> None:
    path = tmp_path / "large.mbox"
    message = mbox(mail(b"The mill turns in the wind all day.\n" * 280))
    with path.open("wb") as file:
        for _ in range(4000):
            file.write(message)
    assert path.stat().st_size > 40e6
    tracemalloc.start()
    assert sum(1 for _ in read_source(path)) == 4000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 12e6


def test_jsonl_names_the_bad_lines(tmp_path: Path) -> None:
    path = tmp_path / "corpus.jsonl"
    path.write_bytes(
        b'{"_id": "a", "title": "T", "text": "One", "thread": "t"}\n'
        b'{"_id": "b", "text": \n\n{"_id": "c"}\n{"_id": 7, "text": "Seven", "title": null}\n'
        b'{"_id": ["x"], "text": "List"}\n{"_id": "a", "text": "Again"}\n["not", "an object"]\n'
        b'{"_id": "d", "text": "\xff"}\n{"text": "No id"}\n{"_id": "e", "text": 5}\n'
        b'{"_id": "s", "text": "\\ud800 half \\u0000"}\n' + b"[" * 100_000 + b"\n"
    )
    items = read(path)
    kept = {item.identifier: item for item in items if isinstance(item, RawDocument)}
    assert set(kept) == {"a", "7", "d", "corpus.jsonl: line 10", "s"}
    assert (kept["a"].title, kept["a"].text, kept["a"].thread) == ("T", "One", "t")
    reasons = {item.identifier: item.reason for item in items if isinstance(item, Unreadable)}
    assert reasons["corpus.jsonl: line 2"].startswith("not JSON")
    assert reasons["corpus.jsonl: line 4"] == "no text: the field `text` is missing"
    assert reasons["corpus.jsonl: line 6"] == "wrong type: `_id` is a list, not a text"
    assert reasons["corpus.jsonl: line 7"].endswith("'a' is on line 1")
    assert reasons["corpus.jsonl: line 8"] == "not a JSON object"
    assert kept["d"].text == "ÿ"  # a bad byte doesn't cost the document
    assert reasons["corpus.jsonl: line 11"] == "wrong type: `text` is a int, not a text"
    assert len(reasons) == 7


def test_json_of_other_kinds(tmp_path: Path) -> None:
    def ids(name: str, content: bytes) -> list[tuple[str, str, str | None]]:
        path = tmp_path / name
        path.write_bytes(content)
        items = read(path)
        assert all(isinstance(item, RawDocument) for item in items), items
        return [(item.identifier, item.title, item.date) for item in items]  # type: ignore[union-attr]

    date = "2021-05-03T08:20:00+00:00"
    assert ids("a.jsonl", b'{"id": 6, "title": 12, "text": "a", "date": 1620030000}') == [
        ("6", "12", date)
    ]
    assert ids(
        "b.jsonl", b'{"_id": "1", "text": "a", "date": "Mon, 3 May 2021 10:20:00 +0200"}'
    ) == [("1", "", date)]
    assert ids("c.jsonl", b'{"_id": "1", "text": "a", "score": NaN, "date": 1620030000000}') == [
        ("1", "", date)
    ]
    assert ids("d.jsonl", '\ufeff{"_id": "1", "text": "ä"}\n'.encode("utf-16")) == [("1", "", None)]
    assert ids("e.json", b'[{"_id": "1", "text": "a"},\n {"_id": "2", "body": "b"}]') == [
        ("1", "", None), ("2", "", None),
    ]  # fmt: skip
    assert ids("f.jsonl", b'{\n "_id": "1",\n "text": "a"\n}\n') == [("1", "", None)]
    # What is no document is not taken for one.
    path = tmp_path / "package.json"
    path.write_bytes(b'{"name": "x", "version": 1}')
    (refused,) = read(path)
    assert reason_of(refused) == "not a format that can be read"


def test_jsonl_with_senders_and_dates(tmp_path: Path) -> None:
    path = tmp_path / "corpus.jsonl"
    dates = ("2002-02-01T09:01:44", "2002-02-01T09:01:44+02:00", "2002-02-01", "yesterday", None)
    rows = [
        {"_id": str(n), "text": "One", "sender": "Ada", "date": date}
        for n, date in enumerate(dates)
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    items = read(path)
    kept = [item for item in items if isinstance(item, RawDocument)]
    assert {item.sender for item in kept} == {"Ada"}
    assert [item.date for item in kept] == [
        "2002-02-01T09:01:44+00:00",
        "2002-02-01T07:01:44+00:00",
        "2002-02-01T00:00:00+00:00",
        None,
        None,
    ]
    path.write_text(json.dumps({"_id": "a", "text": "One", "date": "0001-01-01T00:00:00+14:00"}))
    (kept_without,) = read(path)
    assert isinstance(kept_without, RawDocument)
    assert kept_without.date is None


def test_text_files(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("Grüße".encode("latin-1"))
    (tmp_path / "b.md").write_text("# The Mill\n\nIt turns.\n")
    (tmp_path / "c.txt").write_bytes("Grüße".encode("utf-16"))
    (tmp_path / "d.txt").write_bytes(b"a\x00b\x00\x01" * 50)
    (tmp_path / "e.txt").write_bytes(b"")
    a, b, c, d, e = read(tmp_path)
    assert (text_of(a), text_of(c)) == ("Grüße", "Grüße")
    assert isinstance(b, RawDocument)
    assert (b.title, b.identifier) == ("The Mill", "b.md")
    assert reason_of(d) == "not a format that can be read"
    assert reason_of(e) == "empty file"


def test_folders_by_content_and_links_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.txt").write_text("secret")
    box = tmp_path / "box"
    for name in ("cur", "new", "tmp"):
        (box / name).mkdir(parents=True)
    (box / "cur" / "1:2,S").write_bytes(mail(b"Maildir.\n", message_id="<m@x>"))
    (box / "tmp" / "2").write_bytes(mail(b"Unfinished.\n"))
    (box / "inbox").write_bytes(mbox(mail(b"In an mbox.\n")))
    (box / "12").write_bytes(mail(b"Enron.\n"))
    (box / "link").symlink_to(outside)
    (box / "link.txt").symlink_to(outside / "secret.txt")
    (box / "loop").symlink_to(box)
    (box / "p.png").write_bytes(b"\x89PNG\x00\x00")
    os.mkfifo(box / "pipe")
    items = read(box)
    texts = {item.identifier: item.text.strip() for item in items if isinstance(item, RawDocument)}
    assert texts == {"<m@x>": "Maildir.", "inbox: message 1": "In an mbox.", "12": "Enron."}
    reasons = {item.identifier: item.reason for item in items if isinstance(item, Unreadable)}
    link = "a symbolic link, not followed"
    assert reasons == {
        "link": link,
        "link.txt": link,
        "loop": link,
        "p.png": "not a format that can be read",
        "pipe": "not a regular file",
    }


@pytest.mark.parametrize(
    ("name", "content", "module"),
    [
        ("x.txt", mbox(mail(b"a")), "mbox"),
        ("x.mbox", b'{"_id": "a", "text": "b"}\n', "jsonl"),
        ("x.txt", mail(b"a"), "eml"),
        ("x.txt", b"Note: this is text\n\nSubject: x\n", "text"),
        ("x.jsonl", b"not json\n", "jsonl"),
        ("x.mbox", b"\x7fELF\x00\x00" * 99, None),
        ("x.txt", b"%PDF-1.4", "pdf"),
        ("x.txt", b"id,subject,body\n1,a,b\n", "table"),
        ("x.txt", b"<!DOCTYPE html><p>a", "web"),
        ("x.txt", b"[10:00] <a> b\n[10:01] <b> c\n", "irc"),
        ("x.txt", b"Dear Ada, the text, as you see\nis prose.\n", "text"),
        ("x.zip", b"PK\x05\x06" + b"\0" * 18, None),
    ],
)
def test_the_format_is_found_by_content(
    tmp_path: Path, name: str, content: bytes, module: str | None
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    file = SourceFile(name, io.BytesIO(content))
    found = stream_reader(file.head, name) or document_reader(file.head, name)
    assert (found and found.__name__.rpartition(".")[2]) == module  # type: ignore[union-attr]
    assert is_readable(path) == (found is not None)


def test_a_workspace_inside_a_source_is_not_read(tmp_path: Path) -> None:
    def make(folder: Path) -> None:
        for name in ("workspace.db", "workspace.lock", "report.md", "model/README.md"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text("The report shows what the mill is made of.")

    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "plan.md").write_text("The mill is ready.")
    make(tmp_path / "notes" / "out")
    found = read(tmp_path / "notes")
    assert [each.identifier for each in found] == ["plan.md", "out"]
    assert reason_of(found[1]) == "a folder of CustomIR, not read"
    assert [name for _, name in regular_files(tmp_path / "notes")] == ["plan.md"]

    make(tmp_path / "notes")  # `--out` is the source itself
    (tmp_path / "notes" / "report.pdf.md").write_text("The mill was paid.")
    assert [each.identifier for each in read(tmp_path / "notes")] == [
        "plan.md", "report.pdf.md", "out",
    ]  # fmt: skip
