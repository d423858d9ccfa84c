"""The output of the readers, before cleaning."""

from dataclasses import dataclass


@dataclass(frozen=True)
class RawDocument:
    """One message or file, decoded but not cleaned.

    Attributes:
        identifier: The Message-ID, `_id`, or path below the source. Nothing guarantees that it is
            unique within the source.
        title: The subject or title; empty if there is none.
        sender: The decoded From header; empty if there is none.
        date: ISO 8601 in UTC ("2002-08-22T11:34:53+00:00"), or None.
        text: The original text (HTML already converted to text).
        references: Message-IDs that this one answers, oldest first (References, In-Reply-To).
        is_mail: Whether to look for quoted replies and signatures.
        thread: The name of its thread if the source names one, else empty.
        is_chat: Whether its paragraphs are turns of a chat, each with a name and a time.
        is_attachment: Whether it is an attachment of the message before it.
        recipients: The decoded To and Cc headers; empty if there are none.
        unwanted: Why it is excluded by default ("spam: the folder Junk"); empty if it is not.
        attachments: The names of its attached files.
    """

    identifier: str
    title: str
    sender: str
    date: str | None
    text: str
    references: tuple[str, ...] = ()
    is_mail: bool = False
    thread: str = ""
    is_chat: bool = False
    is_attachment: bool = False
    recipients: str = ""
    unwanted: str = ""
    attachments: tuple[str, ...] = ()


@dataclass(frozen=True)
class RawMail:
    """A mail message as bytes, without an envelope line. It is parsed later, in any process.

    Attributes:
        name: Its identifier if it has no Message-ID.
        envelope: The line that separates it from the previous message in an mbox file. Its date is
            used if the Date header is missing or unreadable.
        unwanted: As in RawDocument.
    """

    content: bytes
    name: str
    envelope: bytes = b""
    unwanted: str = ""


@dataclass(frozen=True)
class Unreadable:
    """A message, line or file that a reader could not use. `reason` is shown to the user."""

    identifier: str
    reason: str
    is_attachment: bool = False
