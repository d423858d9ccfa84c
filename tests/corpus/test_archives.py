"""Mail and documents in zip and tar files: read without unpacking, and never trusted."""

import bz2
import gzip
import io
import lzma
import random
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from customir.corpus.document import RawDocument, Unreadable
from customir.corpus.readers import is_readable, read_source

from .messages import mail, mbox

Pack = Callable[[dict[str, bytes]], bytes]


def as_zip(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in files.items():
            packed.writestr(name, content)
    return buffer.getvalue()


def as_tar(files: dict[str, bytes], mode: str = "w") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as packed:  # type: ignore[call-overload]
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            packed.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


PACKS: dict[str, Pack] = {
    "a.zip": as_zip,
    "a.tar": as_tar,
    "a.tar.gz": lambda files: as_tar(files, "w:gz"),
    "a.tgz": lambda files: as_tar(files, "w:gz"),
    "a.tar.bz2": lambda files: as_tar(files, "w:bz2"),
    "a.tar.xz": lambda files: as_tar(files, "w:xz"),
}
TAKEOUT = {
    "Takeout/archive_browser.html": b"<!DOCTYPE html><head><title>Takeout</title></head><p>Your files</p>",
    "Takeout/Mail/All mail Including Spam and Trash.mbox": mbox(
        mail(b"One.\n", message_id="<1@x>"),
        mail(b"Two.\n", message_id="<2@x>", x_gmail_labels="Trash"),
    ),
    "Takeout/Mail/deeper/3.eml": mail(b"Three.\n", message_id="<3@x>"),
    "Takeout/Mail/Spam/4.eml": mail(b"Four.\n", message_id="<4@x>"),
    "Takeout/Drive/plan.md": b"# Plan\n\nFive.\n",
    "Takeout/Drive/picture.png": b"\x89PNG\r\n\x1a\n\0\0\0",
    "Takeout/Drive/empty.txt": b"",
}


def read(path: Path) -> tuple[dict[str, str], dict[str, str]]:
    """(texts, reasons) by identifier."""
    before = sorted(path.parent.rglob("*"))
    items = list(read_source(path))
    assert sorted(path.parent.rglob("*")) == before, "nothing is unpacked to disk"
    texts = {item.identifier: item.text.strip() for item in items if isinstance(item, RawDocument)}
    reasons = {item.identifier: item.reason for item in items if isinstance(item, Unreadable)}
    assert len(texts) + len(reasons) == len(items)
    return texts, reasons


@pytest.mark.parametrize("name", PACKS)
def test_takeout_in_every_archive(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(PACKS[name](TAKEOUT))
    texts, reasons = read(path)
    assert texts == {
        f"{name}/archive_browser.html": "Your files",
        "<1@x>": "One.", "<2@x>": "Two.", "<3@x>": "Three.", "<4@x>": "Four.",
        f"{name}/Drive/plan.md": "# Plan\n\nFive.",
    }  # fmt: skip
    assert reasons == {
        f"{name}/Drive/picture.png": "not a format that can be read",
        f"{name}/Drive/empty.txt": "empty file",
    }
    assert is_readable(path)
    unwanted = {
        item.identifier
        for item in read_source(path)
        if isinstance(item, RawDocument) and item.unwanted
    }
    assert unwanted == {"<2@x>", "<4@x>"}


def test_archives_in_archives(tmp_path: Path) -> None:
    inner = as_zip({"1.eml": mail(b"One.\n", message_id="<1@x>")})
    path = tmp_path / "outer.zip"
    path.write_bytes(
        as_zip(
            {
                "in/a.zip": inner,
                "b.mbox.gz": gzip.compress(mbox(mail(b"Two.\n", message_id="<2@x>"))),
            }
        )
    )
    assert read(path)[0] == {"<1@x>": "One.", "<2@x>": "Two."}
    for _ in range(5):
        inner = as_zip({"a.zip": inner, "x": b""})
    path.write_bytes(inner)
    texts, reasons = read(path)
    assert texts == {}
    assert "an archive in an archive in an archive, not opened" in reasons.values()


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_a_compressed_mailbox_and_its_damage(
    tmp_path: Path, pack: Callable[[bytes], bytes]
) -> None:
    content = mbox(*(mail(b"One.\n" * 400, message_id=f"<{n}@x>") for n in range(300)))
    path = tmp_path / "a.mbox.packed"
    path.write_bytes(pack(content))
    assert len(read(path)[0]) == 300
    path.write_bytes(pack(content)[:-20])
    texts, reasons = read(path)
    assert list(reasons.values())[-1].startswith("damaged file")
    if pack is gzip.compress:
        assert len(texts) >= 299


def test_what_is_damaged_costs_itself_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    content = bytearray(as_zip({"1.txt": b"One " * 99, "2.txt": b"Two " * 99}))
    at = content.index(b"1.txt") + 8
    content[at : at + 4] = b"\0\0\0\0"
    path.write_bytes(content)
    texts, reasons = read(path)
    assert list(texts) == ["a.zip/2.txt"]
    assert reasons["a.zip/1.txt"].startswith("damaged file")
    tape = tmp_path / "a.tar"
    tape.write_bytes(as_tar({"1.txt": b"One", "2.txt": b"Two " * 9999})[:9000])
    texts, reasons = read(tape)
    assert list(texts) == ["a.tar/1.txt"]
    assert any("damaged" in reason for reason in reasons.values())


def test_encrypted_members_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    content = bytearray(as_zip({"1.txt": b"One", "2.txt": b"Two"}))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + offset] |= 1
    path.write_bytes(content)
    texts, reasons = read(path)
    assert texts == {"a.zip/2.txt": "Two"}
    assert reasons["a.zip/1.txt"].startswith("encrypted")


@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz"])
def test_no_member_leads_out(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(
        PACKS[name](
            {
                "../x.txt": b"x",
                "/etc/x.txt": b"x",
                "a/../../x.txt": b"x",
                "C:\\x.txt": b"x",
                "ok.txt": b"Fine.",
            }
        )
    )
    texts, reasons = read(path)
    assert texts == {f"{name}/ok.txt": "Fine."}
    assert set(reasons.values()) == {"a link, or a path that leads out of the archive"}
    assert len(reasons) == 4


@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz", "a.tar.xz"])
def test_a_bomb_is_not_opened(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(PACKS[name]({"a.txt": b"\0" * (64 << 20)}))
    texts, reasons = read(path)
    assert texts == {}
    assert "200 times its size" in reasons[name]


@pytest.mark.slow
def test_memory_is_flat_for_a_mailbox_in_an_archive(tmp_path: Path) -> None:
    noise = random.Random(0).randbytes(1 << 20).hex().encode()
    message = mbox(mail(noise[:10_000]))
    content = b"".join(mbox(mail(noise[n * 99 : n * 99 + 10_000])) for n in range(3000))
    path = tmp_path / "a.tar.gz"
    path.write_bytes(as_tar({"Takeout/Mail/a.mbox": content}, "w:gz"))
    del content
    tracemalloc.start()
    assert sum(1 for _ in read_source(path)) == 3000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20 << 20 < 3000 * len(message)
