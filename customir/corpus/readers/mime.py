"""What RFC 2045, 2047 and 3676 put around a text, undone as far as it is well formed."""

import binascii
import re
from email.message import Message

from customir.corpus.charsets import codec_of, decode

ENCODED_WORD = re.compile(r"=\?\s*([^\s?]+?)\s*\?\s*([bBqQ])\s*\?(.*?)\?=", re.DOTALL)
SOFT_BREAK = re.compile(rb"=[ \t]+(?=\r?\n|\Z)")
BASE64_PIECE = re.compile(rb"[A-Za-z0-9+/]+")
ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
NOT_ALPHABET = bytes(set(range(256)) - set(ALPHABET))
# Of base64, so little is not of its alphabet; of text, blanks and stops are a fifth.
OTHER_SHARE, SHORT_BYTES = 0.1, 40
UUENCODED = ("x-uuencode", "uuencode", "uue", "x-uue")
QUOTE = re.compile(r">*")


def body_of(part: Message) -> bytes:
    """The content of a part that is no multipart, without its transfer encoding.

    Broken base64 and quoted-printable are decoded as far as they go, where Python's email gives
    them back as they came.
    """
    # get_payload() would decode bytes that are not ASCII, by whatever charset is declared.
    payload = part._payload  # type: ignore[attr-defined]
    if not isinstance(payload, str):
        return b""
    encoding = str(part.get("Content-Transfer-Encoding", "")).strip().strip("\"'").lower()
    raw = payload.encode("utf-8", "surrogateescape")
    if encoding == "base64":
        return decode_base64(raw) if _is_base64(raw) else raw
    if encoding == "quoted-printable":
        return binascii.a2b_qp(SOFT_BREAK.sub(b"=", raw))
    if encoding not in UUENCODED:
        return raw
    content = part.get_payload(decode=True)
    return content if isinstance(content, bytes) else raw


def decode_base64(content: bytes) -> bytes:
    """Base64 in one piece or several, each with its padding or without; other bytes are ignored."""
    padding = content.find(b"=")
    is_one_piece = padding < 0 or not content[padding:].strip(b"=\r\n\t ")
    try:
        return binascii.a2b_base64(content) if is_one_piece else _decode_pieces(content)
    except binascii.Error:
        return _decode_pieces(content)


def _is_base64(content: bytes) -> bool:
    """Whether a text may be base64; some programs declare it, and do not encode."""
    others = len(content.translate(None, ALPHABET))
    return len(content) < SHORT_BYTES or others <= OTHER_SHARE * len(content)


def _decode_pieces(content: bytes) -> bytes:
    decoded = b""
    for piece in BASE64_PIECE.findall(content.translate(None, NOT_ALPHABET)):
        whole = piece[:-1] if len(piece) % 4 == 1 else piece
        decoded += binascii.a2b_base64(whole + b"=" * (-len(whole) % 4))
    return decoded


def decode_words(value: str) -> str:
    """A header's raw value (undecodable bytes as surrogates) with its encoded words decoded.

    What mail programs write against RFC 2047 is decoded, too: spaces in a word, words inside quotes
    or against other text, a character that is split between two words, raw bytes beside words.
    """
    if "=?" not in value:
        return _plain(value)
    text: list[str] = []
    # Bytes of words of one charset that follow each other: a character may be split.
    pending, charset, at = b"", "", 0
    for word in ENCODED_WORD.finditer(value):
        between = value[at : word.start()]
        if between.strip() or not at or codec_of(word[1]) != charset:
            if pending:
                text.append(decode(pending, charset))
                pending = b""
            if between.strip() or not at:
                text.append(_plain(between))
            charset = codec_of(word[1])
        pending += _word(word[2], word[3])
        at = word.end()
    if pending:
        text.append(decode(pending, charset))
    return "".join([*text, _plain(value[at:])])


def _word(encoding: str, content: str) -> bytes:
    raw = content.encode("utf-8", "surrogateescape")
    if encoding in "bB":
        return decode_base64(raw)
    # In a header, "_" is a space, and a line break inside a word is none of its text.
    return binascii.a2b_qp(re.sub(rb"\r?\n[ \t]*", b"", raw), header=True)


def _plain(value: str) -> str:
    return value if value.isascii() else decode(value.encode("utf-8", "surrogateescape"))


def unflow(text: str, *, delete_space: bool) -> str:
    """The paragraphs of format=flowed text, each a line. See RFC 3676.

    Args:
        delete_space: DelSp=yes: the space at a line's end is not a part of the text.
    """
    lines: list[str] = []
    depth_before, flowing = 0, False
    for line in text.splitlines():
        quote = QUOTE.match(line)
        depth = len(quote[0]) if quote else 0
        content = line[depth:].removeprefix(" ")
        is_signature = content == "-- "
        if flowing and depth == depth_before and not is_signature:
            lines[-1] += content
        else:
            lines.append(f"{'>' * depth} {content}" if depth else content)
        flowing = content.endswith(" ") and not is_signature
        if flowing and delete_space:
            lines[-1] = lines[-1][:-1]
        depth_before = depth
    return "\n".join(lines)
