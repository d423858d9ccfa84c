"""Converts HTML to the visible text, in order, with the Lexbor parser and rules of our own.

bench/experiments/html_converters.py compares it with html2text, inscriptis, resiliparse and BeautifulSoup.
"""

import re
from collections.abc import Iterator
from html import unescape

from selectolax.lexbor import LexborHTMLParser, LexborNode

from customir.corpus.charsets import decode
from customir.corpus.readers.files import ReadError

# A mail with more characters of HTML is a report or an attack.
MAXIMUM_HTML = 8_000_000
# If HTML is nested deeper than this, its tags are removed without interpreting them.
MAXIMUM_DEPTH = 3000
NESTING_TAG = re.compile(
    r"<(/?)(?:ul|ol|li|dl|dd|blockquote|div|center|section|form)\b", re.IGNORECASE
)
ANY_TAG = re.compile(r"<[^<>]*>")
UNSEEN_ELEMENT = re.compile(r"<(script|style|head)\b.*?</\1\s*>", re.IGNORECASE | re.DOTALL)
CHARSET = re.compile(
    rb"<(?:meta|\?xml)\b[^<>]{0,200}?(?:charset|encoding)\s*=\s*[\"']?([\w-]+)", re.I
)
CHARSET_BYTES = 4096
UNSEEN = frozenset(
    (
        "head", "script", "style", "title", "template", "noscript", "iframe", "object", "select",
        "textarea", "svg", "canvas", "audio", "video", "datalist", "noframes", "noembed", "rp",
    )
)  # fmt: skip
BLOCKS = frozenset(
    (
        "address", "article", "aside", "body", "center", "dd", "details", "dialog", "div", "dl",
        "dt", "fieldset", "figcaption", "figure", "footer", "form", "header", "hr", "html", "legend",
        "li", "main", "nav", "section", "summary", "table", "caption", "tbody", "thead", "tfoot", "tr",
    )
)  # fmt: skip
PARAGRAPHS = frozenset(
    ("p", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "menu", "pre", "blockquote", "dir", "listing")
)  # fmt: skip
CELLS = frozenset(("td", "th"))
VERBATIM = frozenset(("pre", "listing", "xmp"))
QUOTE = "blockquote"
MAXIMUM_QUOTES = 20
# Mail programs do not show these: preheaders, and content for other programs.
ZERO = r"\s*:\s*0(?:\.0+)?(?:px|pt|r?em|%)?\s*(?:!important\s*)?(?:;|$)"
HIDDEN = re.compile(
    r"display\s*:\s*none|visibility\s*:\s*(?:hidden|collapse)|mso-hide\s*:\s*all"
    rf"|(?:^|[;\s])(?:max-height|opacity){ZERO}"
    rf"|(?=.*overflow\s*:\s*hidden)(?:^|.*[;\s])(?:height|width|max-width){ZERO}"
    r"|(?:^|[;\s])(?:left|top|text-indent)\s*:\s*-\d{4,}px",
    re.IGNORECASE | re.DOTALL,
)
# Text of size 0 is hidden, but elements in it may have another size: MJML builds every mail so.
FONT_SIZE = re.compile(r"(?:^|[;\s])font-size\s*:\s*([^;]+)", re.IGNORECASE)
NO_SIZE = re.compile(r"0(?:\.0+)?(?:px|pt|r?em|%)?\s*(?:!important)?\s*$", re.IGNORECASE)
# A size in these units is a share of the outer one.
RELATIVE = re.compile(r"[\d.]+\s*(?:em|%)", re.IGNORECASE)
KEEPS_LINES = re.compile(r"white-space\s*:\s*pre", re.IGNORECASE)
# Rules of style sheets: the selectors that hide something. Rules for other media are not read.
STYLE_SHEET = re.compile(r"<style\b[^>]*>(.*?)</style", re.IGNORECASE | re.DOTALL)
AT_RULE = re.compile(r"@[^{};]*(?:;|\{(?:[^{}]|\{[^{}]*\})*\})")
RULE = re.compile(r"([^{}]+)\{([^{}]*)\}")
SELECTOR = re.compile(r"[\w-]*(?:[.#][\w-]+)+")
DISPLAY = re.compile(r"display\s*:\s*(?!none)\w", re.IGNORECASE)
MAXIMUM_RULES, MAXIMUM_SELECTORS = 5000, 100
BLANKS = re.compile("[ \t\n\r\f\u00a0]+")
# "x<y." is not a tag, although the parser would treat it and the following text as one.
UNCLOSED_TAG = re.compile(r"<(?=[^<>]*(?:<|\Z))")
# The (attribute, value) pairs with which mail programs mark the answered message, in any language.
EARLIER_MESSAGE = (
    ("id", "divRplyFwdMsg"), ("id", "OLK_SRC_BODY_SECTION"), ("name", "quote"),
    ("class", "yahoo_quoted"), ("class", "moz-forward-container"), ("id", "appendonsend"),
    ("id", "x_divRplyFwdMsg"), ("class", "ms-outlook-mobile-reference-message"),
    ("id", "mail-editor-reference-message-container"), ("class", "zmail_extra"),
)  # fmt: skip
# Desktop Outlook draws a rule in this colour only above a copied header.
OUTLOOK_RULE = re.compile(r"border-top:\s*solid\s*#(?:E1E1E1|B5C4DF)", re.IGNORECASE)
SEPARATOR = "-----Original Message-----"
# Runs of zero-width characters, which fill the preview of a message. Single ones have a meaning in
# emoji and in words of some scripts.
FILLERS = re.compile(
    "(?:[\u034f\u200b-\u200f\u2060\ufeff\u00ad\u061c][\\s\u00a0\u2007\u2800]*){3,}"
)
TRAILING = re.compile(r"[ \t]+$", re.MULTILINE)
MANY_LINES = re.compile(r"\n{3,}")


def decode_html(content: bytes, declared: str | None = None) -> str:
    """Decode HTML by the declared charset or, if there is none, by the one in its <meta> tag."""
    if declared is None and (found := CHARSET.search(content[:CHARSET_BYTES])):
        declared = found[1].decode("ascii", "replace")
    return decode(content, declared)


def html_to_text(html: str) -> str:
    """The visible text of HTML, without links and pictures. Blockquotes become "> " lines.

    Each table row is a line, with spaces between its cells. List items begin with "- ".

    Raises:
        ReadError: it has more than 8 million characters.
    """
    if len(html) > MAXIMUM_HTML:
        raise ReadError(f"{len(html):,} characters of HTML; at most {MAXIMUM_HTML:,} are read")
    html = UNCLOSED_TAG.sub("&lt;", _without_comments(html.replace("\0", "")))
    if _is_nested_too_deep(html):
        return unescape(ANY_TAG.sub(" ", UNSEEN_ELEMENT.sub(" ", html)))
    tree = LexborHTMLParser(html)
    if tree.root is None:
        return ""
    text = _Text(KEEPS_LINES.search(html) is not None)
    # The walk is not recursive, because nesting has no limit.
    for node, is_end in _walk(tree.root, _hidden_by_style_sheet(html, tree)):
        if is_end:
            text.end(node)
        else:
            text.begin(node)
    return text.finish()


def _hidden_by_style_sheet(html: str, tree: LexborHTMLParser) -> frozenset[int]:
    """The nodes that a rule for a class or an id hides, unless a later rule shows them again."""
    selectors: dict[str, None] = {}
    for sheet in STYLE_SHEET.findall(html) if "<style" in html.lower() else ():
        rules = RULE.findall(AT_RULE.sub(" ", sheet))
        for names, declarations in rules[:MAXIMUM_RULES]:
            hides, shows = HIDDEN.search(declarations), DISPLAY.search(declarations)
            for name in map(str.strip, names.split(",") if hides or shows else ()):
                if hides and SELECTOR.fullmatch(name):
                    selectors[name] = None
                elif shows:
                    selectors.pop(name, None)
    return frozenset(
        node.mem_id for name in list(selectors)[:MAXIMUM_SELECTORS] for node in tree.css(name)
    )


def _without_comments(html: str) -> str:
    kept: list[str] = []
    at = 0
    while (begin := html.find("<!--", at)) >= 0:
        end = html.find("-->", begin + 4)
        if end < 0:
            break
        kept.append(html[at:begin])
        at = end + 3
    return "".join([*kept, html[at:]])


def _is_nested_too_deep(html: str) -> bool:
    """Whether so many elements are open at once that the parser hangs: it is quadratic in that."""
    if html.count("<") < MAXIMUM_DEPTH:
        return False
    depth = deepest = 0
    for tag in NESTING_TAG.finditer(html):
        depth = max(depth - 1, 0) if tag[1] else depth + 1
        deepest = max(deepest, depth)
    return deepest > MAXIMUM_DEPTH


def _walk(root: LexborNode, hidden: frozenset[int]) -> Iterator[tuple[LexborNode, bool]]:
    """Every visible node at its beginning, and every element again at its end.

    Args:
        hidden: The nodes that style sheets hide.
    """
    stack: list[tuple[LexborNode, bool, bool]] = [(root, False, False)]
    while stack:
        node, is_end, has_no_size = stack.pop()
        tag = node.tag
        if is_end:
            yield node, True
            continue
        if following := node.next:
            stack.append((following, False, has_no_size))
        if tag == "-text":
            if not has_no_size:
                yield node, False
        elif tag and not tag.startswith(("-", "!")) and tag not in UNSEEN:
            style = _style(node)
            if style is None or (
                node.mem_id in hidden if hidden and not DISPLAY.search(style) else False
            ):
                continue
            if style and (size := FONT_SIZE.search(style)):
                is_share = RELATIVE.match(size[1]) is not None
                has_no_size = bool(NO_SIZE.match(size[1])) or (has_no_size and is_share)
            yield node, False
            stack.append((node, True, False))
            if child := node.child:
                stack.append((child, False, has_no_size))


def _style(node: LexborNode) -> str | None:
    """The style attribute of an element, perhaps empty; None if the element is hidden."""
    attributes = node.attributes
    if not attributes:
        return ""
    style = attributes.get("style") or ""
    return None if "hidden" in attributes or HIDDEN.search(style) else style


def _begins_earlier_message(node: LexborNode) -> bool:
    attributes = node.attributes
    if OUTLOOK_RULE.search(attributes.get("style") or ""):
        return True
    return any(value in (attributes.get(name) or "").split() for name, value in EARLIER_MESSAGE)


class _Text:
    """The text so far, and the state of open elements."""

    def __init__(self, styles_keep_lines: bool) -> None:
        self._styles_keep_lines = styles_keep_lines
        self._done: list[str] = []
        self._line: list[str] = []
        self._newlines = 2  # at the beginning, none are needed
        self._wanted = 0  # line ends before the next line
        self._depth = 0  # how deep the last line was quoted
        self._is_blank = True  # whether the line ends with a blank, or is empty
        self._quotes = self._verbatim = 0

    def begin(self, node: LexborNode) -> None:
        tag = node.tag
        if tag == "-text":
            self._add(node.text_content or "")
            return
        if tag == "br":
            self._break(0)
        elif tag in CELLS:
            self._blank()
        elif tag in PARAGRAPHS:
            self._break(2)
            self._quotes += tag == QUOTE
        elif tag in BLOCKS:
            self._break(1)
            if tag == "li":
                self._add("- ")
        if tag in ("div", "span") and self._done and _begins_earlier_message(node):
            self._break(1)
            self._add(SEPARATOR)
            self._break(1)
        self._verbatim += self._is_verbatim(node)

    def end(self, node: LexborNode) -> None:
        tag = node.tag
        if tag in PARAGRAPHS or tag in BLOCKS:
            self._break(1)
        elif tag in CELLS:
            self._blank()
        self._verbatim -= self._is_verbatim(node)
        if tag in PARAGRAPHS:
            self._quotes -= tag == QUOTE
            self._break(2)

    def finish(self) -> str:
        self._break(1)
        text = FILLERS.sub(" ", "".join(self._done))
        return MANY_LINES.sub("\n\n", TRAILING.sub("", text)).strip("\n") + "\n"

    def _is_verbatim(self, node: LexborNode) -> bool:
        """Whether line ends in the text of an element are shown."""
        if node.tag in VERBATIM or not self._styles_keep_lines:
            return node.tag in VERBATIM
        return KEEPS_LINES.search(node.attributes.get("style") or "") is not None

    def _add(self, text: str) -> None:
        if self._verbatim:
            first, *others = text.split("\n")
            self._append(first)
            for line in others:
                self._break(0)
                self._append(line)
            return
        text = BLANKS.sub(" ", text)
        self._append(text[1:] if self._is_blank and text.startswith(" ") else text)

    def _append(self, text: str) -> None:
        if text:
            self._line.append(text)
            self._is_blank = text.endswith(" ") and not self._verbatim

    def _blank(self) -> None:
        if not self._is_blank:
            self._append(" ")

    def _break(self, newlines: int) -> None:
        """End the current line, and ensure at least this many line ends; 0 adds one more."""
        line = "".join(self._line)
        self._line.clear()
        self._is_blank = True
        depth = min(self._quotes, MAXIMUM_QUOTES)
        if line.strip():
            # A blank line between a quote and the text outside belongs to the outside.
            while self._newlines < self._wanted:
                self._end_line(min(depth, self._depth), "")
            self._end_line(depth, line)
            self._newlines, self._wanted, self._depth = 1, 0, depth
        elif not newlines:
            self._end_line(depth, "")
        self._wanted = max(self._wanted, newlines)

    def _end_line(self, depth: int, line: str) -> None:
        self._done.append(f"{'> ' * depth}{line}\n")
        self._newlines += 1
