"""Documents of every format, as files, in archives and as attachments; damaged ones are named."""

import base64
import builtins
import io
import shutil
import struct
import zipfile
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from customir.corpus.document import RawDocument, Unreadable
from customir.corpus.readers import ReadOptions, read_source

W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
ODF = (
    'xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0" '
    'xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0" '
    'xmlns:table="urn:oasis:names:tc:opendocument:xmlns:table:1.0" '
    'xmlns:dc="http://purl.org/dc/elements/1.1/" '
    'xmlns:meta="urn:oasis:names:tc:opendocument:xmlns:meta:1.0"'
)


def zipped(files: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in files.items():
            packed.writestr(name, content)
    return buffer.getvalue()


def docx_bytes(body: str, footnotes: str = "") -> bytes:
    """A .docx with this body, beside what python-docx writes into every one."""
    import docx

    buffer = io.BytesIO()
    document = docx.Document()
    document.core_properties.title, document.core_properties.author = "Lease", "Ada"
    document.save(buffer)
    files: dict[str, Any] = {}
    with zipfile.ZipFile(buffer) as packed:
        for name in packed.namelist():
            files[name] = packed.read(name)
    files["word/document.xml"] = f"<w:document {W}><w:body>{body}</w:body></w:document>"
    if footnotes:
        files["word/footnotes.xml"] = f"<w:footnotes {W}>{footnotes}</w:footnotes>"
        relation = (
            b'<Relationship Id="rIdNotes" Target="footnotes.xml" Type="http://schemas.openxmlformats.org'
            b'/officeDocument/2006/relationships/footnotes"/></Relationships>'
        )
        relations = files["word/_rels/document.xml.rels"]
        files["word/_rels/document.xml.rels"] = relations.replace(b"</Relationships>", relation)
    return zipped(files)


def p(text: str) -> str:
    return f"<w:p><w:r><w:t>{text}</w:t></w:r></w:p>"


def cell(content: str, properties: str = "") -> str:
    return f"<w:tc><w:tcPr>{properties}</w:tcPr>{content}</w:tc>"


SPAN, RESTART, GOES_ON = (
    '<w:gridSpan w:val="2"/>', '<w:vMerge w:val="restart"/>', "<w:vMerge/>",
)  # fmt: skip
INNER_TABLE = "<w:tbl><w:tr>" + cell(p("in")) + "</w:tr></w:tbl>"
DOCX_BODY = (
    "<w:p><w:r><w:t xml:space='preserve'>The rent is </w:t></w:r><w:ins><w:r><w:t>950</w:t></w:r></w:ins>"
    "<w:del><w:r><w:delText>900</w:delText></w:r></w:del><w:r><w:t> euros</w:t><w:tab/><w:t>a month</w:t></w:r></w:p>"
    f"<w:sdt><w:sdtContent>{p('In a control')}</w:sdtContent></w:sdt>"
    f"<w:p><w:r><w:t>Box:</w:t><w:pict><w:txbxContent>{p('two keys')}</w:txbxContent></w:pict></w:r></w:p>"
    "<w:p><w:r><w:t>See</w:t><w:footnoteReference w:id='2'/></w:r></w:p>"
    "<w:moveFrom><w:r><w:t>gone</w:t></w:r></w:moveFrom>"
    f"<w:tbl><w:tr>{cell(p('head'), SPAN)}</w:tr>"
    f"<w:tr>{cell(p('a'), RESTART)}{cell(p('b'))}</w:tr>"
    f"<w:tr>{cell(p('a'), GOES_ON)}{cell(INNER_TABLE + p('out'))}</w:tr></w:tbl>"
)  # fmt: skip
DOCX_TEXT = (
    "The rent is 950 euros\ta month\n\nIn a control\n\nBox:\n\ntwo keys\n\nSee[2]\n\n[2] heating is extra\n\n"
    "head\na | b\nin out"
)
ODT = {
    "mimetype": "application/vnd.oasis.opendocument.text",
    "META-INF/manifest.xml": "<manifest/>",
    "meta.xml": f"<office:document-meta {ODF}><dc:title>Lease</dc:title></office:document-meta>",
    "content.xml": (
        f"<office:document-content {ODF}><office:text><text:tracked-changes><text:p>gone</text:p>"
        "</text:tracked-changes><text:h>The lease</text:h><text:p>It ends<text:s text:c='2'/>in "
        "<text:span>June</text:span>.<text:note><text:note-citation>1</text:note-citation>"
        "<text:note-body><text:p>or July</text:p></text:note-body></text:note></text:p>"
        "<text:list><text:list-item><text:p>one</text:p></text:list-item><text:list-item>"
        "<text:p>two</text:p></text:list-item></text:list><table:table><table:table-row>"
        "<table:table-cell><text:p>a</text:p></table:table-cell><table:table-cell><text:p>b</text:p>"
        "</table:table-cell></table:table-row></table:table></office:text></office:document-content>"
    ),
}
EPUB = {
    "mimetype": "application/epub+zip",
    "META-INF/container.xml": '<container><rootfiles><rootfile full-path="OEBPS/book.opf"/></rootfiles></container>',
    "OEBPS/book.opf": (
        '<package xmlns:dc="http://purl.org/dc/elements/1.1/"><metadata><dc:title>The Mill</dc:title>'
        "<dc:creator>Ada</dc:creator></metadata><manifest><item id='b' href='b%20two.xhtml'/>"
        "<item id='a' href='a.xhtml'/></manifest><spine><itemref idref='a'/><itemref idref='b'/></spine></package>"
    ),
    "OEBPS/a.xhtml": "<html><head><title>x</title></head><body><h1>One</h1><p>The mill.</p></body></html>",
    "OEBPS/b two.xhtml": "<html><body><p>It turns.</p></body></html>",
}


def xlsx_bytes() -> bytes:
    import xlsxwriter

    buffer = io.BytesIO()
    book = xlsxwriter.Workbook(buffer, {"in_memory": True})
    sheet = book.add_worksheet("Chairs")
    sheet.write_row(0, 0, ["what", "how many", "price"])
    sheet.write_row(2, 0, ["chair", 12, 9.5])
    book.add_worksheet("Empty")
    book.close()
    return buffer.getvalue()


def pptx_bytes() -> bytes:
    import pptx
    from pptx.util import Inches

    presentation = pptx.Presentation()
    slide = presentation.slides.add_slide(presentation.slide_layouts[1])
    slide.shapes.title.text = "The mill"
    slide.placeholders[1].text = "It turns.\nAll day."
    table = slide.shapes.add_table(1, 2, Inches(1), Inches(1), Inches(2), Inches(1)).table
    table.cell(0, 0).text, table.cell(0, 1).text = "a", "b"
    slide.notes_slide.notes_text_frame.text = "Say it slowly."
    buffer = io.BytesIO()
    presentation.save(buffer)
    return buffer.getvalue()


ICS = (
    "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nBEGIN:VEVENT\r\nUID:1@x\r\nDTSTART:20210507T130000Z\r\n"
    "DTEND:20210507T140000Z\r\nSUMMARY:Budget\\, again\r\nLOCATION:Room 214\r\n"
    "ORGANIZER;CN=Ada Lovelace:mailto:ada@example.org\r\nATTENDEE:mailto:ben@example.org\r\n"
    "ATTENDEE;CN=Carl:mailto:carl@example.org\r\nDESCRIPTION:Bring the figures for the\r\n  whole year.\r\n"
    "END:VEVENT\r\nBEGIN:VEVENT\r\nUID:2@x\r\nDTSTART;VALUE=DATE:20210508\r\nSUMMARY:Fair\r\n"
    "END:VEVENT\r\nEND:VCALENDAR\r\n"
)
ICS_TEXT = (
    "Budget, again\nWhen: 2021-05-07 13:00 UTC to 14:00 UTC\nWhere: Room 214\n"
    "Organizer: Ada Lovelace <ada@example.org>\nAttendees: ben@example.org, Carl <carl@example.org>\n"
    "Bring the figures for the whole year.\n\nFair\nWhen: 2021-05-08"
)
VTT = "WEBVTT\n\nNOTE no text\n\n1\n00:00.000 --> 00:02.000 align:left\n<v Ada>who has\n\n00:02.000 --> 00:03.000\n<v Ada>the <b>key</b>?\n\n00:03.000 --> 00:04.000\n<v Ben>the porter &amp; I\n"
SRT = "1\r\n00:00:01,000 --> 00:00:02,000\r\nThe mill\r\nturns.\r\n\r\n2\r\n00:00:02,000 --> 00:00:03,500\r\n<i>All day.</i>\r\n"
RTF = rb"{\rtf1\ansi\ansicpg1252{\fonttbl{\f0 Arial;}}The \b mill\b0  l\'e4uft.\par It turns.}"


def read(path: Path, options: ReadOptions | None = None) -> RawDocument | Unreadable:
    (item,) = read_source(path, options)
    return item


@pytest.fixture(scope="module")
def files() -> dict[str, tuple[bytes, str, str]]:
    """(content, text, title) by name."""
    note = f"<w:footnote w:id='2'>{p('heating is extra')}</w:footnote>"
    return {
        "a.docx": (docx_bytes(DOCX_BODY, note), DOCX_TEXT, "Lease"),
        "a.odt": (zipped(ODT), "The lease\n\nIt ends  in June. [or July]\n\n- one\n- two\n\na | b", "Lease"),
        "a.epub": (zipped(EPUB), "One\n\nThe mill.\n\nIt turns.", "The Mill"),
        "a.xlsx": (xlsx_bytes(), "Chairs\nwhat | how many | price\nchair | 12 | 9.5", ""),
        "a.pptx": (pptx_bytes(), "The mill\nIt turns.\nAll day.\na | b\nSay it slowly.", ""),
        "a.ics": (ICS.encode(), ICS_TEXT, ""),
        "a.vtt": (VTT.encode(), "Ada: who has the key?\nBen: the porter & I", ""),
        "a.srt": (SRT.encode(), "The mill turns.\nAll day.", ""),
        "a.rtf": (RTF, "The mill läuft.\nIt turns.", ""),
        "a.org": (b"#+TITLE: The Mill\n* One\nIt turns.\n", "#+TITLE: The Mill\n* One\nIt turns.", "The Mill"),
        "b.org": (b"* The Mill\nIt turns.\n", "* The Mill\nIt turns.", "The Mill"),
        "a.rst": (b"========\nThe Mill\n========\n\nIt turns.\n", "========\nThe Mill\n========\n\nIt turns.", "The Mill"),
        "a.md": (b"---\ntitle: The Mill\ntags: [a, b]\ndate: 2021-05-03\nauthor: Ada\n---\n\n# No\n", "tags: a, b\n\n\n# No", "The Mill"),
        "b.md": (b"+++\ntitle = 'The Mill'\n+++\nIt turns.\n", "It turns.", "The Mill"),
        "c.md": (b"---\nNo: front: matter\n---\nIt turns.\n", "---\nNo: front: matter\n---\nIt turns.", ""),
        "d.md": (b"---\r\ntitle: The Mill\r\n---\r\nIt turns.\r\n", "It turns.", "The Mill"),
        "a.txt": ("Die Mühle läuft.".encode("utf-16-le"), "Die Mühle läuft.", ""),
        "b.txt": ("Die Mühle läuft.".encode("utf-16"), "Die Mühle läuft.", ""),
        "c.txt": (b"Note: buy milk\nSubject: list\nDate: tomorrow\n\neggs\n", "Note: buy milk\nSubject: list\nDate: tomorrow\n\neggs", ""),
        "NOTES": (b"The lease ends in June, and the rent is due.\n", "The lease ends in June, and the rent is due.", ""),
    }  # fmt: skip


def names() -> list[str]:
    return [
        "a.docx", "a.odt", "a.epub", "a.xlsx", "a.pptx", "a.ics", "a.vtt", "a.srt", "a.rtf",
        "a.org", "b.org", "a.rst", "a.md", "b.md", "c.md", "d.md", "a.txt", "b.txt", "c.txt", "NOTES",
    ]  # fmt: skip


@pytest.mark.parametrize("name", names())
def test_a_file(tmp_path: Path, files: dict[str, tuple[bytes, str, str]], name: str) -> None:
    content, text, title = files[name]
    (tmp_path / name).write_bytes(content)
    item = read(tmp_path / name)
    assert isinstance(item, RawDocument), item
    assert (item.text.strip(), item.title) == (text, title)


@pytest.mark.parametrize(
    "name", ["a.docx", "a.odt", "a.epub", "a.xlsx", "a.pptx", "a.rtf", "a.ics", "a.vtt", "a.txt"]
)
@pytest.mark.parametrize("kind", ["octet-stream", "x-unknown"])
def test_attached_under_any_type(
    tmp_path: Path, files: dict[str, tuple[bytes, str, str]], name: str, kind: str
) -> None:
    message = EmailMessage()
    message["Subject"], message["Message-ID"] = "Lease", "<1@x>"
    message.set_content("See.")
    message.add_attachment(files[name][0], maintype="application", subtype=kind, filename=name)
    (tmp_path / "a.eml").write_bytes(message.as_bytes())
    _, attached = read_source(tmp_path / "a.eml")
    assert isinstance(attached, RawDocument), attached
    assert (attached.text.strip(), attached.title) == (files[name][1], name)
    assert attached.references == ("<1@x>",)


@pytest.mark.parametrize(
    "name", ["a.docx", "a.odt", "a.epub", "a.xlsx", "a.pptx", "a.rtf", "a.ics", "a.vtt"]
)
def test_in_an_archive_and_damaged(
    tmp_path: Path, files: dict[str, tuple[bytes, str, str]], name: str
) -> None:
    content, text, _ = files[name]
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        packed.writestr(f"in/{name}", content)
        packed.writestr("other.txt", "Other.")
    (found,) = (item for item in read_source(tmp_path / "a.zip") if item.identifier.endswith(name))
    assert isinstance(found, RawDocument)
    assert found.text.strip() == text
    path = tmp_path / name
    for at in range(0, len(content), max(len(content) // 40, 1)):
        path.write_bytes(content[:at] + b"\xff\0<" + content[at + 3 :])
        assert len(list(read_source(path))) >= 1
        path.write_bytes(content[:at])
        assert len(list(read_source(path))) >= 1


@pytest.mark.parametrize(
    ("name", "module", "what"),
    [
        ("a.docx", "docx", ".docx"), ("a.odt", "lxml", "OpenDocument"), ("a.xlsx", "python_calamine", "spreadsheet"),
        ("a.pptx", "pptx", ".pptx"), ("a.rtf", "striprtf.striprtf", "RTF"), ("a.ics", "icalendar", "iCalendar"),
    ],
)  # fmt: skip
def test_a_missing_library_is_named(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    files: dict[str, tuple[bytes, str, str]],
    name: str,
    module: str,
    what: str,
) -> None:
    importing = builtins.__import__

    def refuse(wanted: str, *arguments: Any, **more: Any) -> Any:
        if wanted == module:
            raise ImportError(wanted)
        return importing(wanted, *arguments, **more)

    monkeypatch.setattr(builtins, "__import__", refuse)
    (tmp_path / name).write_bytes(files[name][0])
    item = read(tmp_path / name)
    assert isinstance(item, Unreadable)
    assert item.reason == f'no library to read {what}: pip install "customir[formats]"'


def test_entities_are_not_resolved(tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("the secret")
    bomb = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12))
    for entity in (
        f'<!ENTITY x SYSTEM "{secret.as_uri()}">',
        f'<!ENTITY a0 "lol">{bomb}<!ENTITY x "&a11;">',
    ):
        content = ODT["content.xml"].replace("It ends", "It ends &x;")
        path = tmp_path / "a.odt"
        path.write_bytes(zipped({**ODT, "content.xml": f"<!DOCTYPE d [{entity}]>{content}"}))
        item = read(path)
        text = item.text if isinstance(item, RawDocument) else item.reason
        assert "secret" not in text.replace("secret.txt", "")
        assert len(text) < 2000


def tnef(*attributes: tuple[int, int, bytes], level: int = 1) -> bytes:
    content = b"\x78\x9f\x3e\x22\x01\x00"
    for name, kind, data in attributes:
        level = 2 if name in (0x9002, 0x8010, 0x800F) else 1
        content += struct.pack("<BHHI", level, name, kind, len(data)) + data + b"\0\0"
    return content


def test_winmail_dat(tmp_path: Path) -> None:
    body = b"The figures are in the blue folder.\0"
    packed = tnef(
        (0x800C, 0x0002, body),
        (0x9002, 0x0006, b"\1\0" + b"\0" * 12),
        (0x8010, 0x0001, b"notes.txt\0"),
        (0x800F, 0x0006, b"The notes of the meeting."),
    )
    for text in ("", "See the file."):
        message = EmailMessage()
        message["Message-ID"], message["Subject"] = "<1@x>", "Figures"
        message.set_content(text)
        message.add_attachment(
            packed, maintype="application", subtype="ms-tnef", filename="winmail.dat"
        )
        (tmp_path / "a.eml").write_bytes(message.as_bytes())
        own, attached = read_source(tmp_path / "a.eml")
        assert isinstance(own, RawDocument), own
        assert own.text.strip() == (text or "The figures are in the blue folder.")
        assert isinstance(attached, RawDocument), attached
        assert attached.text == "The notes of the meeting."


def test_an_invitation_is_its_mail(tmp_path: Path) -> None:
    for kind in ("text/calendar; method=REQUEST", 'multipart/alternative; boundary="b"'):
        body = ICS.encode()
        if kind.startswith("multipart"):
            body = (
                b"--b\nContent-Type: text/plain\n\n\n--b\nContent-Type: text/calendar\n\n"
                + body
                + b"\n--b--\n"
            )
        (tmp_path / "a.eml").write_bytes(
            b"From: a@x\nSubject: Budget\nContent-Type: " + kind.encode() + b"\n\n" + body
        )
        item = read(tmp_path / "a.eml")
        assert isinstance(item, RawDocument), item
        assert item.text == ICS_TEXT
        assert item.is_mail


def test_what_is_attached_as_octets_is_read_by_what_it_holds(tmp_path: Path) -> None:
    def part(name: str, content: bytes, kind: str = "application/octet-stream") -> bytes:
        head = f"--b\nContent-Type: {kind}\nContent-Disposition: attachment; filename={name}\n"
        return (
            head.encode()
            + b"Content-Transfer-Encoding: base64\n\n"
            + base64.encodebytes(content)
            + b"\n"
        )

    inner = b"From: a@x\nSubject: Inner\nMessage-ID: <2@x>\nDate: Mon, 3 May 2021 10:00:00 +0000\n\nInside.\n"
    body = (
        b"--b\n\nSee.\n" + part("contract.eml", inner) + part("notes.txt", b"The notes.")
        + part("prices.csv", b"item,price\nchair,12\n", "application/vnd.ms-excel")
        + part("picture.png", b"\x89PNG\0") + b"--b--\n"
    )  # fmt: skip
    (tmp_path / "a.eml").write_bytes(
        b"From: a@x\nSubject: s\nMessage-ID: <1@x>\nContent-Type: multipart/mixed; boundary=b\n\n"
        + body
    )
    _, message, notes, prices, picture = read_source(tmp_path / "a.eml")
    assert isinstance(message, RawDocument)
    assert (message.identifier, message.text.strip(), message.is_mail) == ("<2@x>", "Inside.", True)
    assert [getattr(each, "text", None) for each in (notes, prices)] == [
        "The notes.",
        "item,price\nchair,12\n",
    ]
    assert isinstance(picture, Unreadable)


def pdf_bytes(lines: list[tuple[int, int, str]], rotate: int = 0) -> bytes:
    """A page with lines at (x, y) in points."""
    content = (
        "BT /F1 10 Tf "
        + " ".join(f"1 0 0 1 {x} {y} Tm ({text}) Tj" for x, y, text in lines)
        + " ET"
    )
    objects = [
        "<</Type/Catalog/Pages 2 0 R>>", "<</Type/Pages/Kids[3 0 R]/Count 1>>",
        f"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Rotate {rotate}/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>",
        f"<</Length {len(content)}>>stream\n{content}\nendstream",
        "<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]  # fmt: skip
    body = "%PDF-1.4\n" + "".join(f"{n} 0 obj{each}endobj\n" for n, each in enumerate(objects, 1))
    return (body + "trailer<</Root 1 0 R>>").encode("latin-1")


LEFT = [
    "The lease of the office ends in",
    "June and cannot be prolonged, be-",
    "cause the landlord sells it soon.",
    "He told us so in a long letter.",
]
RIGHT = [
    "The new office in Example Street",
    "has room for twelve desks, and a",
    "kitchen; the rent is much lower.",
    "We shall move there in the fall.",
]
IN_ORDER = (
    "The lease of the office ends in\nJune and cannot be prolonged, because the landlord sells it soon.\n"
    "He told us so in a long letter.\nThe new office in Example Street\nhas room for twelve desks, and a\n"
    "kitchen; the rent is much lower.\nWe shall move there in the fall."
)


@pytest.mark.parametrize("rotate", [0, 90, 180, 270])
@pytest.mark.parametrize("by_line", [True, False])
def test_columns_of_a_pdf(tmp_path: Path, rotate: int, by_line: bool) -> None:
    left = [(50, 700 - 14 * n, text) for n, text in enumerate(LEFT)]
    right = [(320, 700 - 14 * n, text) for n, text in enumerate(RIGHT)]
    lines = (
        [each for pair in zip(left, right, strict=True) for each in pair]
        if by_line
        else left + right
    )
    title = (
        50,
        730,
        "A report on all of the offices that we have had until this year, by the porter",
    )
    (tmp_path / "a.pdf").write_bytes(pdf_bytes([title, *lines], rotate))
    item = read(tmp_path / "a.pdf")
    assert isinstance(item, RawDocument)
    assert item.text == f"{title[2]}\n{IN_ORDER}"


def test_a_table_in_a_pdf_stays_in_rows(tmp_path: Path) -> None:
    lines = [
        (50 + 200 * column, 700 - 14 * row, f"cell {row}{column}")
        for row in range(5)
        for column in range(3)
    ]
    (tmp_path / "a.pdf").write_bytes(pdf_bytes(lines))
    item = read(tmp_path / "a.pdf")
    assert isinstance(item, RawDocument)
    assert item.text.split("\n")[0].split() == ["cell", "00", "cell", "01", "cell", "02"]


def test_a_hyphen_at_the_end_of_a_line_of_a_pdf(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(
        pdf_bytes([(50, 700, "It ends, be-"), (50, 686, "cause he sells.")])
    )
    item = read(tmp_path / "a.pdf")
    assert isinstance(item, RawDocument)
    assert item.text == "It ends, because he sells."


def scan(path: Path) -> None:
    """A page that is a picture of text."""
    from PIL import Image, ImageDraw, ImageFont

    picture = Image.new("L", (1200, 300), 255)
    ImageDraw.Draw(picture).text(
        (40, 100), "The mill turns all day", fill=0, font=ImageFont.load_default(64)
    )
    picture.save(path, "PDF", resolution=150)


def test_a_scan_is_named(tmp_path: Path) -> None:
    pytest.importorskip("PIL")
    scan(tmp_path / "a.pdf")
    item = read(tmp_path / "a.pdf")
    assert isinstance(item, Unreadable)
    assert item.reason == "no text in the PDF: its pages are pictures (scans); try --ocr"


@pytest.mark.skipif(shutil.which("tesseract") is None, reason="no tesseract on this machine")
def test_a_scan_is_recognised_where_that_is_asked_for(tmp_path: Path) -> None:
    pytest.importorskip("PIL")
    scan(tmp_path / "a.pdf")
    item = read(tmp_path / "a.pdf", ReadOptions(ocr=True))
    assert isinstance(item, RawDocument)
    assert item.text.strip() == "The mill turns all day"


def test_ocr_without_tesseract_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("PIL")
    scan(tmp_path / "a.pdf")
    monkeypatch.setenv("PATH", str(tmp_path))
    item = read(tmp_path / "a.pdf", ReadOptions(ocr=True))
    assert isinstance(item, Unreadable)
    assert "tesseract" in item.reason
