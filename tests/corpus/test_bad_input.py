"""Mail as it should not be: every defect that Python's email knows, and sizes that nobody expects."""

import email
import email.policy
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from pathlib import Path

import pytest

from customir.corpus.document import RawDocument, Unreadable
from customir.corpus.ingest import IngestSummary
from customir.corpus.prepare import MAXIMUM_RECIPIENTS, Prepared, prepare
from customir.corpus.readers import read_source

from .messages import ENVELOPE, mail, mbox

Ingest = Callable[..., IngestSummary]

TEXT = b"The mill is ready."
PART = b"--b\nContent-Type: text/plain\n\n" + TEXT + b"\n"
MULTIPART = b'Content-Type: multipart/mixed; boundary="b"\n'
BASE64 = b"Content-Transfer-Encoding: base64\n\n"
DEFECTS = {
    "NoBoundaryInMultipartDefect": b"Content-Type: multipart/mixed\n\n" + TEXT,
    "StartBoundaryNotFoundDefect": MULTIPART + b"\n" + TEXT,
    "CloseBoundaryNotFoundDefect": MULTIPART + b"\n" + PART,
    "FirstHeaderLineIsContinuationDefect": b" folded: a\nSubject: x\n\n" + TEXT,
    "MisplacedEnvelopeHeaderDefect": b"Subject: x\nFrom a@x Mon Jan  1 2001\nTo: b\n\n" + TEXT,
    "MissingHeaderBodySeparatorDefect": b"Subject: x\nno header\n\n" + TEXT,
    "MultipartInvariantViolationDefect": b"Content-Type: multipart/mixed\n\n" + TEXT,
    "InvalidMultipartContentTransferEncodingDefect": MULTIPART + BASE64 + PART + b"--b--\n",
    "UndecodableBytesDefect": b"From: =?utf-8?q?=FF?= <a@x>\n\n" + TEXT,
    "InvalidBase64PaddingDefect": BASE64 + b"VGhlIG1pbGwgaXMgcmVhZHkuIQ",
    "InvalidBase64CharactersDefect": BASE64 + b"VGhl#IG1pbGwgaXMgcmVhZHku",
    "InvalidBase64LengthDefect": BASE64 + b"VGhlIG1pbGwgaXMgcmVhZHkuI",
    "InvalidHeaderDefect": b"To: a@x b@\n\n" + TEXT,
    "HeaderMissingRequiredValue": b"Content-Type:\nMIME-Version:\n\n" + TEXT,
    "NonPrintableDefect": b"MIME-Version: 1.0\x01\nTo: a\x02b@x\n\n" + TEXT,
    "ObsoleteHeaderDefect": b"From: a.b c@x\nTo: a . b@x\n\n" + TEXT,
    "NonASCIILocalPartDefect": "From: müller@x.org\n\n".encode() + TEXT,
    "InvalidDateDefect": b"Date: the day before yesterday\n\n" + TEXT,
}


def one(tmp_path: Path, content: bytes) -> RawDocument | Unreadable:
    path = tmp_path / "one.mbox"
    path.write_bytes(content)
    return next(iter(read_source(path)))


def defects(content: bytes) -> Iterator[str]:
    """The names of all defects that the standard library finds, of headers too."""
    message = email.message_from_bytes(content, policy=email.policy.default)
    for part in message.walk():
        assert isinstance(part, EmailMessage)
        for value in part.values():
            yield from (type(defect).__name__ for defect in getattr(value, "defects", ()))
        if not part.is_multipart():
            part.get_payload(decode=True)
        yield from (type(defect).__name__ for defect in part.defects)


@pytest.mark.parametrize("name", DEFECTS)
def test_every_defect(tmp_path: Path, name: str) -> None:
    content = DEFECTS[name]
    assert name in set(defects(content)), "the bytes must have the defect that they stand for"
    item = one(tmp_path, ENVELOPE + content)
    assert isinstance(item, RawDocument)
    assert "The mill is ready" in item.text
    assert isinstance(prepare("s", item), Prepared)


def test_ten_thousand_recipients(tmp_path: Path, read_in: Ingest) -> None:
    everyone = ",\n ".join(f'"Person {n}" <p{n}@example.org>' for n in range(10_000))
    path = tmp_path / "all.mbox"
    path.write_bytes(
        mbox(
            mail(TEXT, to=everyone, message_id="<1@x>"),
            mail(
                b"Good.",
                subject="Re: Engines",
                date="Fri, 23 Aug 2002 18:26:25 +0700",
                to="ada@example.org",
                message_id="<2@x>",
            ),
        )
    )
    item = next(iter(read_source(path)))
    assert isinstance(item, RawDocument)
    assert item.recipients.count("@example.org") == 10_000
    kept = prepare("s", item)
    assert isinstance(kept, Prepared)
    assert len(kept.document.recipients) == MAXIMUM_RECIPIENTS
    assert read_in(path).threads == 1


def test_a_hundred_messages_in_one_another_are_all_named_or_read(tmp_path: Path) -> None:
    content = mail(b"Innermost.", message_id="<100@x>")
    for depth in range(99, -1, -1):
        content = (
            f"Message-ID: <{depth}@x>\nSubject: s\nMIME-Version: 1.0\n"
            f'Content-Type: multipart/mixed; boundary="b{depth}"\n\n'
            f"--b{depth}\n\nText of {depth}.\n--b{depth}\nContent-Type: message/rfc822\n\n"
        ).encode() + content + f"\n--b{depth}--\n".encode()  # fmt: skip
    path = tmp_path / "deep.eml"
    path.write_bytes(content)
    items = list(read_source(path))
    texts = {item.identifier: item.text.strip() for item in items if isinstance(item, RawDocument)}
    assert texts["<0@x>"] == "Text of 0."
    assert len(texts) + sum(isinstance(item, Unreadable) for item in items) == len(items)
    assert texts["<60@x>"] == "Text of 60."


def test_a_file_that_grows_or_shrinks_while_it_is_read(tmp_path: Path, read_in: Ingest) -> None:
    path = tmp_path / "in.mbox"
    filler = b"It turns and turns and turns. " * 20_000
    path.write_bytes(mbox(*(mail(b"%d " % n + filler, message_id=f"<{n}@x>") for n in range(6))))
    items = read_source(path)
    found = [next(items)]
    with path.open("ab") as file:
        file.write(mbox(mail(b"Late.", message_id="<late@x>")) + ENVELOPE + b"Subject: ha")
    found += items
    identifiers = [item.identifier for item in found]
    assert identifiers[:7] == [*(f"<{n}@x>" for n in range(6)), "<late@x>"]
    items = read_source(path)
    next(items)
    path.write_bytes(path.read_bytes()[:700_000])
    assert sum(1 for _ in items) < 7
    summary = read_in(path)
    assert summary.read == summary.kept + summary.skipped


LONG_LINE = """
import resource, sys
from pathlib import Path
from customir.corpus.document import Unreadable
from customir.corpus.readers import read_source
path = Path(sys.argv[1])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
items = list(read_source(path))
reasons = [item.reason for item in items if isinstance(item, Unreadable)]
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(len(items), grown // 1024, *reasons, sep="|")
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "head", "tail", "read"),
    [
        ("a.mbox", ENVELOPE + b"Subject: x\n\n", b"\n\n" + ENVELOPE + b"Subject: y\n\nText\n", 2),
        (
            "a.jsonl",
            b'{"_id": "a", "text": "' + b" " * (1 << 16),
            b'"}\n{"_id": "b", "text": "Text"}\n',
            2,
        ),
        ("a.txt", b"Dear Ada, this goes on and on" + b" " * (1 << 16), b"\nend", 1),
        ("a.eml", b"Received: x\nSubject: x\n\n" + b" " * (1 << 16), b"\nend", 1),
        ("a.csv", b"id,subject,body\n" + b"1,x," * (1 << 15), b"\n2,y,Text\n", None),
    ],
)
def test_a_line_of_one_gigabyte(
    tmp_path: Path, name: str, head: bytes, tail: bytes, read: int | None
) -> None:
    path = tmp_path / name
    with path.open("wb") as file:  # a hole: it takes no disk, and is read as zeros
        file.write(head)
        file.seek(1 << 30, 1)
        file.write(tail)
    try:
        run = subprocess.run(
            [sys.executable, "-c", LONG_LINE, str(path)],
            capture_output=True, text=True, check=True, timeout=120,
        )  # fmt: skip
    finally:
        path.unlink()
    count, megabytes, *reasons = run.stdout.strip().split("|")
    assert read is None or int(count) == read
    assert int(megabytes) < 400
    assert len(reasons) >= 1
    assert any("larger than" in reason or "too long" in reason for reason in reasons), reasons


def test_bytes_that_are_no_utf_8_anywhere(tmp_path: Path) -> None:
    line = {"_id": "a", "title": "T", "text": "Text"}
    formats = {
        "a.mbox": mbox(mail(TEXT, to="b@x", message_id="<1@x>", content_type="text/html")),
        "a.eml": DEFECTS["CloseBoundaryNotFoundDefect"],
        "a.jsonl": json.dumps(line).encode() + b"\n" + json.dumps(line | {"_id": "b"}).encode(),
        "a.csv": b"id,subject,body\n1,S,B\n",
        "a.html": b"<html><head><title>T</title></head><body>B</body></html>",
        "2004-12-25.txt": b"[10:00] <a> b\n[10:01] <b> c\n[10:02] <a> d\n",
        "a.xml": b"<slack><channel_name>c</channel_name><message conversation_id='1'>"
        b"<ts>2018-12-31T04:52:41</ts><user>u</user><text>t</text></message></slack>",
        "a.md": b"# Title\n\nText.\n",
    }
    for name, content in formats.items():
        path = tmp_path / name
        for at in range(0, len(content) + 1, 3):
            for bad in (b"\xff\xfe", b"\x80", b"\xed\xa0\x80"):
                path.write_bytes(content[:at] + bad + content[at:])
                items = [prepare("s", item) for item in read_source(path)]
                assert items, "read, or refused with its reason"
        path.unlink()
