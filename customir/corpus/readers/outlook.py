"""Outlook's .msg (python-oxmsg) and .pst (libpff)."""

from collections.abc import Iterator
from datetime import UTC, datetime
from io import BytesIO
from mimetypes import guess_type
from pathlib import Path
from typing import Any

from customir.corpus.charsets import decode
from customir.corpus.document import RawDocument, Unreadable
from customir.corpus.readers.message import (
    MAXIMUM_ATTACHMENT,
    MESSAGE_ID,
    decode_words,
    html_to_text,
    read_attachment,
    references_of,
)
from customir.corpus.readers.streams import whole

OLE_MAGIC, PST_MAGIC = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", b"!BDN"
# Folders of a .pst nested deeper than this are a loop or an attack.
MAXIMUM_DEPTH = 100
OCTETS = "application/octet-stream"
NO_READER = 'no reader for Outlook files: pip install "customir[formats]"'


def matches(head: bytes, name: str) -> bool:
    """Whether a file that begins with `head` is a .pst, or an OLE file called .msg."""
    named = name.lower().endswith(".msg")
    return head.startswith(PST_MAGIC) or (named and head.startswith(OLE_MAGIC))


def count(path: Path) -> int:
    """How many items `read` gives, attachments left out."""
    return sum(not item.is_attachment for item in read(path, ""))


def read(path: Path, name: str) -> Iterator[RawDocument | Unreadable]:
    """The message of a .msg; every message of every folder of a .pst."""
    with path.open("rb") as file:
        is_store = file.read(4) == PST_MAGIC
    if is_store:
        yield from _read_store(path, name)
        return
    content = whole(path)
    yield from [Unreadable(name, content)] if isinstance(content, str) else read_msg(content, name)


def read_msg(content: bytes, name: str) -> list[RawDocument | Unreadable]:
    """The message of a .msg in memory, and its attachments."""
    try:
        from oxmsg import Message
    except ImportError:
        return [Unreadable(name, NO_READER)]
    try:
        message: Any = Message.load(BytesIO(content))
        own = _document(
            name,
            headers={key.lower(): value for key, value in message.message_headers.items()},
            title=message.subject or "",
            sender=message.sender or "",
            recipients=", ".join(each.email_address or each.name for each in message.recipients),
            date=message.sent_date,
            plain=message.body or "",
            html=message.html_body or "",
        )
        found = [
            _attachment(each.file_name, each.mime_type, each.file_bytes or b"", number, own)
            for number, each in enumerate(message.attachments, start=1)
        ]
    except Exception as error:  # olefile and oxmsg raise whatever the damage leads to
        return [Unreadable(name, f"not readable as .msg: {type(error).__name__}: {error}")]
    return [own, *found]


def _read_store(path: Path, name: str) -> Iterator[RawDocument | Unreadable]:
    try:
        import pypff
    except ImportError:
        yield Unreadable(name, NO_READER)
        return
    store = pypff.file()
    try:
        store.open(str(path))
    except OSError as error:
        yield Unreadable(name, f"not readable as .pst: {error}")
        return
    try:
        yield from _folder(store.get_root_folder(), name, 0)
    except OSError as error:
        yield Unreadable(name, f"damaged file, nothing can be read after this: {error}")
    finally:
        store.close()


def _folder(folder: Any, where: str, depth: int) -> Iterator[RawDocument | Unreadable]:
    for number in range(folder.number_of_sub_messages):
        name = f"{where}: message {number + 1}"
        try:
            message = folder.get_sub_message(number)
            own, attachments = _stored(message, name), message.number_of_attachments
        except (OSError, ValueError, SystemError, MemoryError) as error:
            yield Unreadable(name, f"broken message: {error}")
            continue
        yield own
        yield from _stored_attachments(message, attachments, own)
    for number in range(folder.number_of_sub_folders if depth < MAXIMUM_DEPTH else 0):
        try:
            below = folder.get_sub_folder(number)
            yield from _folder(below, f"{where}/{below.name or number}", depth + 1)
        except OSError as error:
            yield Unreadable(f"{where}: folder {number + 1}", f"damaged folder: {error}")


def _stored(message: Any, name: str) -> RawDocument | Unreadable:
    from email.parser import HeaderParser

    fields = HeaderParser().parsestr(message.transport_headers or "")
    return _document(
        name,
        headers={key.lower(): str(value) for key, value in fields.raw_items()},
        title=message.subject or "",
        sender=message.sender_name or "",
        recipients="",
        date=message.client_submit_time or message.delivery_time,
        plain=_text(message.plain_text_body),
        html=_text(message.html_body),
    )


def _stored_attachments(
    message: Any, attachments: int, own: RawDocument | Unreadable
) -> Iterator[RawDocument | Unreadable]:
    for number in range(attachments):
        title, kind, content = "", OCTETS, b""
        try:
            attachment = message.get_attachment(number)
            title = attachment.long_filename or ""
            kind = guess_type(title)[0] or OCTETS
            # Messages and OLE objects have no bytes, and raise.
            if kind != OCTETS and attachment.size <= MAXIMUM_ATTACHMENT:
                content = attachment.read_buffer(attachment.size)
        except (OSError, ValueError, SystemError, MemoryError):
            kind = "damaged, or no file"
        yield _attachment(title, kind, content, number + 1, own)


def _attachment(
    title: str | None, kind: str | None, content: bytes, number: int, own: RawDocument | Unreadable
) -> RawDocument | Unreadable:
    title = " ".join((title or f"attachment {number}").split())
    kind = kind if kind and kind != OCTETS else guess_type(title)[0] or OCTETS
    return read_attachment(content, kind, title, own.identifier, own)


def _text(content: bytes | str | None) -> str:
    return decode(content) if isinstance(content, bytes) else content or ""


def _document(
    name: str,
    *,
    headers: dict[str, str],
    title: str,
    sender: str,
    recipients: str,
    date: datetime | None,
    plain: str,
    html: str,
) -> RawDocument | Unreadable:
    found = MESSAGE_ID.findall(headers.get("message-id", ""))
    identifier = found[0] if found else name
    text = plain if plain.strip() else html_to_text(html) if html.strip() else ""
    if not text.strip():
        return Unreadable(identifier, "no text: neither a plain nor an HTML body")
    if date is not None:
        date = date.replace(tzinfo=date.tzinfo or UTC).astimezone(UTC)
    return RawDocument(
        identifier=identifier,
        title=title,
        sender=decode_words(headers.get("from", "")) or sender,
        date=date.isoformat(timespec="seconds") if date else None,
        text=text,
        references=references_of(headers),
        is_mail=True,
        recipients=decode_words(
            ", ".join(headers[field] for field in ("to", "cc") if field in headers)
        )
        or recipients,
    )
