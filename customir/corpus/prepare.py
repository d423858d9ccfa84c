"""Converts an item of a source to a document of the workspace, in a pure function."""

from collections import Counter
from dataclasses import dataclass

from customir.corpus.cleaning import MAXIMUM_TITLE, clean, clean_line, why_empty
from customir.corpus.document import RawDocument, Unreadable
from customir.corpus.threads import Post, participants
from customir.text.language import language_of
from customir.workspace import content_key
from customir.workspace.documents import Document, Original, pack_text

MAXIMUM_RECIPIENTS = 10_000
MAXIMUM_ATTACHMENTS = 100


@dataclass(frozen=True)
class Prepared:
    """A document, its data for threading, and how it was made.

    Attributes:
        original: The document before cleaning.
        characters: The number of characters before cleaning.
        cut: The number of characters cut, by cause.
        is_mail: Whether it was cleaned as mail.
        is_chat: Whether its paragraphs are turns of a chat.
    """

    document: Document
    post: Post
    original: Original
    characters: int
    cut: Counter[str]
    is_mail: bool
    is_chat: bool
    is_attachment: bool


@dataclass(frozen=True)
class Skipped:
    """An item that did not become a document, with the reason."""

    source: str
    identifier: str
    reason: str
    is_attachment: bool


def prepare(
    source: str, item: RawDocument | Unreadable, *, include_unwanted: bool = False
) -> Prepared | Skipped:
    """The document of an item, or the reason why it is skipped.

    Args:
        include_unwanted: Whether spam, trash, drafts and deleted mail count as documents.
    """
    identifier = clean_line(item.identifier)
    if isinstance(item, Unreadable):
        return Skipped(source, identifier, clean_line(item.reason), item.is_attachment)
    if item.unwanted and not include_unwanted:
        reason = clean_line(f"left out as {item.unwanted}")
        return Skipped(source, identifier, reason, item.is_attachment)
    cleaned = clean(item)
    if not cleaned.text:
        return Skipped(source, identifier, why_empty(item), item.is_attachment)
    title = clean_line(item.title, MAXIMUM_TITLE)
    sender = clean_line(item.sender, MAXIMUM_TITLE)
    recipients = clean_line(item.recipients, MAXIMUM_RECIPIENTS)
    names = (item.title or item.identifier,) if item.is_attachment else item.attachments
    key = content_key(identifier, title, sender, item.date, cleaned.text)
    cut: Counter[str] = Counter()
    for piece in cleaned.cuts:
        cut[piece.cause] += piece.characters
    is_message = item.is_mail and item.identifier.startswith("<")
    post = Post(
        key=key,
        source=source,
        message_id=item.identifier if is_message else "",
        title=title,
        date=item.date,
        references=item.references,
        is_mail=item.is_mail,
        thread=item.thread,
        participants=participants(sender, recipients) if item.is_mail else frozenset(),
    )
    return Prepared(
        document=Document(
            key=key,
            source=source,
            identifier=identifier,
            title=title,
            sender=sender,
            date=item.date,
            thread=key,
            text=cleaned.text,
            recipients=recipients,
            attachments="\n".join(clean_line(name) for name in names[:MAXIMUM_ATTACHMENTS]),
            language=language_of(cleaned.text),
        ),
        post=post,
        original=Original(key, pack_text(item.text), item.references, item.is_mail),
        characters=len(item.text),
        cut=cut,
        is_mail=item.is_mail,
        is_chat=item.is_chat,
        is_attachment=item.is_attachment,
    )
