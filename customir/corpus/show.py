"""What became of one message: as it was found, what was cut and why, and its passages."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from customir.corpus.cleaning import Cut, clean, missing_lines
from customir.corpus.document import RawDocument
from customir.corpus.passages import REPEATED
from customir.errors import UserError
from customir.workspace import Workspace

SIMILAR_NAMES = 5


@dataclass(frozen=True)
class ShownPassage:
    """A passage, and how many others are its near-duplicates."""

    key: str
    text: str
    similar: int


@dataclass(frozen=True)
class Shown:
    """A document of the workspace.

    Attributes:
        in_thread: Documents in its thread, itself counted.
        original: As the reader found it: decoded, HTML already turned to text.
        cleaned: What is left of it.
        cuts: What was cut, in the order of the rules.
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
    """The documents called `name`: more than one where sources differ in their copies.

    The original is kept in the workspace, so the source may be gone; what was cut is found by
    cleaning it once more.

    Args:
        name: A Message-ID, with or without its brackets; an `_id`, a path, or a document's key.

    Raises:
        UserError: there is none; says why, if it was skipped, or names similar ones.
    """
    names = (name, f"<{name}>")
    rows = workspace.database.execute(
        "SELECT key, source, identifier, title, sender, recipients, date, refs, thread, "
        "document.text, original.text, is_mail FROM document "
        "JOIN original ON original.document = key "
        "WHERE identifier IN (?1, ?2) OR key = ?1 ORDER BY source, key",
        names,
    ).fetchall()
    if not rows:
        raise UserError(_why_not(workspace, name))
    return [_shown(workspace, *row) for row in rows]


def as_text(shown: Shown) -> str:
    """For a terminal: fields, original, what was cut, what is left, passages."""
    return "\n".join(_lines(shown))


def _shown(
    workspace: Workspace,
    key: str,
    source: str,
    identifier: str,
    title: str,
    sender: str,
    recipients: str,
    date: str | None,
    refs: str,
    thread: str,
    cleaned: str,
    packed: bytes,
    is_mail: int,
) -> Shown:
    original = zlib.decompress(packed).decode("utf-8", "surrogatepass")
    references = tuple(refs.split())
    again = clean(
        RawDocument(identifier, title, sender, date, original, references, is_mail=bool(is_mail))
    )
    repeated = missing_lines(again.text.split("\n"), cleaned.split("\n"))
    (in_thread,) = workspace.database.execute(
        "SELECT count(*) FROM document WHERE thread = ?", (thread,)
    ).fetchone()
    passages = workspace.database.execute(
        "SELECT key, text, (SELECT count(*) - 1 FROM passage AS other "
        "WHERE other.duplicates = passage.duplicates) FROM passage "
        "WHERE document = ? ORDER BY ordinal",
        (key,),
    )
    return Shown(
        key=key,
        source=source,
        identifier=identifier,
        title=title,
        sender=sender,
        recipients=recipients,
        date=date,
        references=references,
        thread=thread,
        in_thread=in_thread,
        original=original,
        cleaned=cleaned,
        cuts=(*again.cuts, *(Cut(REPEATED, piece, len(piece)) for piece in repeated)),
        passages=tuple(ShownPassage(*row) for row in passages),
    )


def _why_not(workspace: Workspace, name: str) -> str:
    skipped = workspace.database.execute(
        "SELECT source, identifier, reason FROM skipped WHERE identifier IN (?1, ?2)",
        (name, f"<{name}>"),
    ).fetchone()
    if skipped:
        source, identifier, reason = skipped
        return f"{identifier} in {source} was skipped: {reason}."
    similar = workspace.database.execute(
        "SELECT identifier FROM document WHERE instr(identifier, ?) ORDER BY identifier LIMIT ?",
        (name, SIMILAR_NAMES),
    ).fetchall()
    names = ", ".join(identifier for (identifier,) in similar)
    hint = f"Similar: {names}." if names else "`customir search DIR QUERY` prints identifiers."
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
