"""Office files, tables and web pages: each read as its format, found by content."""

from pathlib import Path

import pytest

from customir.corpus.document import RawDocument, Unreadable
from customir.corpus.readers import read_source

PDF = b"""%PDF-1.4
1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj
2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj
3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 300 200]/Contents 4 0 R
/Resources<</Font<</F1 5 0 R>>>>>>endobj
4 0 obj<</Length 62>>stream
BT /F1 12 Tf 20 100 Td (The boiler is inspected in May.) Tj ET
endstream endobj
5 0 obj<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>endobj
trailer<</Root 1 0 R>>
%%EOF
"""


def only(path: Path) -> RawDocument:
    (found,) = read_source(path)
    assert isinstance(found, RawDocument), found
    return found


def test_a_table_with_named_columns(tmp_path: Path) -> None:
    path = tmp_path / "tickets.csv"
    path.write_text(
        'id,subject,body,author\n7,Boiler,"It drips,\nsince May.",Ann\n8,Lift,It is stuck.,Ben\n'
    )
    found = list(read_source(path))
    assert [item for item in found if isinstance(item, Unreadable)] == []
    assert [
        (item.identifier, item.title, item.text, item.sender)
        for item in found
        if isinstance(item, RawDocument)
    ] == [("7", "Boiler", "It drips,\nsince May.", "Ann"), ("8", "Lift", "It is stuck.", "Ben")]


def test_a_web_page(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text(
        "<!DOCTYPE html><html><head><title>Boiler</title><script>var hidden = 1</script></head>"
        "<body><h1>Inspection</h1><p>The boiler is inspected in <b>May</b>.</p></body></html>"
    )
    found = only(path)
    assert found.title == "Boiler"
    assert "inspected in" in found.text
    assert "hidden" not in found.text


def test_a_word_file(tmp_path: Path) -> None:
    docx = pytest.importorskip("docx", reason="customir[formats] is not installed")
    document = docx.Document()
    document.core_properties.title = "Boiler"
    document.add_paragraph("The boiler is inspected in May.")
    table = document.add_table(rows=1, cols=2)
    table.rows[0].cells[0].text, table.rows[0].cells[1].text = "pressure", "1.5 bar"
    document.save(tmp_path / "boiler.docx")
    found = only(tmp_path / "boiler.docx")
    assert found.title == "Boiler"
    assert found.text == "The boiler is inspected in May.\n\npressure | 1.5 bar"


def test_a_pdf(tmp_path: Path) -> None:
    pytest.importorskip("pypdfium2", reason="customir[formats] is not installed")
    path = tmp_path / "boiler.pdf"
    path.write_bytes(PDF)
    assert "The boiler is inspected in May." in only(path).text


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("cut.pdf", PDF[:60]),
        ("cut.msg", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600)),
        ("cut.pst", b"!BDN" + bytes(2000)),
    ],
)
def test_a_damaged_file_is_listed(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    (found,) = read_source(path)
    assert isinstance(found, Unreadable)
    assert found.reason
