"""What is cut from mail, and what must not be."""

import time
import unicodedata

import pytest

from customir.corpus.charsets import decode
from customir.corpus.cleaning import clean, clean_line, why_empty
from customir.corpus.document import RawDocument


def cleaned(text: str, title: str = "Re: Engines", references: tuple[str, ...] = ()) -> str:
    return clean(RawDocument("<1@x>", title, "ada@x", None, text, references, is_mail=True)).text


def test_an_interleaved_answer_keeps_every_answer_and_no_quote() -> None:
    text = (
        "Hello,\n\nOn Mon, Jan 5, 2025 at 10:58 AM,\nJohn Sparks <js@uic.edu> wrote:\n>\n"
        "> Which one is it?\nThe first.\n\n> And then?\n\nThe second.\n-- \nAda\nTel. 123\n"
    )
    assert cleaned(text) == "Hello,\n\nThe first.\n\nThe second."


@pytest.mark.parametrize(
    "separator",
    [
        "-----Original Message-----\nFrom: Bob\nSent: Monday\nTo: Ada\nSubject: Engines",
        " -----Original Message-----\nFrom: \tBob  \nSent:\tMonday, 10:27 AM\nTo:\tAda",
        "________________________________\nFrom: Bob <b@x>\nSent: Monday\nTo: Ada\nSubject: Engines",
        "-----Ursprüngliche Nachricht-----\nVon: Bob\nGesendet: Montag\nAn: Ada\nBetreff: Engines",
        "Bob Smith@ENRON\n12/04/2000 04:06 PM\nTo: Ada/HOU/ECT@ECT\ncc:  \nSubject: Engines",
        "On Mon, Jan 5, 2025 at 10:58 AM Bob <b@x> wrote:",
        "Le mercredi 16 avril 2025 ? 18:23:42 UTC+2, Bob <b at x> a ?crit :",
        "Am Montag, 5. Januar 2025 um 10:58 schrieb Bob <b@x>:",
    ],
)
def test_what_is_below_a_copied_header_is_cut(separator: str) -> None:
    text = f"The mill is ready.\n\n{separator}\n\nIs the mill ready?\nWhen is it?\n"
    assert "Is the mill" not in cleaned(text)
    assert cleaned(text).startswith("The mill is ready.")


def test_an_answer_below_a_marked_copy_is_kept() -> None:
    text = "----- Original Message -----\nFrom: Bob\nTo: Ada\n\n> Is it ready?\nIt is.\n"
    assert cleaned(text) == "It is."


def test_a_forward_keeps_the_forwarded_message_without_its_header() -> None:
    text = (
        "FYI\n\n---------------------- Forwarded by A B/HOU/ECT on 12/04/2000 04:37 \n"
        "PM ---------------------------\n\n\nElise C@ENRON\n12/04/2000 04:06 PM\n"
        "To: Ada/HOU/ECT@ECT\ncc:  \n\nSubject: Budget\n\nThe budget is due.\n\n"
        "-----Original Message-----\nFrom: Old\nSent: Sunday\n\nOlder text\n"
    )
    assert cleaned(text, title="FW: Budget") == "FYI\n\nThe budget is due."


def test_a_digest_keeps_all_its_messages() -> None:
    text = "".join(
        f"From: {name}\nSubject: Mills\nDate: Monday\n\n{name} has a mill.\n\n" for name in "ABC"
    )
    assert cleaned(text, title="Mills Digest, Vol 3, Issue 7").count("has a mill") == 3
    answered = cleaned(f"Fine.\n\n{text}", title="RE: Mills Digest, Vol 3", references=("<1@x>",))
    assert answered == "Fine."


def test_a_console_in_a_first_message_is_kept() -> None:
    text = "This fails:\n\n> library(snow)\nError in library(snow)\n"
    assert cleaned(text, title="snow") == text.strip()
    assert "library(snow)\nError" not in cleaned(text, title="Re: snow")


def test_quotes_with_bars_are_cut_and_tables_are_kept() -> None:
    quoted = "On 21 April 2009, Sean wrote:\n| It runs hot.\n| Why?\n\nBecause it is blocked.\n"
    assert cleaned(quoted) == "Because it is blocked."
    table = "Results:\n\n| run | s |\n| 1 | 2 |"
    assert cleaned(table) == table


@pytest.mark.parametrize(
    "footer",
    [
        "_______________________________________________\nR-sig mailing list\nhttps://stat/listinfo",
        "-------------------------------------------------------\nThis sf.net email is sponsored by: X",
        "------------------------ Yahoo! Groups Sponsor ---------------------~-->\nSell a Home\nhttp://x",
        "To unsubscribe from this group, send an email to:\na@b.c",
        "Sent from my iPhone",
        "Best regards,\n\nAda Lovelace\nAnalytical Engines Ltd.",
        "-- \nAda Lovelace\nTel. 123",
        "-- ada",
        "___________\nAda Lovelace <ada at x.org> Zoom: 839 529 4589",
        "Best,  Ada",
        "Thanks again, Ada Lovelace",
        "This e-mail and its attachments are confidential and intended only for the addressee.",
    ],
)
def test_footers_and_signatures_are_cut(footer: str) -> None:
    assert cleaned(f"The mill is ready.\n\n{footer}\n") == "The mill is ready."


def test_lists_and_polite_first_lines_are_not_signatures() -> None:
    for text in (
        "Thanks, I'll look.\n\n- first\n- second\n\nThen we write the third part of it.",
        "Results\n-------\nIt runs.\n-------\nAll of it is fast now.",
        "Use the flag:\n\n--all\n\nThanks, it works.",
    ):
        assert cleaned(text) == text


def test_pgp_armour_goes_and_the_signed_text_stays() -> None:
    text = (
        "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA1\n\nThe mill is ready.\n- --\n"
        "-----BEGIN PGP SIGNATURE-----\n\niQA/AwUBPW\n=abcd\n-----END PGP SIGNATURE-----\n"
    )
    assert cleaned(text).startswith("The mill is ready.")
    assert "PGP" not in cleaned(text)
    sealed = "-----BEGIN PGP MESSAGE-----\n\nhQEMA\n=abcd\n-----END PGP MESSAGE-----\n"
    document = RawDocument("<1@x>", "", "", None, sealed, is_mail=True)
    assert clean(document).text == ""
    assert why_empty(document) == "encrypted (PGP): no readable text"


def test_characters_are_made_plain() -> None:
    raw = "Cafe\u0301\x00 \x1b[1m\u00adco\u00f6p\u00a0x\ud800\r\nnext\rlast"
    text = clean(RawDocument("a.txt", "", "", None, raw)).text
    assert text == unicodedata.normalize("NFC", "Café [1mcoöp x\nnext\nlast")
    assert clean_line("  a\n\tb\x00 ", 3) == "a b"


def test_text_that_is_no_mail_is_not_cut() -> None:
    text = "> a quote\n\n--\nbelow\n\nFrom: me\nTo: you\nSubject: x"
    assert clean(RawDocument("a.md", "", "", None, text)).text == text


@pytest.mark.parametrize(
    ("content", "declared", "text"),
    [
        ("Grüße".encode(), "us-ascii", "Grüße"),
        ("Grüße".encode(), "iso-8859-1", "Grüße"),
        ("Grüße “x”".encode("cp1252"), "iso-8859-1", "Grüße “x”"),
        ("Grüße".encode("latin-1"), "utf-8", "Grüße"),
        ("Grüße".encode("latin-1"), "no-such-charset", "Grüße"),
        ("Grüße".encode("latin-1"), None, "Grüße"),
        ("日本語".encode("iso-2022-jp"), "ISO-2022-JP", "日本語"),
        ("日本語".encode("shift_jis"), "shift_jis", "日本語"),
        ("中文字".encode("gb18030"), "gb2312", "中文字"),
        ("Grüße".encode("utf-16"), None, "Grüße"),
        (b"\x81\x8d\xff", "utf-8", "\x81\x8dÿ"),
    ],
)
def test_charsets_that_lie(content: bytes, declared: str | None, text: str) -> None:
    assert decode(content, declared) == text


@pytest.mark.parametrize(
    "hostile",
    [
        "On " + "a b 1 " * 60_000 + "\n" * 3,
        "From: a\n" * 60_000,
        "-" * 300_000,
        "> " * 150_000,
        ("wrote:\n" + "> x\n") * 20_000,
        "-----Original Message-----\n" * 20_000,
        "\n" * 300_000,
        "regards " * 40_000,
        "this message " * 30_000,
    ],
    ids=["on", "from", "rule", "quotes", "wrote", "original", "blank", "regards", "this"],
)
def test_no_message_takes_long(hostile: str) -> None:
    start = time.process_time()
    cleaned(hostile)
    cleaned(hostile, title="FW: x")
    assert time.process_time() - start < 4
