"""The passages as every later stage reads them."""

from customir.workspace.database import Workspace
from customir.workspace.documents import Document
from customir.workspace.passages import Passage


def read_passages(workspace: Workspace) -> list[Passage]:
    """Every passage with its document's title and thread, in the order of the keys."""
    rows = workspace.database.execute(
        "SELECT passage.key, document, ordinal, passage.text, duplicates, title, thread, "
        "header FROM passage JOIN document ON document.key = passage.document ORDER BY passage.key"
    )
    return [Passage(*row) for row in rows]


def read_documents(workspace: Workspace) -> list[Document]:
    """Every document, in the order of the keys."""
    rows = workspace.database.execute(
        "SELECT key, source, identifier, title, sender, date, thread, text, recipients FROM document "
        "ORDER BY key"
    )
    return [Document(*row) for row in rows]
