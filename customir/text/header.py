"""The header above a passage's text."""


def with_header(text: str, title: str, header: str | None) -> str:
    """What is embedded of a passage: the header, if there is one, above the text.

    Args:
        header: None: the document's title.
    """
    shown = title if header is None else header
    return f"{shown}\n{text}" if shown else text
