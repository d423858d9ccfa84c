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
    ("text", "left"),
    [
        ("Bob's [b@x.org] 22 lines of wisdom included:\n> Who oils it?\nThe plumber.", "The plumber."),
        ("Byron> Who oils it,\nByron> and when?\n\nThe plumber.", "The plumber."),
        ("On 2 May 2025 Bob wrote:\n\n=>Who oils it,\n=>\n=> and when?\nThe plumber.", "The plumber."),
        ("On 2 May 2025 Bob wrote:\n--]Who oils it?\nThe plumber.", "The plumber."),
        ("bob lovelace wrote:\n> Who oils it?\nThe plumber.", "The plumber."),
        ("The plumber.\n=> first\n=> second", "The plumber.\n=> first\n=> second"),
        ("Router> show the pumps\ntwo pumps", "Router> show the pumps\ntwo pumps"),
    ],
)  # fmt: skip
def test_rare_attributions_and_marks_are_cut(text: str, left: str) -> None:
    assert cleaned(text) == left


def test_the_ends_of_quoted_lines_that_were_wrapped_anew_are_cut() -> None:
    text = (
        "Bob <b@x> wrote:\n> For an alternative, and rather more factually based, rundown on\n"
        "Byron's\n> career, including the belief that all engines of the mill should\n"
        "be stopped\n> at once: who oils the pump that stands in the second hall?\n"
        "The plumber.\n> And when?\nMondays.\n"
    )
    assert cleaned(text) == "The plumber.\n\nMondays."


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
        f"From: {name}\nSubject: Mills\nDate: 5 Jan 2025\n\n{name} has a mill.\n\n"
        for name in "ABC"
    )
    assert cleaned(text, title="Mills Digest, Vol 3, Issue 7").count("has a mill") == 3
    answered = cleaned(f"Fine.\n\n{text}", title="RE: Mills Digest, Vol 3", references=("<1@x>",))
    assert answered == "Fine."


def test_a_console_in_a_first_message_is_kept() -> None:
    text = "This fails:\n\n> library(snow)\nError in library(snow)\n"
    assert cleaned(text, title="snow") == text.strip()
    assert cleaned(text, title="Re: snow") == text.strip()
    assert cleaned("> library(snow)\n\nIt fails.") == "It fails."


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
    ("attribution", "labels"),
    [
        ("On Tue, Jan 7, 2025 at 4:05 PM {} wrote:", "From Sent To Subject"),
        ("Am Di., 7. Jan. 2025 um 16:05 Uhr schrieb {}:", "Von Gesendet An Betreff"),
        ("Le mar. 7 janv. 2025 à 16:05, {} a écrit :", "De_ Envoyé_ À_ Objet_"),
        ("El mar, 7 ene 2025 a las 16:05, {} escribió:", "De Enviado_el Para Asunto"),
        ("Em ter., 7 de jan. de 2025 às 16:05, {} escreveu:", "De Enviada_em Para Assunto"),
        ("Il giorno mar 7 gen 2025 alle ore 16:05 {} ha scritto:", "Da Inviato A Oggetto"),
        ("Op di 7 jan 2025 om 16:05 schreef {}:", "Van Verzonden Aan Onderwerp"),
        ("Den tirs. 7. jan. 2025 kl. 16.05 skrev {}:", "Fra Sendt Til Emne"),
        ("tir. 7. jan. 2025 kl. 16:05 skrev {}:", "Fra Dato Til Emne"),
        ("Den tis 7 jan. 2025 kl 16:05 skrev {}:", "Från Skickat Till Ämne"),
        ("ti 7. tammik. 2025 klo 16.05 {} kirjoitti:", "Lähettäjä Lähetetty Vastaanottaja Aihe"),
        ("wt., 7 sty 2025 o 16:05 {} napisał(a):", "Od Wysłano Do Temat"),
        ("út 7. 1. 2025 v 16:05 odesílatel {} napsal:", "Od Odesláno Komu Předmět"),
        ("{} ezt írta (időpont: 2025. jan. 7., K, 16:05):", "Feladó Elküldve Címzett Tárgy"),
        ("În mar., 7 ian. 2025 la 16:05, {} a scris:", "De_la Trimis Către Subiect"),
        ("Στις Τρί 7 Ιαν 2025 στις 4:05 μ.μ., ο χρήστης {} έγραψε:", "Από Στάλθηκε Προς Θέμα"),
        ("вт, 7 янв. 2025 г. в 16:05, {}:", "От Отправлено Кому Тема"),
        ("вт, 7 січ. 2025 р. о 16:05 {} пише:", "Від Надіслано Кому Тема"),
        ("{}, 7 Oca 2025 Sal, 16:05 tarihinde şunu yazdı:", "Kimden Gönderildi Kime Konu"),
        ("\u202bבתאריך יום ג׳, 7 בינו׳ 2025 ב-16:05 מאת {}:\u202c", "מאת נשלח אל נושא"),
        (
            "في الثلاثاء، 7 يناير 2025 في 4:05 م تمت كتابة ما يلي بواسطة {}:",
            "من التاريخ إلى الموضوع",
        ),
        ("2025年1月7日(火) 16:05 {}:", "差出人 送信日時 宛先 件名"),
        ("2025년 1월 7일 (화) 오후 4:05, {}님이 작성:", "보낸_사람 보낸_날짜 받는_사람 제목"),
        ("{} 于2025年1月7日周二 16:05写道：", "发件人 发送时间 收件人 主题"),
        ("{} 於 2025年1月7日 週二 下午4:05寫道：", "寄件者 寄件日期 收件者 主旨"),
        ("Vào Th 3, 7 thg 1, 2025 vào lúc 16:05 {} đã viết:", "Từ Đã_gửi Đến Chủ_đề"),
    ],
)
def test_in_every_language_the_unmarked_message_below_is_cut(attribution: str, labels: str) -> None:
    earlier = "Is the mill ready?\nWhen is it?\n"
    line = attribution.format("Bob Smith <bob@example.org>")
    assert cleaned(f"The mill is ready.\n\n{line}\n\n{earlier}") == "The mill is ready."
    begin, end = line.split("Smith")
    assert cleaned(f"It is.\n\n{begin}Smith\n{end.strip()}\n\n{earlier}") == "It is."
    author, date, to, subject = (label.replace("_", " ") for label in labels.split())
    values = ((author, "Bob"), (date, "7. 1. 2025 16:05"), (to, "Ada"), (subject, "Mill"))
    for colon in (": ", "：", ":\u00a0"):
        header = "\n".join(f"{label}{colon}{value}" for label, value in values)
        assert cleaned(f"The mill is ready.\n\n{header}\n\n{earlier}") == "The mill is ready."
        ruled = f"The mill is ready.\n\n________________\n{header}\n\nWhen?"
        assert cleaned(ruled) == "The mill is ready."


@pytest.mark.parametrize(
    "separator",
    [
        "-------- Original Message --------", "-----Ursprüngliche Nachricht-----",
        "-------- Message d'origine --------", "-----Mensaje original-----",
        "-----Mensagem original-----", "-----Messaggio originale-----",
        "-----Oorspronkelijk bericht-----", "-----Oprindelig meddelelse-----",
        "-----Opprinnelig melding-----", "-----Ursprungligt meddelande-----",
        "-----Alkuperäinen viesti-----", "-----Oryginalna wiadomość-----",
        "-----Původní zpráva-----", "-----Eredeti üzenet-----", "-----Mesaj original-----",
        "-----Αρχικό μήνυμα-----", "-----Исходное сообщение-----",
        "-----Оригінальне повідомлення-----", "-----Özgün İleti-----", "-----הודעה מקורית-----",
        "-----الرسالة الأصلية-----", "-----元のメッセージ-----", "-----원본 메시지-----",
        "------------------ 原始邮件 ------------------", "-----原始郵件-----",
    ],
)  # fmt: skip
def test_what_is_below_an_original_message_line_is_cut(separator: str) -> None:
    assert cleaned(f"It is.\n\n{separator}\n\nIs the mill ready?") == "It is."


def test_a_header_may_begin_with_the_date_and_have_blank_lines_between_its_fields() -> None:
    header = "**Gesendet:** 3.5.2021 um 9:12 Uhr\n\n**Von:** Bob <b@x>\n\n**Betreff:** Key"
    assert cleaned(f"It is.\n\n{header}\n\nIs it ready?") == "It is."
    line = "From: Bob <b@x> Sent: Monday, May 3, 2021 9:12 AM To: Ada <a@x> Subject: Key"
    assert cleaned(f"It is.\n\n{line}\n\nIs it ready?") == "It is."


def test_answers_between_lines_marked_with_bars_are_kept() -> None:
    text = (
        "Hi Paul,\n\nOn 23 March 2009 at 12:03, Paul Smith wrote:\n\n"
        "| Which version?\n\nThe second.\n\n| Why?\n\nIt is new.\n"
    )
    assert cleaned(text) == "Hi Paul,\n\nThe second.\n\nIt is new."


def test_what_an_author_typed_is_no_copy_of_a_message() -> None:
    for text in (
        "I send them this:\n\nFrom: me@x.org\nTo: you@x.org\nSubject: test\n\nand nothing comes.",
        "The trip:\n\nFrom: Berlin\nTo: Hamburg\nDate: 3 May 2021\n\nIs that fine?",
        "As I said:\nthe mill runs.\n\nWhat she wrote:\nno idea.",
        "On 3 May 2021 the council wrote:\n\nAll mills are to be closed.\n\nI disagree.",
        "R> version\nR 2.5\n\nR> q()",
        "> x <- 3\n> x\n[1] 3\n\nIs that right?",
        "ftp> get mill\n200 OK\n\nThat is all.",
    ):
        assert cleaned(text) == text


def test_a_quote_is_marked_with_initials() -> None:
    text = "Monday, May 3, 2021, 9:12:00 AM, Bob wrote:\nBS> Is it ready?\nBS> When?\n\nIt is."
    assert cleaned(text) == "It is."
    supercite = '>>>>> "DE" == Dirk E <d@x> writes:\n\n    DE> Is it ready?\n\nIt is.'
    assert cleaned(supercite) == "It is."


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("The mill runs.\n\nThanks,\nthat works.\nShall we meet on Friday?\nAda", None),
        ("The mill runs.\n\nThanks\n\nAttached is the plan for the mill.\n\nAda", None),
        ("The mill runs.\n\nBest,\nAda\n\nP.S. The key lies on the sill.",
         "The mill runs.\n\nP.S. The key lies on the sill."),
        ("The mill runs.\n-- \nAda\n\nPS: The key lies on the sill.",
         "The mill runs.\n\nPS: The key lies on the sill."),
        ("It runs [1].\n\nBest,\nAda\n\n[1] https://example.org/mill",
         "It runs [1].\n\n[1] https://example.org/mill"),
        ("First way:\n--\n" + "It is a long sentence about what a mill does all the day long.\n" * 6,
         None),
        ("Sent from my desk it is slow.\n\nFrom yours it is fast.\n\nWhy is that?", None),
    ],
)  # fmt: skip
def test_an_authors_own_end_is_kept(text: str, left: str | None) -> None:
    assert cleaned(text) == (text.strip() if left is None else left)


@pytest.mark.parametrize(
    "end",
    [
        "Mit freundlichen Grüßen\n\nAda Lovelace", "Viele Grüße,\nAda", "Cordialement,\nAda",
        "Un saludo,\nAda", "Atenciosamente,\nAda", "Cordiali saluti\nAda Lovelace",
        "Met vriendelijke groet,\nAda", "Med venlig hilsen\nAda", "Mvh\nAda",
        "Med vänliga hälsningar\nAda", "Ystävällisin terveisin\nAda", "Pozdrawiam,\nAda",
        "S pozdravem\nAda", "Üdvözlettel,\nAda", "Cu stimă,\nAda", "Με εκτίμηση,\nAda",
        "С уважением,\nАда", "З повагою,\nАда", "Saygılarımla,\nAda", "בברכה,\nעדה",
        "مع التحية،\nآدا", "よろしくお願いいたします。\nエイダ", "감사합니다.\n에이다", "此致\n艾达", "敬祝\n愛達",
        "Best regards,\nAda J. Lovelace, PhD\nHead of Engines\nTel. +44 20 1234 5678",
        "Von meinem iPhone gesendet", "Envoyé de mon iPhone", "Enviado desde mi iPhone",
        "Wysłane z iPhone'a", "Отправлено с iPhone", "iPhoneから送信", "나의 iPhone에서 보냄",
        "发自我的 iPhone", "iPhone'umdan gönderildi", "Hanki Outlook for Android",
        "Diese E-Mail ist vertraulich und nur für den Adressaten bestimmt.",
        "Ce message est confidentiel. Si vous n'en êtes pas le destinataire, détruisez-le.",
    ],
)  # fmt: skip
def test_ends_in_every_language_are_cut(end: str) -> None:
    assert cleaned(f"The mill is ready.\n\n{end}\n") == "The mill is ready."


def test_every_character_is_kept_or_listed_with_its_cause() -> None:
    text = (
        "Yes.\n\nBest,\nAda\n\nP.S. Really.\n\nOn Mon, Jan 5, 2025 at 10:58 AM Bob <b@x> wrote:\n"
        "> Is it?\n\nFrom: Bob <b@x>\nSent: 5 Jan 2025\nSubject: Mill\n\nIs the mill ready?\n"
    )
    done = clean(RawDocument("<1@x>", "Re: Mill", "", None, text, is_mail=True))
    assert [cut.cause for cut in done.cuts] == [
        "closing formula", "attribution", "quote", "copied header", "earlier message"
    ]  # fmt: skip
    pieces = [done.text, *(cut.text for cut in done.cuts)]
    assert sorted(" ".join(pieces).split()) == sorted(text.split())


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


def test_an_answer_below_a_quote_between_omission_marks_is_kept() -> None:
    text = (
        "It is the same as ever:\n\nOn 31 January 2009 at 11:41, Bob Smith wrote:\n[...]\n"
        "Mill path: /usr/lib/mill\n[...]\n\nThis says that you have no wheel.\nInstall it."
    )
    own = "It is the same as ever:\n\nThis says that you have no wheel.\nInstall it."
    assert cleaned(text, title="Re: Mill") == own
