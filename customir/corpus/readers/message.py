"""One mail message, as bytes, to a RawDocument: headers, MIME, transfer encodings, HTML."""

import email.utils
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC
from email.header import decode_header
from email.message import Message
from email.parser import BytesParser
from email.policy import compat32
from html import unescape

import html2text

from customir.corpus.charsets import decode
from customir.corpus.document import RawDocument, Unreadable
from customir.corpus.readers import docx, pdf

# Nested deeper than this, a part is no longer looked into.
MAXIMUM_DEPTH = 100
# A mail with more HTML than this is a report or an attack; html2text would take minutes.
MAXIMUM_HTML = 4_000_000
RECIPIENT_FIELDS = frozenset(("to", "cc"))
MESSAGE_ID = re.compile(r"<[^<>\s]+>")
NESTING_TAG = re.compile(r"<(/?)(?:ul|ol|blockquote)\b", re.IGNORECASE)
UNCLOSED_TAG = re.compile(r"<(?=[^<>]*(?:<|\Z))")
ANY_TAG = re.compile(r"<[^<>]*>")
TEXT_KINDS = frozenset(("text/plain", "text/html", "text/enriched"))
# Attached, these are no prose: appointments, addresses, what says how a mail was delivered.
NO_PROSE = frozenset(("text/calendar", "text/x-vcard", "text/vcard", "text/directory"))
SIGNATURES = frozenset(
    (
        "application/pgp-signature", "application/pkcs7-signature",
        "application/x-pkcs7-signature", "application/pgp-encrypted",
    )
)  # fmt: skip
MAXIMUM_ATTACHMENT = 64 << 20
ATTACHMENT_READERS = {
    "application/pdf": pdf.read_bytes,
    "pdf": pdf.read_bytes,
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": docx.read_bytes,
    "docx": docx.read_bytes,
}
HTML_START = re.compile(r"\s*<(?:!doctype\s+)?html\b", re.IGNORECASE)
HEADERS_END = re.compile(rb"\r?\n\r?\n|\A\r?\n")
# compat32 keeps what it can't parse; the newer policies raise on some malformed headers.
PARSER = BytesParser(policy=compat32)


def read_message(content: bytes, name: str) -> Iterator[RawDocument | Unreadable]:
    """The text and headers of a message, then its attachments, read or named; never an exception.

    Args:
        content: The message without an mbox envelope line.
        name: What the message is called where it has no Message-ID.
    """
    try:
        yield from _read(_parse(content), bool(content.strip()), name, attached=False)
    except RecursionError:
        yield Unreadable(name, "MIME parts nested too deep")
    except Exception as error:  # malformed mail finds new ways to raise in email.*
        yield Unreadable(name, f"broken message: {type(error).__name__}: {error}")


def _read(
    message: Message, filled: bool, name: str, *, attached: bool, depth: int = 0
) -> list[RawDocument | Unreadable]:
    headers: dict[str, str] = {}
    recipients: list[str] = []
    for field, value in message.raw_items():
        headers.setdefault(field.lower(), str(value))
        if field.lower() in RECIPIENT_FIELDS:
            recipients.append(str(value))
    found = MESSAGE_ID.findall(headers.get("message-id", ""))
    bare = headers.get("message-id", "").strip()
    identifier = found[0] if found else f"<{bare}>" if bare and " " not in bare else name
    if not headers and not filled:
        return [Unreadable(name, "empty message", attached)]
    parts = _Parts()
    parts.take(message, depth)
    text = "\n\n".join(part for part in parts.texts if part.strip())
    own: RawDocument | Unreadable
    if text.strip():
        own = RawDocument(
            identifier=identifier,
            title=decode_words(headers.get("subject", "")),
            sender=decode_words(headers.get("from", "")),
            date=iso_date(headers.get("date", "")),
            text=text,
            references=references_of(headers),
            is_mail=True,
            is_attachment=attached,
            recipients=decode_words(", ".join(recipients)),
        )
    else:
        own = Unreadable(identifier, _why_no_text(message), attached)
    return [own, *_attachments(parts.attachments, identifier, own, depth)]


def references_of(headers: dict[str, str]) -> tuple[str, ...]:
    """The Message-IDs that a message answers, oldest first, by its headers in lower case."""
    answered = MESSAGE_ID.findall(headers.get("references", ""))
    answered += MESSAGE_ID.findall(headers.get("in-reply-to", ""))
    return tuple(dict.fromkeys(answered))


def _attachments(
    parts: Sequence[Message], message: str, own: RawDocument | Unreadable, depth: int
) -> Iterator[RawDocument | Unreadable]:
    """What came with `message`: texts as documents of it, others by name."""
    for number, part in enumerate(parts, start=1):
        kind = part.get_content_type()
        title = clean_name(part) or f"attachment {number}"
        name = f"{message} / {title}"
        if part.is_multipart():  # a message in a message
            children: list[Message] = part.get_payload()  # type: ignore[assignment]
            for child in children:
                yield from _read(child, True, name, attached=True, depth=depth + 1)
            continue
        content = part.get_payload(decode=True)
        yield read_attachment(
            content if isinstance(content, bytes) else b"",
            kind,
            title,
            message,
            own,
            _charset(part),
        )


def read_attachment(
    content: bytes,
    kind: str,
    title: str,
    message: str,
    own: RawDocument | Unreadable,
    charset: str | None = None,
) -> RawDocument | Unreadable:
    """A text as a document of the message that it came with; anything else by its name.

    Args:
        kind: Its MIME type.
        title: Its file name.
        message: What the message is called, and `own`: what was read of it.
    """
    name = f"{message} / {title}"
    suffix = title.rpartition(".")[2].lower()
    read = ATTACHMENT_READERS.get(kind) or ATTACHMENT_READERS.get(suffix)
    found: RawDocument | Unreadable
    if len(content) > MAXIMUM_ATTACHMENT:
        found = Unreadable(name, f"attachment not read: {kind}, large")
    elif read:
        found = read(content, name)
    elif kind.startswith("text/") and kind not in NO_PROSE:
        text = decode(content, charset)
        try:
            text = html_to_text(text) if kind == "text/html" else text
            found = RawDocument(name, "", "", None, text)
        except ValueError as error:
            found = Unreadable(name, f"attachment not read: {error}")
    else:
        found = Unreadable(name, f"attachment not read: {kind}")
    if isinstance(found, Unreadable):
        return replace(found, is_attachment=True)
    date = own.date if isinstance(own, RawDocument) else None
    sender = own.sender if isinstance(own, RawDocument) else ""
    return replace(
        found, title=title, sender=sender, date=date, references=(message,), is_attachment=True
    )


def clean_name(part: Message) -> str:
    """The file name of a part, decoded, on one line; empty where it has none."""
    try:
        return " ".join(decode_words(part.get_filename() or "").split())[:200]
    except (LookupError, UnicodeError, ValueError, TypeError):
        return ""


def _parse(content: bytes) -> Message:
    """A parsed message. Only multiparts are parsed line by line: that is most of the time."""
    end = HEADERS_END.search(content)
    if end is None:
        return PARSER.parsebytes(content)
    message: Message = PARSER.parsebytes(content[: end.end()])
    if message.get_content_maintype() in ("multipart", "message"):
        return PARSER.parsebytes(content)
    if not message.keys() or message.get_payload():  # a header line that is none ends the headers
        return PARSER.parsebytes(content)
    message.set_payload(content[end.end() :].decode("ascii", "surrogateescape"))
    return message


class _Parts:
    """The readable texts of a message, in order, and its attachments."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.attachments: list[Message] = []

    def take(self, part: Message, depth: int) -> None:
        if depth > MAXIMUM_DEPTH:
            return
        kind = part.get_content_type()
        if not part.is_multipart():
            self._take_leaf(part, kind, depth)
            return
        children: list[Message] = part.get_payload()  # type: ignore[assignment]
        if kind == "multipart/alternative":
            self._take_alternative(children, depth)
            return
        if kind == "message/rfc822" or kind.startswith("message/"):
            inner = children
        else:
            inner = [child for child in children if child.get_content_type() != "message/rfc822"]
        before = len(self.texts)
        for child in inner:
            self.take(child, depth + 1)
        # A forwarded message or a digest is read as the message's own text only where there is
        # nothing beside it; else it is an attachment.
        beside = any(text.strip() for text in self.texts[before:])
        for child in children:
            if child not in inner:
                if beside or depth:
                    self.attachments.append(child)
                else:
                    self.take(child, depth + 1)

    def _take_alternative(self, children: Sequence[Message], depth: int) -> None:
        """The plain text, else the first alternative that has any."""
        plain = [child for child in children if child.get_content_type() == "text/plain"]
        for child in (*plain, *children):
            found = _Parts()
            found.take(child, depth + 1)
            if any(text.strip() for text in found.texts):
                self.texts += found.texts
                self.attachments += found.attachments
                return

    def _take_leaf(self, part: Message, kind: str, depth: int) -> None:
        if depth > 0 and part.get_content_disposition() == "attachment":
            if kind not in SIGNATURES:
                self.attachments.append(part)
            return
        # A multipart whose boundary never comes is what its lines say.
        if not (kind in TEXT_KINDS or kind.startswith("multipart/")):
            if kind not in SIGNATURES and (depth > 0 and clean_name(part)):
                self.attachments.append(part)
            return
        content = part.get_payload(decode=True)
        text = decode(content, _charset(part)) if isinstance(content, bytes) else ""
        # Enron's mail, and some scripts', has HTML under the name of plain text.
        is_html = kind == "text/html" or HTML_START.match(text) is not None
        self.texts.append(html_to_text(text) if is_html else text)


def _charset(part: Message) -> str | None:
    try:
        return part.get_content_charset()
    except (LookupError, UnicodeError, ValueError, TypeError):
        return None


def html_to_text(html: str) -> str:
    """HTML as plain text without links, pictures and emphasis; blockquotes become "> " lines.

    Raises:
        ValueError: there is so much of it, or it is nested so deep, that it would take minutes.
    """
    if len(html) > MAXIMUM_HTML:
        raise ValueError(f"{len(html):,} characters of HTML; at most {MAXIMUM_HTML:,} are read")
    depth = 0
    for tag in NESTING_TAG.finditer(html):
        depth = max(depth - 1, 0) if tag[1] else depth + 1
        if depth > MAXIMUM_DEPTH:
            raise ValueError(f"HTML lists or quotes nested deeper than {MAXIMUM_DEPTH}")
    converter = html2text.HTML2Text(bodywidth=0)
    converter.ignore_links = True
    converter.ignore_images = True
    converter.ignore_emphasis = True
    converter.ignore_tables = True
    converter.unicode_snob = True  # "ü" stays "ü"
    # The parser looks for the end of an unclosed tag through all that follows, for each of them.
    html = UNCLOSED_TAG.sub("&lt;", _without_comments(html))
    try:
        return str(converter.handle(html))
    except AssertionError:  # by html.parser, on some marked sections
        return unescape(ANY_TAG.sub(" ", html))


def _without_comments(html: str) -> str:
    kept: list[str] = []
    at = 0
    while (begin := html.find("<!--", at)) >= 0:
        end = html.find("-->", begin + 4)
        if end < 0:
            break
        kept.append(html[at:begin])
        at = end + 3
    return "".join([*kept, html[at:]])


def _why_no_text(message: Message) -> str:
    kinds: dict[str, None] = {}
    waiting = [message]
    while waiting and len(kinds) < 8:
        part = waiting.pop()
        kind = part.get_content_type()
        if kind == "multipart/encrypted":
            return "encrypted (PGP/MIME): no readable text"
        if kind in ("application/pkcs7-mime", "application/x-pkcs7-mime"):
            sealed = str(part.get_param("smime-type", "")).lower() == "signed-data"
            how = "signed as an opaque block" if sealed else "encrypted"
            return f"{how} (S/MIME): no readable text"
        if part.is_multipart():
            waiting.extend(part.get_payload())  # type: ignore[arg-type]
        else:
            kinds[kind] = None
    if set(kinds) <= TEXT_KINDS:
        return "empty body"
    return "no text part: " + ", ".join(sorted(kinds))


def decode_words(value: str) -> str:
    """A header's raw value (undecodable bytes as surrogates) with its encoded words decoded."""
    if "=?" not in value:
        return value if value.isascii() else decode(value.encode("utf-8", "surrogateescape"))
    try:
        parts = decode_header(value)
    except Exception:  # HeaderParseError, binascii.Error and others: show it as it came
        return decode(value.encode("utf-8", "surrogateescape"))
    return "".join(
        decode(part, charset)
        if isinstance(part, bytes)
        else decode(part.encode("utf-8", "surrogateescape"))
        for part, charset in parts
    )


def iso_date(value: str) -> str | None:
    """A Date header in ISO 8601 and UTC, whatever its year; None where it can't be read."""
    try:
        parsed = email.utils.parsedate_to_datetime(value)
        if parsed.tzinfo is None:
            parsed = parsed.replace(tzinfo=UTC)
        return parsed.astimezone(UTC).isoformat(timespec="seconds")
    except (ValueError, TypeError, IndexError, OverflowError, AttributeError):
        return None
