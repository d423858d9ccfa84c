"""Converts one mail message in bytes to documents: headers, MIME, HTML and attachments."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from email.message import Message
from email.parser import BytesParser
from email.policy import compat32

from customir.corpus.charsets import decode
from customir.corpus.document import RawDocument, RawMail, Unreadable
from customir.corpus.readers import calendar, tnef
from customir.corpus.readers.attachments import NO_PROSE, Attachment, read_attachment
from customir.corpus.readers.dates import iso_date
from customir.corpus.readers.files import ReadError
from customir.corpus.readers.html import decode_html, html_to_text
from customir.corpus.readers.mime import body_of, decode_words, unflow
from customir.corpus.readers.options import ReadOptions
from customir.corpus.readers.unwanted import cause_by_headers

# Parts nested deeper than this are ignored.
MAXIMUM_DEPTH = 100
RECIPIENT_FIELDS = frozenset(("to", "cc"))
MESSAGE_ID = re.compile(r"<[^<>\s]+>")
TEXT_KINDS = frozenset(("text/plain", "text/html", "text/enriched", "text/markdown"))
HTML_KINDS = ("text/html", "text/x-amp-html")
ENRICHED = "text/enriched"
ENRICHED_TAG = re.compile(r"<param>.{0,200}?</param>|(?<!<)<(?!<)/?[a-z-]{1,60}>", re.I | re.S)
SIGNATURES = frozenset(
    (
        "application/pgp-signature", "application/pkcs7-signature",
        "application/x-pkcs7-signature", "application/pgp-encrypted",
    )
)  # fmt: skip
SEALED = frozenset(("application/pkcs7-mime", "application/x-pkcs7-mime"))
HTML_START = re.compile(r"\s*<(?:!doctype\s+)?html\b", re.IGNORECASE)
# A plain part that some programs fill with the HTML itself.
ONLY_HTML = re.compile(
    r"\s*<(?:div|p|table|body|head|meta|style|span|font|br|center)\b.*>\s*\Z", re.I | re.S
)
ADDRESS = re.compile(r"https?://\S+")
HEADERS_END = re.compile(rb"\r?\n\r?\n|\A\r?\n")
# A plain part this short (in characters, without links) may say only that the mail is in HTML, so
# the HTML is checked.
SHORT_PLAIN = 600
# The HTML is the message if it has less than this share of the plain part's words, or more than
# this many times as many words.
SHARED_WORDS, MUCH_LONGER = 0.5, 3
WORD = re.compile(r"\w{2,}")
# The beginning of a line in a header that is neither a field nor the continuation of one, and a
# space between the name of a field and its colon.
BROKEN_LINE = re.compile(rb"(?<=\n)(?=(?!>?From )(?:[^\s:][^:\n]*\n|[^\s:]+[ \t]+[^\s:][^\n]*\n))")
SPACE_BEFORE_COLON = re.compile(rb"^([!-9;-~]{1,76})[ \t]+:", re.MULTILINE)
MIME_FIELD = re.compile(rb"^(?:content-[a-z-]+|mime-version)[ \t]*:", re.I | re.M)
ENVELOPE_DATE = re.compile(r"From (\S+) +(.+)", re.DOTALL)
# compat32 keeps what it cannot parse. The newer policies raise on some malformed headers.
PARSER = BytesParser(policy=compat32)


def read_message(mail: RawMail, options: ReadOptions) -> Iterator[RawDocument | Unreadable]:
    """The message with its headers, then its attachments, read or only named. It never raises."""
    content, name = mail.content, mail.name
    try:
        found = _Reading(options).read(_parse(content), bool(content.strip()), name, mail.envelope)
    except RecursionError:
        yield Unreadable(name, "MIME parts nested too deep")
        return
    except ReadError as error:
        yield Unreadable(name, str(error))
        return
    except Exception as error:  # malformed mail can raise any error in email.*
        yield Unreadable(name, f"broken message: {type(error).__name__}: {error}")
        return
    own = found[0]
    cause = mail.unwanted or (own.unwanted if isinstance(own, RawDocument) else "")
    for item in found:
        if cause and isinstance(item, RawDocument):
            yield replace(item, unwanted=cause)
        else:
            yield item


def references_of(headers: dict[str, str]) -> tuple[str, ...]:
    """The Message-IDs that a message answers, oldest first.

    Args:
        headers: The header values by field name in lower case.
    """
    answered = MESSAGE_ID.findall(headers.get("references", ""))
    answered += MESSAGE_ID.findall(headers.get("in-reply-to", ""))
    return tuple(dict.fromkeys(answered))


class _Reading:
    """Reads one message and the messages in it."""

    def __init__(self, options: ReadOptions) -> None:
        self._options = options

    def read(
        self,
        message: Message,
        filled: bool,
        name: str,
        envelope: bytes = b"",
        *,
        attached: bool = False,
        depth: int = 0,
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
        parts.attach_calendars()
        own: RawDocument | Unreadable
        try:
            text = parts.text()
        except ReadError as error:
            text, why = "", str(error)
        else:
            why = _why_no_text(message)
        if text.strip():
            own = RawDocument(
                identifier=identifier,
                title=decode_words(headers.get("subject", "")),
                sender=decode_words(headers.get("from", "")),
                date=_date(headers, envelope),
                text=text,
                references=references_of(headers),
                is_mail=True,
                is_attachment=attached,
                recipients=decode_words(", ".join(recipients)),
                unwanted=cause_by_headers(
                    decode_words(headers.get("x-gmail-labels", "")),
                    headers.get("x-mozilla-status", ""),
                ),
                attachments=tuple(
                    _name(part, number) for number, part in enumerate(parts.attachments, start=1)
                ),
            )
        else:
            own = Unreadable(identifier, why, attached)
        return [own, *self._attachments(parts, identifier, own, depth)]

    def _attachments(
        self, parts: "_Parts", message: str, own: RawDocument | Unreadable, depth: int
    ) -> Iterator[RawDocument | Unreadable]:
        """The attachments of `message`: texts as documents, other files by name."""
        for number, part in enumerate(parts.attachments, start=1):
            title = _name(part, number)
            name = f"{message} / {title}"
            if part.is_multipart():  # a message in a message
                for child in inner_messages(part):
                    yield from self.read(child, True, name, attached=True, depth=depth + 1)
                continue
            attachment = Attachment(body_of(part), part.get_content_type(), title, charset_of(part))
            if depth < MAXIMUM_DEPTH and attachment.is_message:
                inner = _parse(attachment.data)
                yield from self.read(inner, True, name, attached=True, depth=depth + 1)
            else:
                for found in read_attachment(attachment, message, own, self._options):
                    # The reason why the mail has no text names what has no name.
                    told = isinstance(own, Unreadable) and not clean_name(part)
                    if not (told and isinstance(found, Unreadable)):
                        yield found


def _name(attachment: Message, number: int) -> str:
    return clean_name(attachment) or f"attachment {number}"


def clean_name(part: Message) -> str:
    """The decoded file name of a part, on one line; empty if it has none."""
    try:
        return " ".join(decode_words(part.get_filename() or "").split())[:200]
    except (LookupError, UnicodeError, ValueError, TypeError):
        return ""


def inner_messages(part: Message) -> list[Message]:
    """The messages in a message/rfc822 part, even if it is encoded, which RFC 2046 forbids."""
    children: list[Message] = part.get_payload()  # type: ignore[assignment]
    if part.get_content_maintype() != "message" or not is_encoded(part):
        return children
    decoded: list[Message] = []
    for child in children:
        holder = Message()
        holder["Content-Transfer-Encoding"] = str(part["Content-Transfer-Encoding"])
        holder.set_payload(child.as_bytes().decode("ascii", "surrogateescape").lstrip("\n"))
        decoded.append(_parse(body_of(holder)))
    return decoded


def is_encoded(part: Message) -> bool:
    """Whether a part is encoded as a whole, which is not allowed for a multipart or a message."""
    encoding = str(part.get("Content-Transfer-Encoding", "")).strip().lower()
    return encoding in ("base64", "quoted-printable")


def charset_of(part: Message) -> str | None:
    """The charset that a part declares; None if it declares none that can be read."""
    try:
        return part.get_content_charset()
    except (LookupError, UnicodeError, ValueError, TypeError):
        return None


def _parse(content: bytes) -> Message:
    """Parse a message. Parsing line by line is slow, so only multiparts are parsed that way."""
    end = HEADERS_END.search(content)
    if end is None:
        return PARSER.parsebytes(content)
    header = _without_broken_lines(content[: end.end()])
    if header != content[: end.end()]:
        return _parse(header + content[end.end() :])
    message: Message = PARSER.parsebytes(header)
    if message.get_content_maintype() in ("multipart", "message"):
        return PARSER.parsebytes(content)
    if not message.keys() or message.get_payload():  # an invalid header line ends the headers
        return PARSER.parsebytes(content)
    message.set_payload(content[end.end() :].decode("ascii", "surrogateescape"))
    return message


def _without_broken_lines(header: bytes) -> bytes:
    """A header whose broken lines continue the line above them, so that the fields below count.

    A line without a colon ends a header, even if Content-Type is below it. If no field of MIME is
    below it, it may be the first line of a body without a blank line above it.
    """
    header = SPACE_BEFORE_COLON.sub(rb"\1:", header)
    if not BROKEN_LINE.search(header):
        return header
    *_, last = (0, *(field.start() for field in MIME_FIELD.finditer(header)))
    return BROKEN_LINE.sub(b" ", header[:last]) + header[last:]


def _date(headers: dict[str, str], envelope: bytes) -> str | None:
    """When a message was sent or, if its Date cannot be read, when it was received."""
    date = iso_date(headers.get("date", ""))
    if date:
        return date
    found = ENVELOPE_DATE.match(envelope.decode("latin-1").strip())
    # Thunderbird writes "From -" and the time when it stored the message.
    if found and found[1] != "-" and (date := iso_date(found[2])):
        return date
    return iso_date(headers.get("received", "").rpartition(";")[2])


class _Parts:
    """The readable texts of a message, in order, and its attachments."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.attachments: list[Message] = []
        self.calendars: list[Message] = []

    def text(self) -> str:
        """The texts or, if there are none, the text of a calendar or a winmail.dat.

        Raises:
            ReadError: the calendar or winmail.dat cannot be read.
        """
        text = "\n\n".join(part for part in self.texts if part.strip())
        if text:
            return text
        for part in self.calendars:
            return calendar.as_text(body_of(part))
        for part in self.attachments:
            if not part.is_multipart() and tnef.matches(body_of(part)[:4]):
                return tnef.read(body_of(part)).text
        return ""

    def attach_calendars(self) -> None:
        """Make calendars attachments if there is a text, which rarely says when and where."""
        if self.joined().strip():
            attached = [body_of(part) for part in self.attachments if not part.is_multipart()]
            self.attachments += [part for part in self.calendars if body_of(part) not in attached]

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
        if kind.startswith("message/"):
            children = inner = inner_messages(part)
        else:
            inner = [child for child in children if child.get_content_type() != "message/rfc822"]
        before = len(self.texts)
        for child in inner:
            self.take(child, depth + 1)
        # A forwarded message or a digest counts as the message's own text only if there is no other
        # text beside it. Otherwise it is an attachment.
        beside = any(text.strip() for text in self.texts[before:])
        for child in children:
            if child not in inner:
                if beside or depth:
                    self.attachments.append(child)
                else:
                    self.take(child, depth + 1)

    def _take_alternative(self, children: Sequence[Message], depth: int) -> None:
        """Take the plain text, unless it is useless; else the first alternative with any text.

        Apple Mail puts attachments into an alternative, so those of all alternatives count.
        """
        plain = [child for child in children if child.get_content_type() == "text/plain"]
        others = [child for child in children if child not in plain]
        found: list[_Parts] = []
        for child in (*plain, *others):
            parts = _Parts()
            parts.take(child, depth + 1)
            self.calendars += parts.calendars
            self.attachments += parts.attachments
            if any(text.strip() for text in parts.texts):
                found.append(parts)
        if len(found) > 1 and plain and others and may_be_useless(found[0].joined()):
            first, second = found[0].joined(), found[1].joined()
            found = found[ONLY_HTML.match(first) is not None or says_more(second, first) :]
        self.texts += found[0].texts if found else []

    def joined(self) -> str:
        """The texts, joined by line ends."""
        return "\n".join(self.texts)

    def _take_leaf(self, part: Message, kind: str, depth: int) -> None:
        if depth > 0 and part.get_content_disposition() == "attachment":
            if kind not in SIGNATURES:
                self.attachments.append(part)
            return
        if kind == calendar.KIND:
            self.calendars.append(part)
            return
        if kind.startswith("multipart/") and is_encoded(part):
            whole = b"Content-Type: " + str(part["Content-Type"]).encode("utf-8", "replace")
            self.take(_parse(whole + b"\n\n" + body_of(part)), depth + 1)
            return
        # A multipart whose boundary never occurs is read as plain text.
        is_whole_body = depth == 0 and kind.startswith(("text/", "plain/")) and kind not in NO_PROSE
        if kind in TEXT_KINDS or kind.startswith("multipart/") or is_whole_body:
            self.texts.append(_text_of(part, kind))
        elif kind not in SIGNATURES and kind not in SEALED:
            self.attachments.append(part)


def may_be_useless(plain: str) -> bool:
    """Whether a plain part is so short, or such a form, that the HTML beside it may say more."""
    return len(ADDRESS.sub("", plain)) < SHORT_PLAIN or ONLY_HTML.match(plain) is not None


def says_more(html: str, plain: str) -> bool:
    """Whether the HTML of a message, and not the short plain part beside it, is its text."""
    words = WORD.findall(plain.casefold())
    in_html = set(WORD.findall(html.casefold()))
    shared = sum(word in in_html for word in words)
    return shared < SHARED_WORDS * len(words) or len(html.split()) > MUCH_LONGER * len(
        plain.split()
    )


def _text_of(part: Message, kind: str) -> str:
    charset = charset_of(part)
    content = body_of(part)
    if kind in HTML_KINDS:
        # Programs that do not know the charset declare "us-ascii".
        return html_to_text(decode_html(content, None if charset == "us-ascii" else charset))
    text = decode(content, charset)
    # Mail of Enron and of some scripts has HTML declared as plain text.
    if HTML_START.match(text):
        return html_to_text(text)
    if kind == ENRICHED:
        return ENRICHED_TAG.sub("", text).replace("<<", "<")
    if str(part.get_param("format", "")).lower() == "flowed":
        return unflow(text, delete_space=str(part.get_param("delsp", "")).lower() == "yes")
    return text


def _why_no_text(message: Message) -> str:
    kinds: dict[str, None] = {}
    waiting = [message]
    while waiting and len(kinds) < 8:
        part = waiting.pop()
        kind = part.get_content_type()
        if kind == "multipart/encrypted":
            return "encrypted (PGP/MIME): no readable text"
        if kind in SEALED:
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
