"""Earlier messages that HTML marks are cut in a language that no table knows."""

import pytest

from customir.corpus.cleaning import clean
from customir.corpus.document import RawDocument
from customir.corpus.readers.html import html_to_text

HEADER = (
    "<b>Saatja:</b> Bob &lt;b@x&gt;<br><b>Saadetud:</b> 3.5.2021<br><b>Teema:</b> Veski<br><br>"
)
EARLIER = f"<div>{HEADER}Kas veski on valmis?</div>"


@pytest.mark.parametrize(
    "marked",
    [
        f'<hr style="width:98%"><div id="divRplyFwdMsg" dir="ltr">{EARLIER}</div>',
        f'<div id="appendonsend"></div><hr><div id="x_divRplyFwdMsg">{EARLIER}</div>',
        f'<div class="ms-outlook-mobile-reference-message skipProofing">{EARLIER}</div>',
        '<div><div style="border:none;border-top:solid #E1E1E1 1.0pt;padding:3.0pt 0cm">'
        f"{EARLIER}</div></div>",
        f'<span id="OLK_SRC_BODY_SECTION">{EARLIER}</span>',
        f'<div name="quote" style="margin:10px">{EARLIER}</div>',
        f'<div id="yahoo_quoted_42" class="yahoo_quoted">{EARLIER}</div>',
        f'<div class="gmail_quote"><blockquote class="gmail_quote">{EARLIER}</blockquote></div>',
    ],
)
def test_what_a_program_marks_is_cut(marked: str) -> None:
    text = html_to_text(f"<html><body><div>Jah, on.</div>{marked}</body></html>")
    mail = RawDocument("<1@x>", "Vs: Veski", "", None, text, ("<0@x>",), is_mail=True)
    assert clean(mail).text == "Jah, on."


def test_html_without_marks_is_left_as_it_is() -> None:
    text = html_to_text(
        "<div style='border-top:solid red 1pt'>One</div><div class='quote'>Two</div>"
    )
    assert text.split() == ["One", "Two"]
