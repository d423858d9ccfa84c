"""Decodes the encodings of RFC 2045, 2047 and 3676, as far as they are well formed."""

import binascii
import re
from email.message import Message

from customir.corpus.charsets import codec_of, decode

ENCODED_WORD = re.compile(r"=\?\s*([^\s?]+?)\s*\?\s*([bBqQ])\s*\?(.*?)\?=", re.DOTALL)
SOFT_BREAK = re.compile(rb"=[ \t]+(?=\r?\n|\Z)")
BASE64_PIECE = re.compile(rb"[A-Za-z0-9+/]+")
ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
NOT_ALPHABET = bytes(set(range(256)) - set(ALPHABET))
# In base64, at most this share of the bytes is outside its alphabet. In text, blanks and
# punctuation are a fifth. Content with fewer bytes than this is always decoded.
OTHER_SHARE, SHORT_BYTES = 0.1, 40
# The first line below base64 that is not base64: list servers append their footers as plain text.
APPENDED = re.compile(
    rb"\n(?=[-_*~]{10})|(?:=[ \t]*\r?\n|\n[ \t]*\r?\n)(?=[^\r\n]*[^A-Za-z0-9+/=\s])(?=[^\r\n]*(?:[ \t]\w|[-_*~]{10}))"
)
UUENCODED = ("x-uuencode", "uuencode", "uue", "x-uue")
QUOTE = re.compile(r">*")


def body_of(part: Message) -> bytes:
    """The content of a part that is not a multipart, without its transfer encoding.

    Broken base64 and quoted-printable are decoded as far as possible. Python's email package would
    return them undecoded.
    """
    # get_payload() would decode bytes that are not ASCII by the declared charset.
    payload = part._payload  # type: ignore[attr-defined]
    if not isinstance(payload, str):
        return b""
    encoding = str(part.get("Content-Transfer-Encoding", "")).strip().strip("\"'").lower()
    raw = payload.encode("utf-8", "surrogateescape")
    if encoding == "base64":
        appended = APPENDED.search(raw)
        end = appended.end() if appended else len(raw)
        decoded = decode_base64(raw[:end]) if _is_base64(raw[:end]) else raw[:end]
        return decoded + b"\n" + raw[end:] if appended else decoded
    if encoding == "quoted-printable":
        return binascii.a2b_qp(SOFT_BREAK.sub(b"=", raw))
    if encoding not in UUENCODED:
        return raw
    payload = part.get_payload(decode=True)
    return payload if isinstance(payload, bytes) else raw


def decode_base64(content: bytes) -> bytes:
    """Decode base64 in one or more pieces, with or without padding. Other bytes are ignored."""
    padding = content.find(b"=")
    is_one_piece = padding < 0 or not content[padding:].strip(b"=\r\n\t ")
    try:
        return binascii.a2b_base64(content) if is_one_piece else _decode_pieces(content)
    except binascii.Error:
        return _decode_pieces(content)


def _is_base64(content: bytes) -> bool:
    """Whether content may be base64. Some programs declare base64 without encoding."""
    others = len(content.translate(None, ALPHABET))
    return len(content) < SHORT_BYTES or others <= OTHER_SHARE * len(content)


def _decode_pieces(content: bytes) -> bytes:
    decoded = b""
    for piece in BASE64_PIECE.findall(content.translate(None, NOT_ALPHABET)):
        whole = piece[:-1] if len(piece) % 4 == 1 else piece
        decoded += binascii.a2b_base64(whole + b"=" * (-len(whole) % 4))
    return decoded


def decode_words(value: str) -> str:
    """Decode the encoded words in a header's raw value (with undecodable bytes as surrogates).

    Common violations of RFC 2047 are decoded, too: spaces in a word, words inside quotes or next to
    other text without a space, a character split between two words, and raw bytes beside words.
    """
    if "=?" not in value:
        return _plain(value)
    text: list[str] = []
    # The bytes of adjacent words in one charset are joined, because a character may be split.
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
    # In a header, "_" is a space, and a line break inside a word is not part of the text.
    return binascii.a2b_qp(re.sub(rb"\r?\n[ \t]*", b"", raw), header=True)


def _plain(value: str) -> str:
    return value if value.isascii() else decode(value.encode("utf-8", "surrogateescape"))


def unflow(text: str, *, delete_space: bool) -> str:
    """Format=flowed text (RFC 3676) with each paragraph on one line.

    Args:
        delete_space: Whether the space at a line's end is not part of the text (DelSp=yes).
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
