"""Books in EPUB, with chapters in the order of the spine: one document per file."""

import posixpath
from collections.abc import Sequence
from io import BytesIO
from urllib.parse import unquote

from customir.corpus.document import RawDocument
from customir.corpus.readers.archives import FileTree, open_archive
from customir.corpus.readers.files import Content, ReadError
from customir.corpus.readers.html import decode_html, html_to_text
from customir.corpus.readers.xml import local_name, parse_xml

CONTAINER = "META-INF/container.xml"


def matches_names(names: Sequence[str]) -> bool:
    """Whether a zip file with files of these names is an EPUB."""
    return CONTAINER in names and any(name.endswith(".opf") for name in names)


def read_document(content: Content) -> RawDocument:
    """The text of all chapters, with title and author.

    Raises:
        ReadError: it is damaged, encrypted or has no text, or lxml is not installed.
    """
    with open_archive(BytesIO(content.data)) as tree:
        package = _package_of(tree)
        root = parse_xml(tree.read(package), "EPUB")
        files: dict[str, str] = {}
        spine: list[str] = []
        about: dict[str, str] = {}
        for element in root.iter():
            name = local_name(element)
            if name == "item":
                files[element.get("id", "")] = unquote(element.get("href", ""))
            elif name == "itemref":
                spine.append(element.get("idref", ""))
            elif name in ("title", "creator", "date"):
                about.setdefault(name, (element.text or "").strip())
        chapters = []
        for each in spine:
            path = posixpath.normpath(
                posixpath.join(posixpath.dirname(package), files.get(each, ""))
            )
            if path in tree.names:
                chapters.append(html_to_text(decode_html(tree.read(path))).strip())
    text = "\n\n".join(filter(None, chapters))
    if not text:
        raise ReadError("no text in the EPUB")
    return RawDocument(content.name, about.get("title", ""), about.get("creator", ""), None, text)


def _package_of(tree: FileTree) -> str:
    for element in parse_xml(tree.read(CONTAINER), "EPUB").iter():
        path = element.get("full-path") if local_name(element) == "rootfile" else None
        if path in tree.names:
            return str(path)
    raise ReadError("not readable as EPUB: its container names no package")
