"""What readers make and what the later stages read."""

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


@dataclass(frozen=True)
class Unreadable:
    """One message, line or file that a reader could not use: `reason` is shown to the user."""

    identifier: str
    reason: str
    is_attachment: bool = False


@dataclass(frozen=True)
class Document:
    """A cleaned document as the workspace holds it. `key` is a hash of its content."""

    key: str
    source: str
    identifier: str
    title: str
    sender: str
    date: str | None
    thread: str
    text: str


@dataclass(frozen=True)
class Passage:
    """A piece of a document, short enough for the embedder.

    Attributes:
        text: Without the document's title.
        duplicates: Near-duplicate group: the smallest passage key in it.
    """

    key: str
    document: str
    ordinal: int
    text: str
    duplicates: str
    title: str
    thread: str

    @property
    def content(self) -> str:
        """What is embedded and indexed: the title, where there is one, above the text."""
        return f"{self.title}\n{self.text}" if self.title else self.text
