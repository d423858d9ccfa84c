"""Links without wrapping and tracking; every other link as it is."""

import pytest

from customir.corpus.cleaning import clean
from customir.corpus.document import RawDocument
from customir.corpus.links import plain_link, plain_links

PAGE = "https://stat.example.org/mailman/listinfo/r-help"


@pytest.mark.parametrize(
    ("link", "plain"),
    [
        (
            "https://nam02.safelinks.protection.outlook.com/?url=https%3A%2F%2Fstat.example.org"
            "%2Fmailman%2Flistinfo%2Fr-help&data=05%7C01%7Cada%40x.org&sdata=abc%3D&reserved=0",
            PAGE,
        ),
        (
            "https://urldefense.proofpoint.com/v2/url?u=https-3A__stat.example.org_mailman_"
            "listinfo_r-2Dhelp&d=DwICAg&c=imBPVzF25OnBgGmVOlcsiEgHoG1i6YHLR0Sj_gZ4adc&e=",
            PAGE,
        ),
        (f"https://urldefense.com/v3/__{PAGE}__;!!F9wkZZsI!Bz$", PAGE),
        (f"{PAGE}?utm_source=news&utm_medium=email&page=2", f"{PAGE}?page=2"),
        (f"{PAGE}?fbclid=IwAR0abc", PAGE),
        ("https://click.example.org/u/?qs=8a3f" + "0123456789abcdef" * 4, "https://click.example.org/u/?qs"),
        (f"{PAGE}?id=7#top", f"{PAGE}?id=7#top"),
        ("https://example.org/a-very-long-title-of-a-post-that-says-what-it-is-about-in-words", None),
        ("http://[broken", None),
        ("https://nam02.safelinks.protection.outlook.com/?url=javascript", None),
    ],
)  # fmt: skip
def test_one_link(link: str, plain: str | None) -> None:
    assert plain_link(link) == (link if plain is None else plain)


def test_in_mail_alone_and_only_what_gets_shorter() -> None:
    tracked = f"{PAGE}?utm_source=a&utm_campaign=b"
    text = f"See <{tracked}>, and {PAGE}."
    assert plain_links(text) == (
        f"See <{PAGE}>, and {PAGE}.",
        [(tracked, len(tracked) - len(PAGE))],
    )
    assert clean(RawDocument("<1@x>", "", "", None, text, is_mail=True)).text.count(PAGE) == 2
    assert clean(RawDocument("a.txt", "", "", None, text)).text == text
