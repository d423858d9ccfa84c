"""Attachments of a mail: texts become documents of their own, other files are only named."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from mimetypes import guess_extension

from customir.corpus.charsets import decode
from customir.corpus.document import RawDocument, Unreadable
from customir.corpus.readers import eml, tnef
from customir.corpus.readers.documents import read_as_document
from customir.corpus.readers.files import HEAD_BYTES, Content, ReadError
from customir.corpus.readers.options import ReadOptions

MAXIMUM_BYTES = 64 << 20
OCTETS = "application/octet-stream"
TEXT_SUFFIXES = (".csv", ".tsv", ".log", ".diff", ".patch")
# Addresses and delivery headers: text, but not prose.
NO_PROSE = frozenset(("text/x-vcard", "text/vcard", "text/directory", "text/rfc822-headers"))
OLE_MAGIC = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"


@dataclass(frozen=True)
class Attachment:
    """A file attached to a mail.

    Attributes:
        kind: Its declared MIME type.
        title: Its file name.
        charset: Its declared charset.
    """

    data: bytes
    kind: str
    title: str
    charset: str | None = None

    @property
    def is_message(self) -> bool:
        """Whether it is a mail message, judged by its name and its content."""
        named = self.title.lower().endswith(".eml") or self.kind == "message/rfc822"
        head = self.data[:HEAD_BYTES]
        return (named or self.kind == OCTETS) and eml.matches(head, ".eml" if named else "")


def read_attachment(
    attachment: Attachment, message: str, own: RawDocument | Unreadable, options: ReadOptions
) -> Iterator[RawDocument | Unreadable]:
    """The documents of an attachment that is not itself a mail, or why it is not read.

    Args:
        message: The identifier of the message that it belongs to.
        own: The document of that message.
    """
    name = f"{message} / {attachment.title}"
    for found in _read(attachment, name, options):
        if isinstance(found, Unreadable) or found.is_mail:
            yield replace(found, is_attachment=True)
        else:
            yield replace(
                found,
                title=attachment.title,
                sender=own.sender if isinstance(own, RawDocument) else "",
                date=own.date if isinstance(own, RawDocument) else None,
                references=(message,),
                is_attachment=True,
            )


def _read(
    attachment: Attachment, name: str, options: ReadOptions
) -> Sequence[RawDocument | Unreadable]:
    data, kind = attachment.data, attachment.kind
    title = attachment.title.lower()
    if len(data) > MAXIMUM_BYTES:
        return [Unreadable(name, f"attachment not read: {kind}, large")]
    if data.startswith(OLE_MAGIC) and title.endswith(".msg"):
        from customir.corpus.readers.outlook import read_msg  # which reads attachments itself

        return read_msg(data, name, options)
    try:
        if tnef.matches(data[:4]):
            return _read_tnef(data, name, options)
        if kind not in NO_PROSE and (
            found := read_as_document(
                Content(data, name, attachment.charset, options), _file_name(title, kind)
            )
        ):
            return [found]
        if title.endswith(TEXT_SUFFIXES) or (kind.startswith("text/") and kind not in NO_PROSE):
            return [RawDocument(name, "", "", None, decode(data, attachment.charset))]
    except ReadError as error:
        return [Unreadable(name, str(error))]
    return [Unreadable(name, f"attachment not read: {kind}")]


def _file_name(title: str, kind: str) -> str:
    """The attachment's file name, with a suffix for its MIME type if it has none."""
    if kind == OCTETS or (title.rpartition(".")[2].isalnum() and "." in title):
        return title
    return title + (guess_extension(kind) or "")


def _read_tnef(data: bytes, name: str, options: ReadOptions) -> list[RawDocument | Unreadable]:
    """The files in a winmail.dat. Its text belongs to the message, if that has no other text."""
    found: list[RawDocument | Unreadable] = []
    package = tnef.read(data)
    for title, content in package.files:
        found += _read(Attachment(content, OCTETS, title), f"{name} / {title}", options)
    return found or [Unreadable(name, "no files in this winmail.dat")]
