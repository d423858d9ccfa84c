"""Shows how one message was processed: the original, the cuts with their causes, the passages."""

from collections.abc import Iterator
from dataclasses import dataclass

from customir.corpus.cleaning import Cut, clean, clean_line, missing_lines
from customir.corpus.document import RawDocument
from customir.corpus.passages import REPEATED
from customir.errors import UserError
from customir.workspace import Workspace
from customir.workspace.documents import (
    Document,
    Original,
    count_in_thread,
    find_documents,
    find_similar_identifiers,
    find_skipped,
)
from customir.workspace.passages import read_passages_of

SIMILAR_NAMES = 5


@dataclass(frozen=True)
class ShownPassage:
    """A passage and the number of its near-duplicates."""

    key: str
    text: str
    similar: int


@dataclass(frozen=True)
class Shown:
    """A document of the workspace.

    Attributes:
        in_thread: The number of documents in its thread, including itself.
        original: The decoded text before cleaning (HTML already converted to text).
        cleaned: The text after cleaning.
        cuts: The pieces cut, in the order of the rules.
    """

    key: str
    source: str
    identifier: str
    title: str
    sender: str
    recipients: str
    date: str | None
    references: tuple[str, ...]
    thread: str
    in_thread: int
    original: str
    cleaned: str
    cuts: tuple[Cut, ...]
    passages: tuple[ShownPassage, ...]


def show(workspace: Workspace, name: str) -> list[Shown]:
    """The documents called `name`: more than one if the sources have different copies.

    The workspace keeps the original, so the source is not needed. Cleaning the original again gives
    the cuts.

    Args:
        name: A Message-ID, with or without its brackets; an `_id`, a path, or a document's key.

    Raises:
        UserError: there is no such document. The message says why it was skipped, or names similar
            ones.
    """
    name = clean_line(name)  # as identifiers are stored; bytes that are not UTF-8 are left out
    found = find_documents(workspace, name)
    if not found:
        raise UserError(_why_not(workspace, name))
    return [_shown(workspace, document, original) for document, original in found]


def as_text(shown: Shown) -> str:
    """The text for a terminal: fields, original, cuts, cleaned text, passages."""
    return "\n".join(_lines(shown))


def _shown(workspace: Workspace, document: Document, original: Original) -> Shown:
    text = original.text
    again = clean(
        RawDocument(
            document.identifier,
            document.title,
            document.sender,
            document.date,
            text,
            original.references,
            is_mail=original.is_mail,
        )
    )
    repeated = missing_lines(again.text.split("\n"), document.text.split("\n"))
    return Shown(
        key=document.key,
        source=document.source,
        identifier=document.identifier,
        title=document.title,
        sender=document.sender,
        recipients=document.recipients,
        date=document.date,
        references=original.references,
        thread=document.thread,
        in_thread=count_in_thread(workspace, document.thread),
        original=text,
        cleaned=document.text,
        cuts=(*again.cuts, *(Cut(REPEATED, piece, len(piece)) for piece in repeated)),
        passages=tuple(ShownPassage(*row) for row in read_passages_of(workspace, document.key)),
    )


def _why_not(workspace: Workspace, name: str) -> str:
    if skipped := find_skipped(workspace, name):
        return f"{skipped.identifier} in {skipped.source} was skipped: {skipped.reason}."
    similar = ", ".join(find_similar_identifiers(workspace, name, SIMILAR_NAMES))
    hint = f"Similar: {similar}." if similar else "`customir search DIR QUERY` prints identifiers."
    return f"{workspace.folder}: no document is called {name}. {hint}"


def _lines(shown: Shown) -> Iterator[str]:
    fields = {
        "identifier": shown.identifier,
        "source": shown.source,
        "title": shown.title,
        "from": shown.sender,
        "to": shown.recipients,
        "date": shown.date or "",
        "answers": " ".join(shown.references),
        "thread": f"{shown.thread} ({shown.in_thread} documents)",
        "key": shown.key,
    }
    yield from (f"{name:10} {value}" for name, value in fields.items() if value)
    yield from _section("Original", shown.original.strip())
    for cut in shown.cuts:
        yield from _section(f"Cut: {cut.cause}, {cut.characters} characters", cut.text)
    yield from _section("Cleaned", shown.cleaned)
    for number, passage in enumerate(shown.passages, start=1):
        alike = f", {passage.similar} alike" if passage.similar else ""
        yield from _section(f"Passage {number} of {len(shown.passages)}{alike}", passage.text)


def _section(title: str, text: str) -> Iterator[str]:
    yield from ("", f"--- {title}", text)
