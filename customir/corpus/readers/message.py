"""One mail message, as bytes, to a RawDocument: headers, MIME, transfer encodings, HTML."""

import email.utils
import re
from datetime import UTC
from email.header import decode_header
from email.message import Message
from email.parser import BytesParser
from email.policy import compat32
from html import unescape

import html2text

from customir.corpus.charsets import decode
from customir.corpus.document import RawDocument, Unreadable

# Nested deeper than this, a part is no longer looked into.
MAXIMUM_DEPTH = 100
# A mail with more HTML than this is a report or an attack; html2text would take minutes.
MAXIMUM_HTML = 4_000_000
MESSAGE_ID = re.compile(r"<[^<>\s]+>")
NESTING_TAG = re.compile(r"<(/?)(?:ul|ol|blockquote)\b", re.IGNORECASE)
UNCLOSED_TAG = re.compile(r"<(?=[^<>]*(?:<|\Z))")
ANY_TAG = re.compile(r"<[^<>]*>")
TEXT_KINDS = frozenset(("text/plain", "text/html", "text/enriched"))
HTML_START = re.compile(r"\s*<(?:!doctype\s+)?html\b", re.IGNORECASE)
HEADERS_END = re.compile(rb"\r?\n\r?\n|\A\r?\n")
# compat32 keeps what it can't parse; the newer policies raise on some malformed headers.
PARSER = BytesParser(policy=compat32)


def read_message(content: bytes, name: str) -> RawDocument | Unreadable:
    """The text and headers of a message; whatever is broken in it, never an exception.

    Args:
        content: The message without an mbox envelope line.
        name: What the message is called where it has no Message-ID.
    """
    try:
        return _read(content, name)
    except RecursionError:
        return Unreadable(name, "MIME parts nested too deep")
    except Exception as error:  # malformed mail finds new ways to raise in email.*
        return Unreadable(name, f"broken message: {type(error).__name__}: {error}")


def _read(content: bytes, name: str) -> RawDocument | Unreadable:
    message = _parse(content)
    headers: dict[str, str] = {}
    for field, value in message.raw_items():
        headers.setdefault(field.lower(), str(value))
    found = MESSAGE_ID.findall(headers.get("message-id", ""))
    bare = headers.get("message-id", "").strip()
    identifier = found[0] if found else f"<{bare}>" if bare and " " not in bare else name
    if not headers and not content.strip():
        return Unreadable(name, "empty message")
    text = "\n\n".join(part for part in _texts(message, 0) if part.strip())
    if not text.strip():
        return Unreadable(identifier, _why_no_text(message))
    answered = MESSAGE_ID.findall(headers.get("references", ""))
    answered += MESSAGE_ID.findall(headers.get("in-reply-to", ""))
    return RawDocument(
        identifier=identifier,
        title=decode_words(headers.get("subject", "")),
        sender=decode_words(headers.get("from", "")),
        date=iso_date(headers.get("date", "")),
        text=text,
        references=tuple(dict.fromkeys(answered)),
        is_mail=True,
    )


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


def _texts(part: Message, depth: int) -> list[str]:
    """The readable texts of a part, in order. Attachments are left alone."""
    if depth > MAXIMUM_DEPTH:
        return []
    kind = part.get_content_type()
    if part.is_multipart():
        children: list[Message] = part.get_payload()  # type: ignore[assignment]
        if kind == "multipart/alternative":
            for wanted in ("text/plain", None):
                for child in children:
                    if wanted is None or child.get_content_type() == wanted:
                        texts = _texts(child, depth + 1)
                        if any(text.strip() for text in texts):
                            return texts
            return []
        own = [child for child in children if child.get_content_type() != "message/rfc822"]
        texts = [text for child in own for text in _texts(child, depth + 1)]
        # A forwarded message or a digest is read only where there is nothing beside it.
        if any(text.strip() for text in texts):
            return texts
        forwarded = [child for child in children if child.get_content_type() == "message/rfc822"]
        return [text for child in forwarded for text in _texts(child, depth + 1)]
    attached = depth > 0 and part.get_content_disposition() == "attachment"
    # A multipart whose boundary never comes is what its lines say.
    if attached or not (kind in TEXT_KINDS or kind.startswith("multipart/")):
        return []
    content = part.get_payload(decode=True)
    text = decode(content, _charset(part)) if isinstance(content, bytes) else ""
    # Enron's mail, and some scripts', has HTML under the name of plain text.
    is_html = kind == "text/html" or HTML_START.match(text) is not None
    return [html_to_text(text)] if is_html else [text]


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
