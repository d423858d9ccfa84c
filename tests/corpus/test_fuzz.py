"""Fuzzing: damaged files of every format. Nothing raises, nothing is lost, nothing is written."""

import contextlib
import gzip
import io
import json
import tarfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from customir.corpus.document import RawDocument, Unreadable
from customir.corpus.ingest import ingest
from customir.corpus.prepare import Prepared, Skipped, prepare
from customir.corpus.readers import is_readable, read_source
from customir.corpus.readers.files import ReadError
from customir.errors import UserError
from customir.progress import Silent
from customir.settings import CorpusSettings
from customir.workspace import Workspace

from .messages import mail, mbox
from .test_chat import SLACK, ZULIP
from .test_formats import PDF

pytestmark = pytest.mark.slow

DATA = Path(__file__).parents[3] / "shared" / "data"

# The same examples every time, and as many as take a minute in all.
BOUNDED = settings(
    max_examples=200,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in files.items():
            packed.writestr(name, content)
    return buffer.getvalue()


def taped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as packed:
        for name, content in files.items():
            member = tarfile.TarInfo(f"export/{name}")
            member.size = len(content)
            packed.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def encoded(files: dict[str, object]) -> dict[str, bytes]:
    return {name: json.dumps(content).encode() for name, content in files.items()}


MIME = (
    b"From: =?utf-8?Q?J=C3=B6rg?= <j@x>\nTo: a@x\nSubject: =?iso-8859-1?B?R3L832U=?=\n"
    b'Message-ID: <1@x>\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary="b"\n\n'
    b"--b\nContent-Type: multipart/alternative; boundary=c\n\n--c\nContent-Type: text/plain; "
    b"charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\nGr=C3=BC=C3=9Fe\n--c\n"
    b"Content-Type: text/html\n\n<p>Gr&uuml;&szlig;e<blockquote>x</blockquote>\n--c--\n--b\n"
    b"Content-Type: message/rfc822\n\nSubject: in\n\nInner\n--b\nContent-Type: text/csv; "
    b'name="a.csv"\nContent-Disposition: attachment\nContent-Transfer-Encoding: base64\n\nYSxiCg==\n'
    b"--b--\n"
)
CSV_MAIL = (
    b'file,message\na,"Message-ID: <1@x>\nDate: Mon, 1 Jan 2001 00:00:00\nSubject: s\n\nBody"\n'
)
CHAT_MESSAGE = {
    "id": 1,
    "type": "message",
    "date": "2021-05-03T09:00:00",
    "from": "A",
    "text": ["a"],
}
SEEDS = {
    "q.emlx": b"30\nFrom: a@x\nDate: x\n\nOne.\n<plist><dict><key>flags</key></dict></plist>",
    "r.json": json.dumps(
        {"name": "T", "type": "private_group", "id": 1, "messages": [CHAT_MESSAGE, CHAT_MESSAGE]}
    ).encode(),
    "s.txt": b"03.05.21, 12:30 - Ada: a\n03.05.21, 12:31 - Ben: b\nc\n13.05.21, 12:31 - Ben: d\n",
    "t.json": json.dumps(
        {"guild": {}, "channel": {}, "messages": [{"timestamp": "2021-05-03", "content": "a"}]}
    ).encode(),
    "u.json": json.dumps(
        {"exportDate": "x", "conversations": [{"id": "1", "MessageList": [{"content": "<p>a",
         "originalarrivaltime": "2021-05-03T09:00:00Z", "from": "b"}]}]}
    ).encode(),
    "v.vtt": b"WEBVTT\n\n00:00.000 --> 00:02.000\n<v Ada>who?\n",
    "w.rtf": b"{\\rtf1\\ansi The \\b mill\\b0 \\'e4.\\par}",
    "x.ics": b"BEGIN:VCALENDAR\nBEGIN:VEVENT\nDTSTART:20210507T130000Z\nSUMMARY:S\nEND:VEVENT\n"
    b"END:VCALENDAR\n",
    "y.odt": zipped({"content.xml": b"<a xmlns:t='u:text'><t:p>One</t:p></a>",
                     "META-INF/manifest.xml": b"<a/>"}),
    "z.zip": zipped({"M/1.eml": MIME, "M/2.zip": zipped({"3.txt": b"Three"}), "4.md": b"# Four"}),
    "a.mbox": mbox(mail(b"One.\n", message_id="<1@x>"), MIME, mail(b"> q\nTwo.", subject="Re: x")),
    "b.mbox.gz": gzip.compress(mbox(mail(b"One.\n"), mail(b"Two."))),
    "c.eml": MIME,
    "d.jsonl": b'{"_id": "a", "title": "T", "text": "One"}\n{"_id": 7, "text": "Two"}\n',
    "e.csv": b'id,subject,body,date\n1,S,"B\n, b",2001-01-01\n2,T,C,x\n',
    "f.csv": CSV_MAIL,
    "g.html": b"<!doctype html><title>T</title><p>a<ul><li>b</ul><script>x</script>&amp;",
    "h.md": "# Über\n\nText\n".encode(),
    "i.pdf": PDF,
    "j.docx": zipped({"word/document.xml": b"<w:document/>", "[Content_Types].xml": b"<Types/>"}),
    "k.msg": (Path(__file__).parent / "data" / "outer.msg").read_bytes(),
    "l.pst": b"!BDN" + bytes(range(256)) * 8,
    "m.zip": zipped(encoded(SLACK)),
    "n.tar.gz": taped(encoded(ZULIP)),
    "o.txt": b'{"type":"version","version":1}\n{"type":"post","post":{"team":"t","channel":"c",'
    b'"user":"u","message":"m","create_at":1700000000000,"replies":[]}}\n',
    "2004-12-25.log": b"=== a joined\n[23:58] <a> b\n[00:01] <b> c <d>\n2004-12-25 10:00 <a> e\n",
    "p.xml": b"<slack><channel_name>g</channel_name><message conversation_id='1'>"
    b"<ts>2018-12-31T04:52:41</ts><user>F</user><text>&lt;@A&gt; x</text></message></slack>",
}  # fmt: skip
TOKENS = (
    b"", b"\n", b"\r\n", b"\0", b"\xff", b"From x Thu Aug 22 12:36:23 2002\n", b"\n\n", b"--b", b"=?",
    b"<", b">", b"&#x110000;", b"[", b"{", b'"', b"\\ud800", b"../", b"Content-Type: ", b"-" * 99,
    b"charset=utf-7", b"99999999999999999999", b"-1", b"null", b"NaN", b"1e999", b"%s", b"\x1b[31m",
)  # fmt: skip
EDITS = st.lists(
    st.tuples(
        st.floats(0, 1), st.integers(0, 40), st.sampled_from(TOKENS) | st.binary(max_size=12)
    ),
    min_size=1,
    max_size=8,
)


def damaged(content: bytes, edits: list[tuple[float, int, bytes]]) -> bytes:
    """`content` with pieces replaced: where (a share of the length), how many bytes, by what."""
    for share, length, piece in edits:
        at = int(share * len(content))
        content = content[:at] + piece + content[at + length :]
    return content


def read_all(path: Path) -> None:
    """Every item is one of two things, and each of those becomes one of two others."""
    before = sorted(path.parent.rglob("*"))
    items = list(read_source(path))
    for item in items:
        assert isinstance(item, RawDocument | Unreadable)
        assert isinstance(prepare("s", item), Prepared | Skipped)
    with contextlib.suppress(ReadError):
        is_readable(path)
    assert sorted(path.parent.rglob("*")) == before


@pytest.mark.parametrize("name", SEEDS)
def test_damaged_files(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    path = tmp_path_factory.mktemp("fuzz") / name
    read_all_of = SEEDS[name]
    path.write_bytes(read_all_of)
    read_all(path)

    @BOUNDED
    @given(EDITS)
    def run(edits: list[tuple[float, int, bytes]]) -> None:
        path.write_bytes(damaged(read_all_of, edits))
        read_all(path)

    run()


@BOUNDED
@given(st.binary(max_size=600), st.sampled_from(sorted(SEEDS)))
def test_any_bytes_under_any_name(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, name: str
) -> None:
    path = tmp_path_factory.mktemp("any") / name
    path.write_bytes(content)
    read_all(path)


@pytest.mark.parametrize("name", ["spamassassin-hard-ham-1.mbox", "r-sig-hpc.mbox"])
def test_damaged_real_mail(tmp_path: Path, name: str) -> None:
    source = DATA / "mbox" / name
    if not source.exists():
        pytest.skip(f"{source} is not on this machine")
    with source.open("rb") as file:
        content = file.read(60_000)

    @settings(BOUNDED, max_examples=60)
    @given(EDITS)
    def run(edits: list[tuple[float, int, bytes]]) -> None:
        path = tmp_path / "damaged.mbox"
        path.write_bytes(damaged(content, edits))
        read_all(path)

    run()


def test_read_is_kept_and_listed(tmp_path: Path, minilm: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()

    @settings(BOUNDED, max_examples=60)
    @given(st.lists(st.tuples(st.sampled_from(sorted(SEEDS)), EDITS), min_size=3, max_size=8))
    def run(files: list[tuple[str, list[tuple[float, int, bytes]]]]) -> None:
        for each in source.iterdir():
            each.unlink()
        for number, (name, edits) in enumerate(files):
            (source / f"{number}{name}").write_bytes(damaged(SEEDS[name], edits))
        (source / "always.txt").write_text("The mill is ready.")
        with Workspace(tmp_path / "out") as workspace:
            try:
                found = ingest(
                    workspace, [source], CorpusSettings(), minilm / "tokenizer.json", Silent()
                )
            except UserError:
                return
            (listed,) = workspace.database.execute("SELECT count(*) FROM skipped").fetchone()
            (kept,) = workspace.database.execute("SELECT count(*) FROM document").fetchone()
        assert (found.kept, found.skipped) == (kept, listed)
        assert found.read == kept + listed

    run()
