"""Outlook's files, as Outlook wrote them.

A small .msg lies beside this file. Stores are too large for that: npm's pst-extractor 1.12.0 (MIT)
ships three of 14 to 17 MB, and they are fetched once into pytest's cache.
"""

import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from customir.corpus.document import RawDocument, Unreadable
from customir.corpus.readers import read_source

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
