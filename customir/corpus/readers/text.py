"""Plain text, Markdown, Org and reStructuredText: one document per file."""

import re
import tomllib
from pathlib import PurePosixPath
from typing import Any

from customir.corpus.charsets import BYTE_ORDER_MARKS, decode, is_utf16
from customir.corpus.document import RawDocument
from customir.corpus.readers.dates import iso_date
from customir.corpus.readers.files import Content

MARKDOWN, ORG, RST = (".md", ".markdown", ".mdx", ".qmd", ".rmd"), (".org",), (".rst", ".rest")
SUFFIXES = (".txt", ".text", ".asc", ".adoc", ".asciidoc", ".tex", *MARKDOWN, *ORG, *RST)
HEADING = re.compile(r"\s*#\s+(.+)")
ORG_TITLE = re.compile(
    r"^#\+TITLE:[ \t]*(\S.*)$|\A\s*\*+[ \t]+(\S.*)$", re.IGNORECASE | re.MULTILINE
)
RST_TITLE = re.compile(
    r"\A\s*(?:([=\-~#*^\"'`:.+_])\1{2,}\n)?[ \t]*(\S.*)\n([=\-~#*^\"'`:.+_])\3{2,}[ \t]*\n"
)
FRONT_MATTER = re.compile(r"\A(---|\+\+\+)[ \t]*\n(.*?)\n(?:\1|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL)
MAXIMUM_FRONT_MATTER = 1 << 16
# A file without a suffix is prose if at least this share of its characters are letters, blanks and
# punctuation, and it has at least this many words.
PROSE_SHARE, LEAST_WORDS = 0.8, 3
WORD = re.compile(r"[^\W\d_]{2,}")


def matches(head: bytes, name: str) -> bool:
    """Whether a file called `name` that begins with `head` is a text file."""
    if not head:
        return False
    if not name.endswith(SUFFIXES):
        return "." not in PurePosixPath(name).name and _is_prose(head)
    marked = head.startswith(tuple(mark for mark, _ in BYTE_ORDER_MARKS)) or is_utf16(head)
    # A stray NUL is removed later. Many mean that the file is binary.
    return bool(marked) or head.count(b"\0") * 100 <= len(head)


def read_document(content: Content) -> RawDocument:
    """The text, with its title from the front matter or from the heading at the top."""
    name = content.name.lower()
    for suffix in (".gz", ".bz2", ".xz"):
        name = name.removesuffix(suffix)
    text = decode(content.data, content.charset)
    about: dict[str, str] = {}
    if name.endswith((*MARKDOWN, ".txt", *RST)):
        about, text = _front_matter(text)
    title = about.get("title") or _heading(text, name)
    return RawDocument(
        content.name, title, about.get("author", ""), iso_date(about.get("date", "")), text
    )


def _heading(text: str, name: str) -> str:
    start = text[:2000].replace("\r\n", "\n")
    if name.endswith(MARKDOWN) and (found := HEADING.match(start)):
        return found[1].strip().rstrip("#").strip()
    if name.endswith(ORG) and (found := ORG_TITLE.search(start)):
        return str(found[1] or found[2]).strip()
    if name.endswith(RST) and (found := RST_TITLE.match(start)):
        return found[2].strip()
    return ""


def _front_matter(text: str) -> tuple[dict[str, str], str]:
    """(title, author and date; the text below the remaining fields of the front matter)"""
    found = FRONT_MATTER.match(text[:MAXIMUM_FRONT_MATTER].replace("\r\n", "\n"))
    if not found:
        return {}, text
    values = _values(found[1], found[2])
    if not values:
        return {}, text
    body = text.replace("\r\n", "\n")[found.end() :]
    about: dict[str, str] = {}
    others: list[str] = []
    for key, value in values.items():
        shown = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        if str(key).lower() in ("title", "author", "date"):
            about[str(key).lower()] = shown
        elif isinstance(value, str | int | float | list) and shown:
            others.append(f"{key}: {shown}")
    return about, "\n".join([*others, "", body] if others else [body])


def _values(fence: str, source: str) -> dict[Any, Any]:
    """The values of front matter in YAML or TOML; none if it is neither."""
    try:
        if fence == "+++":
            return tomllib.loads(source)
        import yaml

        if "&" in source and "*" in source:  # aliases can grow without end
            return {}
        values = yaml.safe_load(source)
    except ImportError:
        return {}
    except Exception:  # text between two rules is not front matter
        return {}
    return values if isinstance(values, dict) else {}


def _is_prose(head: bytes) -> bool:
    """Whether a file without a suffix contains prose."""
    if b"\0" in head and not is_utf16(head):
        return False
    text = decode(head[:4000])
    fitting = sum(each.isalpha() or each in " \n\t\r.,;:!?'\"-()" for each in text)
    return fitting >= PROSE_SHARE * len(text) and len(WORD.findall(text)) >= LEAST_WORDS
