"""Outlook's .msg (read with python-oxmsg) and .pst (read with libpff)."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from io import BytesIO
from mimetypes import guess_type
from pathlib import Path
from typing import Any

from customir.corpus.charsets import decode
from customir.corpus.document import RawDocument, RawMail, Unreadable
from customir.corpus.readers import rtf
from customir.corpus.readers.attachments import (
    MAXIMUM_BYTES,
    OCTETS,
    OLE_MAGIC,
    Attachment,
    read_attachment,
)
from customir.corpus.readers.files import NOT_INSTALLED, ReadError, SourceFile
from customir.corpus.readers.html import html_to_text
from customir.corpus.readers.message import MESSAGE_ID, read_message, references_of
from customir.corpus.readers.mime import decode_words
from customir.corpus.readers.options import ReadOptions
from customir.corpus.readers.unwanted import cause_by_path

PST_MAGIC = b"!BDN"
RTF_COMPRESSED = 0x1009
# Folders of a .pst that are nested deeper than this are a loop or an attack.
MAXIMUM_DEPTH = 100


def matches(head: bytes, name: str) -> bool:
    """Whether a file that begins with `head` is a .pst, or an OLE file called .msg."""
    named = name.lower().endswith(".msg")
    return head.startswith(PST_MAGIC) or (named and head.startswith(OLE_MAGIC))


def read(file: SourceFile) -> Iterator[RawDocument | Unreadable]:
    """The message of a .msg, or every message in every folder of a .pst."""
    if not file.head.startswith(PST_MAGIC):
        yield from read_msg(file.read_all(), file.name, file.options)
    elif file.path is None or not _is_store(file.path):
        raise ReadError("an Outlook store in an archive: unpack it, and give the store itself")
    else:
        yield from _read_store(file.path, file.name, file.options)


def _is_store(path: Path) -> bool:
    """Whether a file is a store as it is, and not compressed."""
    with path.open("rb") as file:
        return file.read(len(PST_MAGIC)) == PST_MAGIC


def read_msg(content: bytes, name: str, options: ReadOptions) -> list[RawDocument | Unreadable]:
    """The message of a .msg in memory, and its attachments."""
    try:
        from oxmsg import Message
    except ImportError:
        return [Unreadable(name, NOT_INSTALLED.format("Outlook files"))]
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
            rich=_rich_body(message),
        )
        titles = [each.file_name for each in message.attachments]
        found = [_with_attachments(own, titles)]
        for number, each in enumerate(message.attachments, start=1):
            found += _attachment(
                each.file_name, each.mime_type, each.file_bytes or b"", number, own, options
            )
    except Exception as error:  # olefile and oxmsg may raise any error on damage
        return [Unreadable(name, f"not readable as .msg: {type(error).__name__}: {error}")]
    return found


def _rich_body(message: Any) -> bytes:
    """The RTF of a .msg (PidTagRtfCompressed)."""
    packed = message.properties.binary_prop_value(RTF_COMPRESSED)
    return unpack_rtf(packed) if packed else b""


def unpack_rtf(packed: bytes) -> bytes:
    """Decompress RTF from Outlook (MS-OXRTFCP); empty if it is damaged."""
    try:
        from compressed_rtf import decompress
    except ImportError:
        return b""
    try:
        return bytes(decompress(packed))
    except Exception:  # damage may raise any error
        return b""


def _read_store(path: Path, name: str, options: ReadOptions) -> Iterator[RawDocument | Unreadable]:
    try:
        import pypff
    except ImportError:
        yield Unreadable(name, NOT_INSTALLED.format("Outlook stores"))
        return
    store = pypff.file()
    try:
        store.open(str(path))
    except OSError as error:
        yield Unreadable(name, f"not readable as .pst: {error}")
        return
    try:
        yield from _folder(store.get_root_folder(), name, "", options, 0)
    except OSError as error:
        yield Unreadable(name, f"damaged file, nothing can be read after this: {error}")
    finally:
        store.close()


def _folder(
    folder: Any, where: str, cause: str, options: ReadOptions, depth: int
) -> Iterator[RawDocument | Unreadable]:
    """Every message of a folder and its subfolders; `cause` says why they are unwanted."""
    for number in range(folder.number_of_sub_messages):
        name = f"{where}: message {number + 1}"
        try:
            message = folder.get_sub_message(number)
            own, attachments = _stored(message, name), message.number_of_attachments
            own = replace(own, unwanted=cause) if isinstance(own, RawDocument) else own
            own = _with_attachments(own, _stored_titles(message, attachments))
        except (OSError, ValueError, SystemError, MemoryError) as error:
            yield Unreadable(name, f"broken message: {error}")
            continue
        yield own
        yield from _stored_attachments(message, attachments, own, options)
    for number in range(folder.number_of_sub_folders if depth < MAXIMUM_DEPTH else 0):
        try:
            below = folder.get_sub_folder(number)
            name = str(below.name or number)
            kind = cause or cause_by_path(f"{name}/")
            yield from _folder(below, f"{where}/{name}", kind, options, depth + 1)
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
        rich=message.rtf_body or b"",
    )


def _stored_titles(message: Any, attachments: int) -> Iterator[str]:
    for number in range(attachments):
        try:
            yield message.get_attachment(number).long_filename or ""
        except (OSError, ValueError, SystemError, MemoryError):
            yield ""


def _stored_attachments(
    message: Any, attachments: int, own: RawDocument | Unreadable, options: ReadOptions
) -> Iterator[RawDocument | Unreadable]:
    for number in range(attachments):
        title, kind, content = "", OCTETS, b""
        try:
            attachment = message.get_attachment(number)
            title = attachment.long_filename or ""
            kind = guess_type(title)[0] or OCTETS
            # Messages and OLE objects have no bytes, and raise.
            if kind != OCTETS and attachment.size <= MAXIMUM_BYTES:
                content = attachment.read_buffer(attachment.size)
        except (OSError, ValueError, SystemError, MemoryError):
            kind = "damaged, or no file"
        yield from _attachment(title, kind, content, number + 1, own, options)


def _attachment(
    title: str | None,
    kind: str | None,
    content: bytes,
    number: int,
    own: RawDocument | Unreadable,
    options: ReadOptions,
) -> Iterator[RawDocument | Unreadable]:
    title = _attachment_title(title, number)
    kind = kind if kind and kind != OCTETS else guess_type(title)[0] or OCTETS
    attachment = Attachment(content, kind, title)
    if attachment.is_message:
        name = f"{own.identifier} / {title}"
        for found in read_message(RawMail(content, name), options):
            yield replace(found, is_attachment=True)
    else:
        unwanted = own.unwanted if isinstance(own, RawDocument) else ""
        for found in read_attachment(attachment, own.identifier, own, options):
            if unwanted and isinstance(found, RawDocument):
                yield replace(found, unwanted=unwanted)
            else:
                yield found


def _attachment_title(title: str | None, number: int) -> str:
    return " ".join((title or f"attachment {number}").split())


def _with_attachments(
    own: RawDocument | Unreadable, titles: Iterable[str | None]
) -> RawDocument | Unreadable:
    if isinstance(own, Unreadable):
        return own
    named = (_attachment_title(title, number) for number, title in enumerate(titles, start=1))
    return replace(own, attachments=tuple(named))


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
    rich: bytes = b"",
) -> RawDocument | Unreadable:
    found = MESSAGE_ID.findall(headers.get("message-id", ""))
    identifier = found[0] if found else name
    text = plain if plain.strip() else html_to_text(html) if html.strip() else ""
    if not text.strip() and rich:
        try:
            text = rtf.as_text(rich)
        except ReadError as error:
            return Unreadable(identifier, str(error))
    if not text.strip():
        return Unreadable(identifier, "no text: neither a plain, nor an HTML, nor an RTF body")
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
