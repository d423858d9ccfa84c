"""HTML as text: cells apart, hidden parts left out, quotes marked, nothing typed is lost."""

import time

import pytest

from customir.corpus.readers.files import ReadError
from customir.corpus.readers.html import MAXIMUM_HTML, html_to_text


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<p>The <b>mill</b> tur<i>ns</i>.</p><p>Now</p>", "The mill turns.\n\nNow"),
        ("<div>a</div><div>b</div>c<br>d<br><br>e", "a\nb\nc\nd\n\ne"),
        ("<div>a<div><div>b</div></div></div>", "a\nb"),
        ("<table><tr><td>Order</td><td>4711</td></tr><tr><th>Total</th><td>12.50</td></tr></table>", "Order 4711\nTotal 12.50"),
        ("<table><tr><td><table><tr><td>in</td></tr></table></td><td>out</td></tr></table>", "in\nout"),
        ("<ul><li>one</li><li>two <ol><li>three</ol></ul>", "- one\n- two\n\n- three"),
        ("<pre>  if x:\n      y()\n</pre>", "  if x:\n      y()"),
        ("A\n  good&nbsp;year. 2021. + plus - minus \\ back * star _x_", "A good year. 2021. + plus - minus \\ back * star _x_"),
        ("a &lt; b and c > d; 5 < 6 for x<y. <p>End", "a < b and c > d; 5 < 6 for x<y.\n\nEnd"),
        ("Hi<blockquote>one<br>two<blockquote>three</blockquote></blockquote>no", "Hi\n\n> one\n> two\n>\n> > three\n\nno"),
        ("<style>p{}</style><script>x()</script><title>T</title><p>shown", "shown"),
        ("<p>a<!-- <b>no</b> --><![if x]>b<![endif]>", "ab"),
        ("Gr&uuml;&szlig;e &#x1F642; &nosuch;", "Grüße 🙂 &nosuch;"),
        ("<a href='https://x.org/t?id=1'>the page</a> <img alt='logo' src=x>", "the page"),
        ("", ""), ("<p>", ""), ("no tags", "no tags"),
    ],
)  # fmt: skip
def test_what_is_shown(html: str, text: str) -> None:
    assert html_to_text(html).strip("\n") == text


@pytest.mark.parametrize(
    "style",
    [
        "display:none", "DISPLAY : none !important", "max-height:0;overflow:hidden",
        "color:red;visibility: hidden", "font-size:0px", "opacity:0", "mso-hide:all",
    ],
)  # fmt: skip
def test_what_is_hidden(style: str) -> None:
    assert (
        html_to_text(f'<div style="{style}">Preview<p>deep</p></div><p>Dear Ben').strip()
        == "Dear Ben"
    )


@pytest.mark.parametrize(
    "style", ["display:block", "max-height:0.5em", "font-size:0.9em", "opacity:0.8", "min-height:0"]
)
def test_what_only_looks_hidden(style: str) -> None:
    assert "Text" in html_to_text(f'<div style="{style}">Text</div>')


def test_fillers_without_width_are_left_out() -> None:
    filler = "&#847;&zwnj;&nbsp;&#8199;&shy;" * 40
    assert html_to_text(f"<p>Hi{filler}</p><p>Ben</p>").split() == ["Hi", "Ben"]
    # In Persian words and in emoji, such characters have a meaning.
    for text in ("می\u200cخواهم", "👩\u200d💻", "co\u00adop"):
        assert html_to_text(f"<p>{text}").strip() == text


@pytest.mark.parametrize(
    "begin",
    ['<div id="divRplyFwdMsg">', '<div name="quote">', '<div class="x yahoo_quoted">'],
)
def test_the_message_that_is_answered_is_set_apart(begin: str) -> None:
    text = html_to_text(f"<p>Yes.</p>{begin}<b>Lähettäjä:</b> Ben<br>Question?</div>")
    assert text.split("\n")[2:] == ["-----Original Message-----", "Lähettäjä: Ben", "Question?", ""]
    assert "Original" not in html_to_text(f"{begin}Only this</div>")


@pytest.mark.parametrize(
    "unit",
    [
        "<ul><li>",
        "<div>",
        "<blockquote>x",
        "<table><tr><td>",
        "<b>",
        "<p><a>",
        "<a x='",
        "<!--",
        "&#",
    ],
)
def test_no_depth_takes_long(unit: str) -> None:
    start = time.process_time()
    html_to_text("<p>The mill " + unit * 50_000)
    assert time.process_time() - start < 10


def test_too_much_is_named() -> None:
    with pytest.raises(ReadError, match="characters of HTML"):
        html_to_text("x" * (MAXIMUM_HTML + 1))


def test_text_of_no_size_is_hidden_and_elements_in_it_are_not() -> None:
    """MJML sets the size of every table cell to zero, and gives the text in it a size."""
    html = (
        '<td style="font-size:0px;padding:20px"><div style="font-size:0"><p>no'
        '<p style="font-size:2em">no<p style="font-size:13px">Yes</div></td>'
    )
    assert html_to_text(html).split() == ["Yes"]


@pytest.mark.parametrize(
    ("rules", "shown"),
    [
        (".pre { display: none !important }", False),
        ("p, div.pre.x , #id{visibility:hidden}", False),
        ("#id{max-height:0;overflow:hidden}", False),
        (".pre{display:none} .pre{display:block}", True),
        ("@media print { .pre{display:none} } .other{display:none}", True),
        (".pre{display:none} @media (max-width:600px) { .pre{display:block} }", False),
        (".pre:hover, body .pre, .pre > b {display:none}", True),
        ("@import url(x); .pre{color:red", True),
    ],
)
def test_what_style_sheets_hide(rules: str, shown: bool) -> None:
    html = f'<style>{rules}</style><div class="pre x" id="id">Preview</div><p>Dear Ben'
    assert ("Preview" in html_to_text(html)) == shown
    visible = html.replace('id="id"', 'id="id" style="display:block"')
    assert "Preview" in html_to_text(visible)


@pytest.mark.parametrize(
    "style", ["height:0;overflow:hidden", "overflow:hidden; width:0px", "left:-9999px", "opacity:0"]
)
def test_what_has_no_room_is_hidden(style: str) -> None:
    assert html_to_text(f'<div style="{style}">Preview</div><p>Dear Ben').strip() == "Dear Ben"


def test_lines_of_preformatted_text() -> None:
    html = '<div style="white-space: pre-wrap">&gt; a\n  b</div><p>c\nd'
    assert html_to_text(html) == "> a\n  b\n\nc d\n"
