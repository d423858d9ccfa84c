"""Parses the XML of documents with lxml, without resolving entities or fetching anything."""

from typing import Any

from customir.corpus.readers.files import NOT_INSTALLED, ReadError


def parse_xml(content: bytes, what: str) -> Any:
    """The root element.

    Args:
        what: The format, for the error.

    Raises:
        ReadError: it is not XML, or lxml is not installed.
    """
    try:
        from lxml import etree
    except ImportError as error:
        raise ReadError(NOT_INSTALLED.format(what)) from error
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
    try:
        return etree.fromstring(content, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise ReadError(f"not readable as {what}: {error}") from error


def local_name(element: Any) -> str:
    """The tag of an element without its namespace; empty for comments and the like."""
    tag = element.tag
    return tag.rpartition("}")[2] if isinstance(tag, str) else ""
