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


@pytest.mark.parametrize(
    ("table", "title", "text", "sender"),
    [
        ("Betreff;Nachrichtentext;Absender;Gesendet am", "Kessel", "Er tropft", "Ada"),
        ("Objet;Corps du message;Expéditeur;Date d'envoi", "Chaudière", "Elle fuit", "Ada"),
        ("Asunto;Descripción;Remitente;Fecha", "Caldera", "Gotea", "Ada"),
        ("Oggetto;Descrizione;Mittente;Data", "Caldaia", "Gocciola", "Ada"),
        ("Onderwerp;Omschrijving;Afzender;Datum", "Ketel", "Hij lekt", "Ada"),
        ("Temat;Opis;Nadawca;Data", "Kocioł", "Kapie", "Ada"),
        ("Тема;Описание;Автор;Дата", "Котёл", "Он течёт", "Ada"),
        ("主题;正文;发件人;日期", "锅炉", "漏水了", "Ada"),
    ],
)
def test_column_names_in_many_languages(
    tmp_path: Path, table: str, title: str, text: str, sender: str
) -> None:
    content = f"{table}\n{title};{text};{sender};13.05.2021\n"
    for number, encoding in enumerate(("utf-8", "utf-8-sig", "utf-16", "utf-16-le")):
        path = tmp_path / f"{number}.csv"
        path.write_bytes(content.encode(encoding))
        if encoding == "utf-16-le" and not table[0].isascii():
            continue  # without a mark, only text that is half Latin is known as UTF-16
        found = only(path)
        assert (found.title, found.text, found.sender) == (title, text, sender)
        assert found.date == "2021-05-13T00:00:00+00:00"


def test_a_quotation_mark_that_is_never_closed_costs_no_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text('id\ttext\n1\t"so" it is\n2\t"so it is\n3\tlast\n4\t"two\nlines"\n5\tend "\n')
    texts = [item.text for item in read_source(path) if isinstance(item, RawDocument)]
    assert texts == ["so it is", '"so it is', "last", "two\nlines", 'end "']


def test_lines_that_end_as_on_old_macs(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"id,text\r1,It drips\r2,It is stuck\r")
    mail = b"From a@x Thu Aug 22 12:36:23 2002\rFrom: a@x\rSubject: Lift\r\rIt is stuck.\r\r"
    (tmp_path / "b.mbox").write_bytes(mail * 2)
    found = [item.text.strip() for item in read_source(tmp_path) if isinstance(item, RawDocument)]
    assert found == ["It drips", "It is stuck", "It is stuck.", "It is stuck."]


def test_utf16_in_every_format_of_text(tmp_path: Path) -> None:
    contents = {
        "a.jsonl": '{"text": "Die Mühle"}\n',
        "b.json": '[{"text": "Die Mühle"}]',
        "c.mbox": "From a@x Thu Aug 22 12:36:23 2002\nFrom: a@x\nSubject: b\n\nDie Mühle\n",
        "d.html": "<html><p>Die Mühle",
        "e.md": "Die Mühle",
    }
    for encoding in ("utf-16", "utf-16-be"):
        for name, content in contents.items():
            (tmp_path / name).write_bytes(content.encode(encoding))
        found = [
            item.text.strip() for item in read_source(tmp_path) if isinstance(item, RawDocument)
        ]
        assert found == ["Die Mühle"] * len(contents)
