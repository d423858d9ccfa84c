"""Outlook's files, as Outlook wrote them.

A small .msg lies beside this file. Stores are too large for that: npm's pst-extractor 1.12.0 (MIT)
ships three of 14 to 17 MB, and they are fetched once into pytest's cache.
"""

import gzip
import shutil
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from customir.corpus.document import RawDocument, Unreadable
from customir.corpus.readers import read_source, rtf, rtf_html
from customir.corpus.readers.outlook import unpack_rtf

DATA = Path(__file__).parent / "data"
PACKAGE = "pst-extractor@1.12.0"


@pytest.fixture(scope="session")
def stores(request: pytest.FixtureRequest) -> Path:
    pytest.importorskip("pypff", reason="customir[formats] is not installed")
    cache = request.config.cache
    npm = shutil.which("npm")
    folder = cache.mkdir("pst-extractor") if cache else None
    if folder is None or (not any(folder.glob("*.pst")) and npm is None):
        pytest.skip("npm is not installed, or pytest runs without its cache")
    if not any(folder.glob("*.pst")):
        try:
            subprocess.run(
                [str(npm), "pack", "--silent", PACKAGE], cwd=folder, check=True, timeout=120
            )
        except subprocess.SubprocessError as error:
            pytest.skip(f"{PACKAGE} can't be fetched: {error}")
        (packed,) = folder.glob("*.tgz")
        with tarfile.open(packed) as tape:
            for member in tape:
                if member.name.endswith((".pst", ".ost")):
                    file = tape.extractfile(member)
                    assert file is not None
                    (folder / Path(member.name).name).write_bytes(file.read())
        packed.unlink()
    return folder


def test_a_real_msg(tmp_path: Path) -> None:
    pytest.importorskip("oxmsg", reason="customir[formats] is not installed")
    path = tmp_path / "any.msg"
    path.write_bytes((DATA / "outer.msg").read_bytes())
    own, attached = read_source(path)
    assert isinstance(own, RawDocument)
    assert (own.title, own.text.strip()) == ("outer subject", "Outer body")
    assert (own.recipients, own.attachments) == ("outer@foo.bar", ("attachment 1",))
    assert attached == Unreadable(
        "any.msg / attachment 1", "attachment not read: application/octet-stream", True
    )
    for cut in (600, 9000):
        path.write_bytes((DATA / "outer.msg").read_bytes()[:cut])
        (broken,) = read_source(path)
        assert isinstance(broken, Unreadable)


def test_real_stores(stores: Path, tmp_path: Path) -> None:
    items = list(read_source(stores / "enron.pst"))
    mails = [item for item in items if isinstance(item, RawDocument) and not item.is_attachment]
    assert len(mails) == 71
    assert all(mail.date and mail.sender and mail.text for mail in mails)
    assert sum(mail.identifier.startswith("<") for mail in mails) > 40
    named = [item for item in items if isinstance(item, Unreadable)]
    assert len(named) == 63
    attached = [item for item in items if isinstance(item, RawDocument) and item.is_attachment]
    assert sum(item.title.endswith(".xls") for item in attached) == 6
    sheets = [name for mail in mails for name in mail.attachments if name.endswith(".xls")]
    assert {item.title for item in attached if item.title.endswith(".xls")} <= set(sheets)
    assert any(item.identifier.endswith("/ OBA_Oasis_27727.doc") for item in named)
    items = list(read_source(stores / "pstextractortestpdf@outlook.com.ost"))
    (pdf,) = (item for item in items if isinstance(item, RawDocument) and item.is_attachment)
    assert pdf.title == "Clinometer Usage.pdf"
    assert "Technical Support" in pdf.text
    assert pdf.references == ("<BDAEEF64-BED1-49C3-85BA-CD75484F2456@hxcore.ol>",)
    content = (stores / "enron.pst").read_bytes()
    for cut in (100, 5000, 4_000_000):
        (tmp_path / "cut.pst").write_bytes(content[:cut])
        found = list(read_source(tmp_path / "cut.pst"))
        assert any(isinstance(item, Unreadable) for item in found)


@pytest.mark.parametrize("name", ["mail.zip", "mail.pst.gz"])
def test_a_store_in_an_archive_is_named_with_what_to_do(tmp_path: Path, name: str) -> None:
    content = b"!BDN" + bytes(600)
    if name.endswith(".zip"):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr("mail.pst", content)
    else:
        (tmp_path / name).write_bytes(gzip.compress(content))
    (found,) = read_source(tmp_path / name)
    assert isinstance(found, Unreadable)
    assert found.reason.startswith("an Outlook store in an archive: unpack it")


def test_html_that_outlook_keeps_in_rtf() -> None:
    """A message whose only body is RTF holds its HTML, with everything twice."""
    source = (DATA / "html.rtf").read_bytes()
    expected = (
        "Grüße für 5 € & a < b {x}\nnext line\n\nOrder 4711\n-----Original Message-----\n"
        "From: Ben\nSent: 3 May 2021 09:12\n"
    )
    assert rtf.as_text(source) == expected
    japanese = source.replace(b"ansicpg1252", b"ansicpg932").replace(
        rb"Gr\'fc\'dfe f\'fcr", rb"\'90\'85\'8e\'d4"
    )
    assert rtf.as_text(japanese).startswith("水車 5 € & a")
    # As it is in a .msg, and damaged.
    compressed_rtf = pytest.importorskip(
        "compressed_rtf", reason="customir[formats] is not installed"
    )
    assert rtf.as_text(unpack_rtf(compressed_rtf.compress(source, compressed=True))) == expected
    for cut in range(0, len(source), 7):
        rtf_html.html_of(source[:cut])
