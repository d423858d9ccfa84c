"""HTML in RTF: Outlook keeps the HTML of a message within RTF, from which it is taken here.

See [MS-OXRTFEX], https://learn.microsoft.com/openspecs/exchange_server_protocols/ms-oxrtfex.
"""

import re
from html import escape

MARK = re.compile(rb"\\fromhtml1?\b")
MARK_WITHIN = 1000
CODEPAGE = re.compile(rb"\\ansicpg(\d{3,5})")
TOKEN = re.compile(
    rb"\\'([0-9A-Fa-f]{2})|\\([a-z]{1,32})(-?\d{1,10})?[ ]?|\\([^a-z])|([{}])|[\r\n]+|([^\\{}\r\n]+)",
    re.IGNORECASE | re.DOTALL,
)
# The characters that stand for control words. All other control words format the RTF.
CHARACTERS = {
    b"par": "\n", b"line": "\n", b"tab": "\t", b"lquote": "‘", b"rquote": "’", b"ldblquote": "“",
    b"rdblquote": "”", b"bullet": "•", b"endash": "–", b"emdash": "—",
}  # fmt: skip
SYMBOLS = {b"~": "\u00a0", b"_": "\u00ad", b"-": "\u00ad"}
# Groups that are not part of the HTML: fonts, colours, and the like.
LEFT_OUT = frozenset((b"fonttbl", b"colortbl", b"stylesheet", b"info", b"pntext", b"generator"))


def is_html(content: bytes) -> bool:
    """Whether this RTF holds the HTML of a message."""
    return MARK.search(content[:MARK_WITHIN]) is not None


def html_of(content: bytes) -> str:
    """The HTML in RTF for which `is_html` holds.

    Groups of \\*\\htmltag are tags and are taken as they are. What is between \\htmlrtf and \\htmlrtf0
    is for programs that show RTF, and is left out. The rest is text.
    """
    page = CODEPAGE.search(content[:MARK_WITHIN])
    codec = f"cp{page[1].decode()}" if page else "cp1252"
    found: list[str] = []
    pending = bytearray()  # bytes of characters in the code page
    stack: list[tuple[bool, bool, bool]] = []
    is_off = is_tag = is_rtf = False  # left out, within a tag, between \htmlrtf and \htmlrtf0
    to_skip = 0  # characters after \u that stand for it in older programs

    def add(text: str) -> None:
        if pending:
            decoded = _decode(bytes(pending), codec)
            found.append(decoded if is_tag else escape(decoded, quote=False))
            pending.clear()
        found.append(text if is_tag else escape(text, quote=False))

    for token in TOKEN.finditer(content):
        byte, word, number, symbol, brace, text = token.groups()
        if brace == b"{":
            stack.append((is_off, is_tag, is_rtf))
        elif brace == b"}":
            add("")
            is_off, is_tag, is_rtf = stack.pop() if stack else (False, False, False)
        elif word == b"htmlrtf":
            add("")
            is_rtf = number != b"0"
        elif word == b"htmltag":
            add("")
            is_off, is_tag = False, True
        elif symbol == b"*" or word in LEFT_OUT:
            is_off = True
        elif is_off or is_rtf:
            continue
        elif byte:
            if to_skip:
                to_skip -= 1
            else:
                pending += bytes.fromhex(byte.decode())
        elif word == b"u" and number:
            add(chr(int(number) % 65536))
            to_skip = 1
        elif word in CHARACTERS:
            add(CHARACTERS[word])
        elif symbol:
            add(SYMBOLS.get(symbol, symbol.decode("latin-1") if symbol in b"\\{}" else ""))
        elif text:
            pending += text[to_skip:]
            to_skip = 0
    add("")
    return "".join(found).encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _decode(content: bytes, codec: str) -> str:
    try:
        return content.decode(codec, "replace")
    except LookupError:
        return content.decode("cp1252", "replace")
