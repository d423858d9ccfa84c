"""winmail.dat (TNEF), in which Outlook and Exchange pack a message, read with tnefparse."""

import logging
import struct
from dataclasses import dataclass

from customir.corpus.charsets import decode
from customir.corpus.readers import rtf
from customir.corpus.readers.files import reading
from customir.corpus.readers.html import decode_html, html_to_text

MAGIC = b"\x78\x9f\x3e\x22"
# The header is a signature and a key. Attributes follow.
# See https://learn.microsoft.com/openspecs/MS-OXTNEF
HEADER_BYTES = 6
CODEPAGE, CODEPAGE_TYPE, CODEPAGE_WITHIN = 0x9007, 0x0006, 200
KINDS = frozenset(("application/ms-tnef", "application/vnd.ms-tnef"))


@dataclass(frozen=True)
class Package:
    """The content of a winmail.dat: the text of the message, and (name, content) of its files."""

    text: str
    files: tuple[tuple[str, bytes], ...]


def is_kind(kind: str) -> bool:
    """Whether a MIME type is that of TNEF."""
    return kind in KINDS


def matches(head: bytes) -> bool:
    """Whether a file that begins with `head` is TNEF."""
    return head.startswith(MAGIC)


def read(content: bytes) -> Package:
    """The text and the files.

    Raises:
        ReadError: it is damaged, or tnefparse is not installed.
    """
    logging.getLogger("tnef-decode").setLevel(logging.CRITICAL)
    with reading("winmail.dat (TNEF)"):
        from tnefparse import TNEF

        package = TNEF(_with_codepage(content), do_checksum=False)
        text = _text(package.body, package.htmlbody, package.rtfbody)
        files = tuple(
            (_name(each.long_filename() or each.name), each.data) for each in package.attachments
        )
    return Package(text, files)


def _with_codepage(content: bytes) -> bytes:
    """The content with a code page, which tnefparse requires; Windows-1252 if there is none."""
    if struct.pack("<HH", CODEPAGE, CODEPAGE_TYPE) in content[:CODEPAGE_WITHIN]:
        return content
    attribute = struct.pack("<BHHIIIH", 1, CODEPAGE, CODEPAGE_TYPE, 8, 1252, 0, 0)
    return content[:HEADER_BYTES] + attribute + content[HEADER_BYTES:]


def _text(plain: bytes | str | None, html: bytes | str | None, rich: bytes | None) -> str:
    text = decode(plain) if isinstance(plain, bytes) else plain or ""
    if text.strip("\0\r\n\t "):
        return text.strip("\0")
    if html:
        return html_to_text(decode_html(html) if isinstance(html, bytes) else html)
    return rtf.as_text(rich) if rich else ""


def _name(name: bytes | str | None) -> str:
    shown = decode(name) if isinstance(name, bytes) else name or ""
    return " ".join(shown.strip("\0").split()) or "file"
