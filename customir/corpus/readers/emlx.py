"""Apple Mail's .emlx: the length of the message, the message, and a property list with flags."""

import plistlib
import re
from collections.abc import Iterator
from xml.parsers.expat import ExpatError

from customir.corpus.document import RawMail
from customir.corpus.readers import eml
from customir.corpus.readers.files import SourceFile
from customir.corpus.readers.unwanted import DELETED, DRAFT

LENGTH = re.compile(rb"\A\s*(\d{1,10})[ \t]*\r?\n")
# https://www.jwz.org/blog/2005/07/emlx-flags/
FLAG_DELETED, FLAG_DRAFT = 1 << 1, 1 << 6


def matches(head: bytes, name: str) -> bool:
    """Whether a file that begins with `head` is an .emlx."""
    found = LENGTH.match(head)
    return found is not None and (name.endswith(".emlx") or eml.matches(head[found.end() :], ""))


def read(file: SourceFile) -> Iterator[RawMail]:
    """The message by its stated length; all that follows if the length is too large."""
    content = file.read_all()
    found = LENGTH.match(content)
    begin, length = (found.end(), int(found[1])) if found else (0, len(content))
    end = begin + length
    yield RawMail(content[begin:end], file.name, unwanted=_cause(content[end:]))


def _cause(property_list: bytes) -> str:
    """Why the message is unwanted, by its flags; empty if it is not."""
    try:
        flags = plistlib.loads(property_list.strip()).get("flags", 0)
        deleted, draft = flags & FLAG_DELETED, flags & FLAG_DRAFT
    except (ValueError, ExpatError, AttributeError, TypeError, KeyError, IndexError):
        return ""
    if deleted:
        return f"{DELETED}: marked so in Apple Mail"
    return f"{DRAFT}: marked so in Apple Mail" if draft else ""
