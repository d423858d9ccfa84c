"""How much of authors' own text is cut from mail, and how much of other people's text is left.

CustomIR, mail-parser-reply and talon clean the same mails; a peer that is not installed is left out. Each line is
annotated as the author's own, as not (quotes, headers, attributions, signatures, footers) or as neither (a
closing formula, a bare name). The mails are generated, in 24 languages and 13 layouts, 312 in all. `--annotated FILE.jsonl`
adds real ones, one JSON object per line: {"title", "sender", "references", "lines", "other": [line numbers],
"neither": [line numbers]}.

    python bench/quotes.py
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from pathlib import Path

from customir.corpus.cleaning import clean
from customir.corpus.document import RawDocument

OWN, OTHER, NEITHER = "own", "other", "neither"
SENDER = "Ada Lovelace <ada@example.org>"
WRITER = "Bob Smith <bob@example.org>"


@dataclass(frozen=True)
class Language:
    """What people and mail programs write in a language.

    Attributes:
        own: Sentences that the author writes.
        earlier: Sentences of the earlier message.
        attribution: Gmail's line above a quote, with {} for the author.
        labels: Outlook's labels of author, date, recipient and subject.
        original: The text between dashes above an answered message.
        closing: A formula at the end.
        thanks: A formula that people also write in the middle.
        device: The line that a phone adds.
    """

    own: tuple[str, str, str]
    earlier: tuple[str, str]
    attribution: str
    labels: tuple[str, str, str, str]
    original: str
    closing: str
    thanks: str
    device: str


LANGUAGES = {
    "en": Language(
        ("The key lies with the porter until eight.", "You can fetch it any day but Monday.",
         "The second door is open anyway."),
        ("Could somebody tell me who has the key for room 12?", "And when is the porter there?"),
        "On Mon, May 3, 2021 at 9:12 AM {} wrote:", ("From", "Sent", "To", "Subject"),
        "Original Message", "Kind regards,", "Thanks,", "Sent from my iPhone",
    ),
    "de": Language(
        ("Der Schlüssel liegt bis acht Uhr beim Pförtner.", "Du kannst ihn jeden Tag holen.",
         "Die zweite Tür ist ohnehin offen."),
        ("Wer hat eigentlich den Schlüssel für Raum 12?", "Und wann ist der Pförtner da?"),
        "Am Mo., 3. Mai 2021 um 09:12 Uhr schrieb {}:", ("Von", "Gesendet", "An", "Betreff"),
        "Ursprüngliche Nachricht", "Mit freundlichen Grüßen", "Vielen Dank,",
        "Von meinem iPhone gesendet",
    ),
    "fr": Language(
        ("La clé est chez le gardien jusqu'à huit heures.", "Tu peux la prendre quand tu veux.",
         "L'autre porte est ouverte de toute façon."),
        ("Qui a la clé de la salle 12, s'il vous plaît ?", "Et quand le gardien est-il là ?"),
        "Le lun. 3 mai 2021 à 09:12, {} a écrit :", ("De ", "Envoyé ", "À ", "Objet "),
        "Message d'origine", "Cordialement,", "Merci,", "Envoyé de mon iPhone",
    ),
    "es": Language(
        ("La llave la tiene el portero hasta las ocho.", "Puedes recogerla cualquier día.",
         "La segunda puerta está abierta de todos modos."),
        ("¿Quién tiene la llave de la sala 12?", "¿Y cuándo está el portero?"),
        "El lun, 3 may 2021 a las 9:12, {} escribió:", ("De", "Enviado el", "Para", "Asunto"),
        "Mensaje original", "Un saludo,", "Gracias,", "Enviado desde mi iPhone",
    ),
    "pt": Language(
        ("A chave está com o porteiro até às oito.", "Você pode buscar em qualquer dia.",
         "A segunda porta está aberta de qualquer forma."),
        ("Quem tem a chave da sala 12?", "E quando o porteiro está lá?"),
        "Em seg., 3 de mai. de 2021 às 09:12, {} escreveu:", ("De", "Enviada em", "Para", "Assunto"),
        "Mensagem original", "Atenciosamente,", "Obrigado,", "Enviado do meu iPhone",
    ),
    "it": Language(
        ("La chiave è dal portiere fino alle otto.", "La puoi prendere quando vuoi.",
         "La seconda porta è comunque aperta."),
        ("Chi ha la chiave della sala 12?", "E quando c'è il portiere?"),
        "Il giorno lun 3 mag 2021 alle ore 09:12 {} ha scritto:", ("Da", "Inviato", "A", "Oggetto"),
        "Messaggio originale", "Cordiali saluti", "Grazie,", "Inviato da iPhone",
    ),
    "nl": Language(
        ("De sleutel ligt tot acht uur bij de portier.", "Je kunt hem elke dag ophalen.",
         "De tweede deur is toch open."),
        ("Wie heeft de sleutel van kamer 12?", "En wanneer is de portier er?"),
        "Op ma 3 mei 2021 om 09:12 schreef {}:", ("Van", "Verzonden", "Aan", "Onderwerp"),
        "Oorspronkelijk bericht", "Met vriendelijke groet,", "Bedankt,",
        "Verzonden vanaf mijn iPhone",
    ),
    "sv": Language(
        ("Nyckeln ligger hos vaktmästaren till åtta.", "Du kan hämta den vilken dag som helst.",
         "Den andra dörren är öppen ändå."),
        ("Vem har nyckeln till rum 12?", "Och när är vaktmästaren där?"),
        "Den mån 3 maj 2021 kl 09:12 skrev {}:", ("Från", "Skickat", "Till", "Ämne"),
        "Ursprungligt meddelande", "Med vänliga hälsningar", "Tack,", "Skickat från min iPhone",
    ),
    "pl": Language(
        ("Klucz jest u portiera do ósmej.", "Możesz go odebrać w każdy dzień.",
         "Drugie drzwi i tak są otwarte."),
        ("Kto ma klucz do pokoju 12?", "I kiedy jest portier?"),
        "pon., 3 maj 2021 o 09:12 {} napisał(a):", ("Od", "Wysłano", "Do", "Temat"),
        "Oryginalna wiadomość", "Pozdrawiam,", "Dziękuję,", "Wysłane z iPhone'a",
    ),
    "ru": Language(
        ("Ключ лежит у вахтёра до восьми.", "Его можно забрать в любой день.",
         "Вторая дверь всё равно открыта."),
        ("У кого ключ от комнаты 12?", "И когда там вахтёр?"),
        "пн, 3 мая 2021 г. в 09:12, {}:", ("От", "Отправлено", "Кому", "Тема"),
        "Исходное сообщение", "С уважением,", "Спасибо,", "Отправлено с iPhone",
    ),
    "tr": Language(
        ("Anahtar saat sekize kadar kapıcıda.", "Her gün alabilirsin.",
         "İkinci kapı zaten açık."),
        ("12 numaralı odanın anahtarı kimde?", "Kapıcı ne zaman orada?"),
        "{}, 3 May 2021 Pzt, 09:12 tarihinde şunu yazdı:", ("Kimden", "Gönderildi", "Kime", "Konu"),
        "Özgün İleti", "Saygılarımla,", "Teşekkürler,", "iPhone'umdan gönderildi",
    ),
    "ja": Language(
        ("鍵は八時まで守衛さんのところにあります。", "いつでも取りに来てください。", "二番目のドアは開いています。"),
        ("十二号室の鍵はどなたがお持ちですか。", "守衛さんはいつおられますか。"),
        "2021年5月3日(月) 9:12 {}:", ("差出人", "送信日時", "宛先", "件名"),
        "元のメッセージ", "よろしくお願いいたします。", "ありがとうございます。", "iPhoneから送信",
    ),
    "zh": Language(
        ("钥匙在门卫那里，八点以前可以去拿。", "星期一以外哪天都可以。", "第二扇门本来就开着。"),
        ("请问十二号房间的钥匙在谁那里？", "门卫什么时候在？"),
        "{} 于2021年5月3日周一 上午9:12写道：", ("发件人", "发送时间", "收件人", "主题"),
        "原始邮件", "此致", "谢谢，", "发自我的 iPhone",
    ),
    "ko": Language(
        ("열쇠는 여덟 시까지 수위실에 있습니다.", "월요일만 빼고 언제든지 찾아가세요.", "두 번째 문은 열려 있습니다."),
        ("12호실 열쇠는 누가 가지고 있습니까?", "수위 아저씨는 언제 계십니까?"),
        "2021년 5월 3일 (월) 오전 9:12, {}님이 작성:", ("보낸 사람", "보낸 날짜", "받는 사람", "제목"),
        "원본 메시지", "감사합니다.", "고맙습니다,", "나의 iPhone에서 보냄",
    ),
    "he": Language(
        ("המפתח נמצא אצל השוער עד שמונה.", "אפשר לקחת אותו בכל יום.", "הדלת השנייה פתוחה ממילא."),
        ("למי יש המפתח של חדר 12?", "ומתי השוער נמצא?"),
        "\u202bבתאריך יום ב׳, 3 במאי 2021 ב-9:12 מאת {}:\u202c", ("מאת", "נשלח", "אל", "נושא"),
        "הודעה מקורית", "בברכה,", "תודה,", "נשלח מה-iPhone שלי",
    ),
    "da": Language(
        ("Nøglen ligger hos portneren til klokken otte.", "Du kan hente den hver dag.",
         "Den anden dør er alligevel åben."),
        ("Hvem har nøglen til rum 12?", "Og hvornår er portneren der?"),
        "Den man. 3. maj 2021 kl. 09.12 skrev {}:", ("Fra", "Sendt", "Til", "Emne"),
        "Oprindelig meddelelse", "Med venlig hilsen", "Tak,", "Sendt fra min iPhone",
    ),
    "no": Language(
        ("Nøkkelen ligger hos vaktmesteren til åtte.", "Du kan hente den når som helst.",
         "Den andre døren er uansett åpen."),
        ("Hvem har nøkkelen til rom 12?", "Og når er vaktmesteren der?"),
        "man. 3. mai 2021 kl. 09:12 skrev {}:", ("Fra", "Sendt", "Til", "Emne"),
        "Opprinnelig melding", "Med vennlig hilsen", "Takk,", "Sendt fra min iPhone",
    ),
    "fi": Language(
        ("Avain on vahtimestarilla kahdeksaan asti.", "Voit hakea sen minä päivänä tahansa.",
         "Toinen ovi on joka tapauksessa auki."),
        ("Kenellä on huoneen 12 avain?", "Ja milloin vahtimestari on paikalla?"),
        "ma 3. toukok. 2021 klo 9.12 {} kirjoitti:",
        ("Lähettäjä", "Lähetetty", "Vastaanottaja", "Aihe"),
        "Alkuperäinen viesti", "Ystävällisin terveisin", "Kiitos,", "Lähetetty iPhonesta",
    ),
    "cs": Language(
        ("Klíč je u vrátného do osmi.", "Můžeš si ho vyzvednout kterýkoli den.",
         "Druhé dveře jsou stejně otevřené."),
        ("Kdo má klíč od místnosti 12?", "A kdy je tam vrátný?"),
        "po 3. 5. 2021 v 9:12 odesílatel {} napsal:", ("Od", "Odesláno", "Komu", "Předmět"),
        "Původní zpráva", "S pozdravem", "Děkuji,", "Odesláno z iPhonu",
    ),
    "hu": Language(
        ("A kulcs nyolcig a portásnál van.", "Bármelyik nap elhozhatod.",
         "A második ajtó úgyis nyitva van."),
        ("Kinél van a 12-es szoba kulcsa?", "És mikor van ott a portás?"),
        "{} ezt írta (időpont: 2021. máj. 3., H, 9:12):",
        ("Feladó", "Elküldve", "Címzett", "Tárgy"),
        "Eredeti üzenet", "Üdvözlettel", "Köszönöm,", "Az iPhone-omról küldve",
    ),
    "ro": Language(
        ("Cheia este la portar până la opt.", "O poți lua în orice zi.",
         "A doua ușă este oricum deschisă."),
        ("Cine are cheia de la camera 12?", "Și când este portarul acolo?"),
        "În lun., 3 mai 2021 la 09:12, {} a scris:", ("De la", "Trimis", "Către", "Subiect"),
        "Mesaj original", "Cu stimă,", "Mulțumesc,", "Trimis de pe iPhone-ul meu",
    ),
    "el": Language(
        ("Το κλειδί είναι στον θυρωρό μέχρι τις οκτώ.", "Μπορείς να το πάρεις όποτε θέλεις.",
         "Η δεύτερη πόρτα είναι ούτως ή άλλως ανοιχτή."),
        ("Ποιος έχει το κλειδί για το δωμάτιο 12;", "Και πότε είναι εκεί ο θυρωρός;"),
        "Στις Δευ 3 Μαΐ 2021 στις 9:12 π.μ., ο χρήστης {} έγραψε:",
        ("Από", "Στάλθηκε", "Προς", "Θέμα"),
        "Αρχικό μήνυμα", "Με εκτίμηση,", "Ευχαριστώ,", "Στάλθηκε από το iPhone μου",
    ),
    "uk": Language(
        ("Ключ у вахтера до восьмої.", "Його можна забрати будь-якого дня.",
         "Другі двері все одно відчинені."),
        ("У кого ключ від кімнати 12?", "І коли там вахтер?"),
        "пн, 3 трав. 2021 р. о 09:12 {} пише:", ("Від", "Надіслано", "Кому", "Тема"),
        "Вихідне повідомлення", "З повагою,", "Дякую,", "Надіслано з iPhone",
    ),
    "ar": Language(
        ("المفتاح عند البواب حتى الساعة الثامنة.", "يمكنك أخذه في أي يوم.", "الباب الثاني مفتوح على أي حال."),
        ("من لديه مفتاح الغرفة 12؟", "ومتى يكون البواب هناك؟"),
        "في الاثنين، 3 مايو 2021 في 9:12 ص تمت كتابة ما يلي بواسطة {}:",
        ("من", "تم الإرسال", "إلى", "الموضوع"),
        "الرسالة الأصلية", "مع التحية،", "شكرا،", "تم الإرسال من iPhone",
    ),
}  # fmt: skip
LAYOUTS = (
    "unmarked", "marked", "between", "below", "header", "ruled header", "original", "signature",
    "postscript", "thanks within", "typed header", "device", "wrapped",
)  # fmt: skip


@dataclass(frozen=True)
class Mail:
    """A mail whose lines are annotated.

    Attributes:
        kinds: OWN, OTHER or NEITHER for each line.
    """

    language: str
    title: str
    lines: tuple[str, ...]
    kinds: tuple[str, ...]
    references: tuple[str, ...] = ("<1@example.org>",)
    sender: str = SENDER
    text: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", "\n".join(self.lines))


def generated() -> Iterator[Mail]:
    """A mail for each language and layout."""
    for name, language in LANGUAGES.items():
        for layout in LAYOUTS:
            pairs = list(_lines(language, layout))
            lines, kinds = zip(*pairs, strict=True)
            yield Mail(name, "Re: Key", lines, kinds)


def _lines(words: Language, layout: str) -> Iterator[tuple[str, str]]:
    """The lines of a mail, each with its kind."""
    first, second, third = ((line, OWN) for line in words.own)
    blank = ("", NEITHER)
    attribution = (words.attribution.format(WRITER), OTHER)
    earlier = [(line, OTHER) for line in words.earlier]
    marked = [(f"> {line}", OTHER) for line in words.earlier]
    values = (WRITER, "3. 5. 2021 09:12", "Ada Lovelace", "Key")
    header = [(f"{a}: {b}", OTHER) for a, b in zip(words.labels, values, strict=True)]
    if layout == "unmarked":
        yield from (first, blank, attribution, blank, *earlier)
    elif layout == "marked":
        yield from (first, second, blank, attribution, blank, *marked)
    elif layout == "between":
        yield from (attribution, blank, marked[0], first, blank, marked[1], blank, second, third)
    elif layout == "below":
        yield from (attribution, *marked, blank, first, second)
    elif layout == "header":
        yield from (first, second, blank, *header, blank, *earlier)
    elif layout == "ruled header":
        yield from (first, blank, ("_" * 32, OTHER), *header, blank, *earlier)
    elif layout == "original":
        yield from (first, blank, (f"-----{words.original}-----", OTHER), *header, blank, *earlier)
    elif layout == "signature":
        yield from (first, third, blank, (words.closing, NEITHER), ("Ada", NEITHER), blank)
        yield from (("-- ", OTHER), ("Ada Lovelace", OTHER), ("Tel. +44 20 1234 5678", OTHER))
    elif layout == "postscript":
        yield from (first, blank, (words.closing, NEITHER), ("Ada", NEITHER), blank)
        yield (f"P.S. {words.own[1]}", OWN)
    elif layout == "thanks within":
        yield from (first, blank, (words.thanks, OWN), second, third, blank, ("Ada", NEITHER))
    elif layout == "typed header":
        yield from (first, blank, (f"{words.labels[0]}: key@example.org", OWN))
        yield from ((f"{words.labels[2]}: porter@example.org", OWN), blank, second, third)
    elif layout == "device":
        yield from (first, second, blank, (words.device, OTHER), blank, attribution, *marked)
    else:
        begin, end = words.attribution.split("{}")
        yield from (first, blank, (f"{begin}Bob Smith <", OTHER))
        yield from ((f"bob@example.org>{end}", OTHER), blank, *earlier)


def annotated(path: Path) -> Iterator[Mail]:
    """The mails of a JSONL file; see the module's docstring."""
    for line in path.read_text("utf-8").splitlines():
        mail = json.loads(line)
        other, neither = set(mail["other"]), set(mail["neither"])
        kinds = [
            OTHER if number in other else NEITHER if number in neither else OWN
            for number in range(len(mail["lines"]))
        ]
        yield Mail(
            "real", mail["title"], tuple(mail["lines"]), tuple(kinds), tuple(mail["references"]),
            mail["sender"],
        )  # fmt: skip


Cleaner = Callable[[Mail], str]


def ours(mail: Mail) -> str:
    """CustomIR's cleaning."""
    return clean(
        RawDocument("", mail.title, mail.sender, None, mail.text, mail.references, is_mail=True)
    ).text


def peers() -> dict[str, Cleaner]:
    """The other libraries that are installed."""
    cleaners: dict[str, Cleaner] = {}
    try:
        from mailparser_reply import EmailReplyParser  # type: ignore[import-not-found]
    except ImportError:
        print("mail-parser-reply is not installed and is left out.")
    else:
        languages = ["en", "de", "fr", "es", "it", "nl", "sv", "pl", "ja", "ko", "zh", "he"]
        parser = EmailReplyParser(languages=languages)

        def mail_parser_reply(mail: Mail) -> str:
            reply = parser.read(mail.text).latest_reply
            return str(reply or "")

        cleaners["mail-parser-reply"] = mail_parser_reply
    try:
        from talon import quotations  # type: ignore[import-not-found]
        from talon.signature.bruteforce import extract_signature  # type: ignore[import-not-found]
    except ImportError:
        print("talon is not installed and is left out.")
    else:

        def talon(mail: Mail) -> str:
            return str(extract_signature(quotations.extract_from_plain(mail.text))[0])

        cleaners["talon"] = talon
    return cleaners


@dataclass
class Shares:
    """Numbers of characters without white space: own ones, cut ones, others' ones, ones left."""

    own: int = 0
    cut: int = 0
    other: int = 0
    left: int = 0

    def add(self, mail: Mail, text: str) -> None:
        """Compare what a cleaner left with the annotation, word by word, in order."""
        words = [
            (word, kind)
            for line, kind in zip(mail.lines, mail.kinds, strict=True)
            for word in line.split()
        ]
        matcher = SequenceMatcher(None, [word for word, _ in words], text.split(), autojunk=False)
        kept = [False] * len(words)
        for start, _, size in matcher.get_matching_blocks():
            kept[start : start + size] = [True] * size
        for (word, kind), is_kept in zip(words, kept, strict=True):
            if kind == OWN:
                self.own += len(word)
                self.cut += 0 if is_kept else len(word)
            elif kind == OTHER:
                self.other += len(word)
                self.left += len(word) if is_kept else 0


def main() -> None:
    """Print a table, and one JSON object as the last line."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--annotated", type=Path, help="a JSONL file of annotated real mails")
    arguments.add_argument(
        "--quick", action="store_true", help="no difference: the whole takes seconds"
    )
    arguments.add_argument(
        "--worst", type=int, default=0, help="print so many of the mails that CustomIR cleans worst"
    )
    options = arguments.parse_args()
    mails = [*generated(), *(annotated(options.annotated) if options.annotated else ())]
    cleaners: dict[str, Cleaner] = {"ours": ours, **peers()}
    sets: dict[str, Sequence[Mail]] = {
        "generated": [mail for mail in mails if mail.language != "real"],
        "real": [mail for mail in mails if mail.language == "real"],
        "all": mails,
    }
    claims = []
    for title, chosen in sets.items():
        if not chosen:
            continue
        results: dict[str, Shares] = {}
        for name, cleaner in cleaners.items():
            shares = results[name] = Shares()
            start = time.perf_counter()
            texts = [cleaner(mail) for mail in chosen]
            seconds = time.perf_counter() - start
            for mail, text in zip(chosen, texts, strict=True):
                shares.add(mail, text)
            print(
                f"{title:>9} ({len(chosen)} mails) {name:>18}: "
                f"{shares.cut / max(shares.own, 1):.3%} of own characters cut, "
                f"{shares.left / max(shares.other, 1):.3%} of others' characters left, "
                f"{len(chosen) / seconds:,.0f} mails/s"
            )
        for what, part, whole in (("own characters cut", "cut", "own"),
                                  ("others' characters left", "left", "other")):  # fmt: skip
            figure = {
                name: round(getattr(each, part) / max(getattr(each, whole), 1), 5)
                for name, each in results.items()
            }
            for peer in [name for name in figure if name != "ours"] or [""]:
                claims.append(
                    {
                        "name": what,
                        "ours": figure["ours"],
                        "peer": peer or None,
                        "peer_figure": figure.get(peer),
                        "ratio": round(figure["ours"] / figure[peer], 3)
                        if figure.get(peer)
                        else None,
                        "measured": f"{len(chosen)} mails, {title}; {len(LANGUAGES)} languages generated",
                    }
                )
    _print_worst(mails, options.worst)
    print(json.dumps({"bench": "quotes", "claims": claims}))


def _print_worst(mails: Sequence[Mail], count: int) -> None:
    compared: list[tuple[Shares, Mail, str]] = []
    for mail in mails:
        shares = Shares()
        text = ours(mail)
        shares.add(mail, text)
        compared.append((shares, mail, text))
    by_cut = sorted(compared, key=lambda each: -each[0].cut)[:count]
    by_left = sorted(compared, key=lambda each: -each[0].left)[:count]
    for shares, mail, text in by_cut + by_left:
        if shares.cut or shares.left:
            print(f"--- {shares.cut} cut, {shares.left} left: {mail.language}, {mail.title}")
            print(mail.text, "\n=>\n", text)


if __name__ == "__main__":
    main()
