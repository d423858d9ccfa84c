"""What a document keeps of the item that it is made of, beside its text."""

from customir.corpus.document import RawDocument
from customir.corpus.prepare import Prepared, prepare
from customir.workspace.documents import Document

TEXT = "The budget for the fourth quarter has to be approved before the meeting of the board."


def document(item: RawDocument) -> Document:
    prepared = prepare("mail.mbox", item)
    assert isinstance(prepared, Prepared)
    return prepared.document


def test_a_document_keeps_names_of_attachments_and_its_language() -> None:
    with_files = RawDocument("<a@b>", "Plan", "Ann", None, TEXT, attachments=("a.xls", "b\n.txt"))
    found = document(with_files)
    assert (found.attachments, found.language) == ("a.xls\nb .txt", "en")
    file = RawDocument(
        "<a@b> / a.xls", "a.xls", "Ann", None, "100 rent 20 mail", is_attachment=True
    )
    assert (document(file).attachments, document(file).language) == ("a.xls", "")
