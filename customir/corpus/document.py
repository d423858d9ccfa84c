"""What readers make, before it is cleaned."""

from dataclasses import dataclass


@dataclass(frozen=True)
class RawDocument:
    """One message or file as a reader found it, decoded but not cleaned.

    Attributes:
        identifier: Message-ID, `_id`, or path below the source; unique within the source only by
            its author's good will.
        title: Subject or title; empty where there is none.
        sender: The From header, decoded; empty where there is none.
        date: ISO 8601 in UTC ("2002-08-22T11:34:53+00:00"), or None.
        text: The text as found (HTML already turned to text).
        references: Message-IDs that this one answers, oldest first (References, In-Reply-To).
        is_mail: Whether quoted replies and signatures are to be looked for.
        thread: The name of its thread, where the source itself names one; else empty.
        is_chat: Whether its paragraphs are what people said in a chat, each with name and time.
        is_attachment: Whether it came with the message before it.
        recipients: The To and Cc headers, decoded; empty where there are none.
        unwanted: Why it is left out by default: "spam: the folder Junk"; empty where it is not.
        attachments: Names of the files that came with it.
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
    """A mail message as bytes, without an envelope line: parsed later, by whoever has time.

    Attributes:
        name: What it is called where it has no Message-ID.
        envelope: The line that separates it from the message before it in an mbox file: its date
            counts where no header has one.
        unwanted: As in RawDocument.
    """

    content: bytes
    name: str
    envelope: bytes = b""
    unwanted: str = ""


@dataclass(frozen=True)
class Unreadable:
    """One message, line or file that a reader could not use: `reason` is shown to the user."""

    identifier: str
    reason: str
    is_attachment: bool = False
