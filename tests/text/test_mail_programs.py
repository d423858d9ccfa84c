"""Attributions, copied headers and separators as mail programs write them, in 24 languages.

The forms are those of Gmail, Apple Mail, Thunderbird, Yahoo, Proton, Outlook on the desktop, on the
web, on the Mac and on phones, GMX, Mail.ru, Naver and QQ. A is the author with an address, N without.
"""

import textwrap

import pytest

from customir.corpus.cleaning import Cleaned, clean
from customir.corpus.document import RawDocument

OWN = "The key lies with the porter until eight."
OLD = ("Could somebody tell me who has the key for room 12?", "And when is the porter there?")
ATTRIBUTIONS = """
On Mon, 3 May 2021 at 09:12, {A} wrote:
On 3 May 2021, at 09:12, {A} wrote:
On 5/3/21 9:12 AM, {N} wrote:
On 2021-05-03 09:12, {N} wrote:
On Monday, May 3rd, 2021 at 9:12 AM, {A} wrote:
On Monday, May 3, 2021, 09:12:00 AM GMT+2, {A} wrote:
On May 3, 2021, at 9:12 AM, {A} wrote:
{N} wrote on 5/3/2021 9:12 AM:
On 3/5/2021 at 9:12, "{N}" <ben@example.org> wrote:
Am Mo., 3. Mai 2021 um 09:12 Uhr schrieb {A}:
Am 03.05.2021 um 09:12 schrieb {A}:
Am 03.05.21 um 09:12 schrieb {N}:
Am Montag, 3. Mai 2021, 09:12:00 MESZ hat {A} Folgendes geschrieben:
Am Montag, den 03.05.2021, 09:12 +0200 schrieb {N}:
{N} schrieb am 03.05.2021 um 09:12:
Le lun. 3 mai 2021 à 09:12, {A} a écrit :
Le 03/05/2021 à 09:12, {N} a écrit :
Le lundi 3 mai 2021 à 09:12:00 UTC+2, {A} a écrit :
Le lundi 03 mai 2021 à 09:12 +0200, {N} a écrit :
El lun, 3 may 2021 a las 9:12, {N} (<ben@example.org>) escribió:
El 3/5/21 a las 9:12, {N} escribió:
El lunes, 3 de mayo de 2021, 09:12:00 CEST, {A} escribió:
El 3 may 2021, a las 9:12, {A} escribió:
Em seg., 3 de mai. de 2021 às 09:12, {A} escreveu:
{A} escreveu (segunda, 3/05/2021 à(s) 09:12):
Em 03/05/2021 09:12, {N} escreveu:
Às 09:12 de 03/05/2021, {N} escreveu:
Em segunda-feira, 3 de maio de 2021 09:12:00 BRT, {A} escreveu:
No dia segunda, 3/05/2021, {A} escreveu:
Il giorno lun 3 mag 2021 alle ore 09:12 {A} ha scritto:
Il lun 3 mag 2021, 09:12 {A} ha scritto:
Il 03/05/21 09:12, {N} ha scritto:
Il lunedì 3 maggio 2021, 09:12:00 CEST, {A} ha scritto:
Il giorno 3 mag 2021, alle ore 09:12, {A} ha scritto:
Op ma 3 mei 2021 om 09:12 schreef {A}:
Op 3 mei 2021, om 09:12 heeft {A} het volgende geschreven:
Op 03-05-2021 om 09:12 schreef {N}:
{N} schreef op 03-05-2021 om 09:12:
Den man. 3. maj 2021 kl. 09.12 skrev {A}:
Den 03.05.2021 kl. 09.12 skrev {N}:
Den 3. maj 2021 kl. 09.12 skrev {A}:
man. 3. mai 2021 kl. 09:12 skrev {A}:
3. mai 2021 kl. 09:12 skrev {A}:
Den 03.05.2021 09:12, skrev {N}:
{N} skrev den 03.05.2021 09:12:
På mandag 3. mai 2021 kl. 09:12 skrev {A}:
Den mån 3 maj 2021 kl 09:12 skrev {A}:
3 maj 2021 kl. 09:12 skrev {A}:
Den 2021-05-03 kl. 09:12, skrev {N}:
{N} skrev den 2021-05-03 09:12:
ma 3. toukok. 2021 klo 9.12 {N} (ben@example.org) kirjoitti:
{A} kirjoitti 3.5.2021 kello 9.12:
{N} kirjoitti 3.5.2021 klo 9.12:
maanantai 3. toukokuuta 2021 {A} kirjoitti:
pon., 3 maj 2021 o 09:12 {A} napisał(a):
Wiadomość napisana przez {A} w dniu 03.05.2021, o godz. 09:12:
W dniu 3.05.2021 o 09:12, {N} pisze:
W dniu poniedziałek, 3 maja 2021 09:12 {A} napisał(a):
po 3. 5. 2021 v 9:12 odesílatel {A} napsal:
Dne 03. 05. 21 v 9:12 {N} napsal(a):
Dne 3. května 2021 9:12 {A} napsal(a):
3. 5. 2021 v 9:12, {A}:
{A} ezt írta (időpont: 2021. máj. 3., H, 9:12):
2021. 05. 03. 9:12 keltezéssel, {N} írta:
2021. máj. 3. dátummal, 9:12 időpontban {A} írta:
În lun., 3 mai 2021 la 09:12, {A} a scris:
Pe 03.05.2021 09:12, {N} a scris:
Pe 3 mai 2021, la 09:12, {A} a scris:
La data de lun., 3 mai 2021 la 09:12, {A} a scris:
Στις Δευ 3 Μαΐ 2021 στις 9:12 π.μ., ο χρήστης {A} έγραψε:
Στις 3/5/2021 9:12 π.μ., ο/η {N} έγραψε:
3 Μαΐ 2021, 9:12, ο χρήστης «{A}» έγραψε:
пн, 3 мая 2021 г. в 09:12, {A}:
3 мая 2021 г., в 9:12, {A} написал(а):
03.05.2021 09:12, {N} пишет:
Понедельник, 3 мая 2021, 9:12 +03:00 от {A}:
03.05.2021, 09:12, "{N}" <ben@example.org>:
пн, 3 трав. 2021 р. о 09:12 {A} пише:
03.05.21 09:12, {N} пише:
понеділок, 3 травня 2021 р. {A} написав:
{A}, 3 May 2021 Pzt, 09:12 tarihinde şunu yazdı:
3.05.2021 09:12 tarihinde {N} yazdı:
{A} şunları yazdı (3 May 2021 09:12):
‫בתאריך יום ב׳, 3 במאי 2021 ב-9:12 מאת ‪{N}‬‏ <‪ben@example.org‬‏>:‬
בתאריך 03/05/2021 ב-09:12, {N} כתב/ה:
‫ב-3 במאי 2021, בשעה 9:12, {A} כתב/ה:‬
في الاثنين، 3 مايو 2021 في 9:12 ص تمت كتابة ما يلي بواسطة {A}:
في 3 مايو 2021، الساعة 9:12 ص، كتب {A}:
في 3/5/2021 9:12 ص، كتب {N}:
في الاثنين، ٣ مايو ٢٠٢١ في ٩:١٢ ص تمت كتابة ما يلي بواسطة {A}:
2021年5月3日(月) 9:12 {A}:
2021/05/03 9:12、{A}のメール:
2021/05/03 9:12、{N} のメール:
2021年5月3日 9:12、{A}のメール:
2021年5月3日(月) 午前9時12分 {A}:
{N} さんは書きました (2021/05/03 9:12):
2021년 5월 3일 (월) 오전 9:12, {A}님이 작성:
2021. 5. 3. 오전 9:12, {A} 작성:
2021-05-03 오전 9:12에 {N} 이(가) 쓴 글:
2021년 5월 3일 월요일, {A}님이 작성:
{A} 于2021年5月3日周一 09:12写道：
2021年5月3日 上午9:12，{A} 写道：
在 2021/5/3 9:12, {N} 写道:
在 2021-05-03 09:12:00，"{N}" <ben@example.org> 写道：
{N} <ben@example.org> 在 2021年5月3日 上午9:12 写道：
{A} 於 2021年5月3日 週一 上午9:12寫道：
{N} 於 2021/5/3 上午 09:12 寫道：
{A} 於 2021年5月3日 上午9:12 寫道：
"""
# One header per line, with ";" between its fields.
HEADERS = """
From: Ben Smith <ben@example.org>;Date: Monday, 3 May 2021 at 09:12;To: Ada Lovelace <ada@example.org>;Subject: Key
From: Ben Smith;Sent: Monday, May 3, 2021 9:12:33 AM;To: Ada Lovelace;Subject: Key
Von: Ben Smith <ben@example.org>;Datum: Montag, 3. Mai 2021 um 09:12;An: Ada Lovelace <ada@example.org>;Betreff: Key
*Von:* Ben Smith <ben@example.org>;*Gesendet:* Montag, 3. Mai 2021 09:12;*An:* Ada;*Betreff:* Key
Von: Ben Smith;Gesendet: Montag, 3. Mai 2021 09:12:33;An: Ada Lovelace;Betreff: Key
Gesendet: Montag, 03. Mai 2021 um 09:12 Uhr;Von: "Ben Smith" <ben@example.org>;An: ada@example.org;Betreff: Key
De : Ben Smith <ben@example.org>;Envoyé : lundi 3 mai 2021 09:12;À : Ada Lovelace;Objet : Key
De : Ben Smith <ben@example.org>;Date : lundi, 3 mai 2021 à 09:12;À : Ada Lovelace <ada@example.org>;Objet : Key
De : Ben Smith <ben@example.org>;Date : lundi, 3 mai 2021 à 09:12;À : Ada;Cc : Carl;Objet : Key
De: Ben Smith <ben@example.org>;Enviado: lunes, 3 de mayo de 2021 9:12;Para: Ada Lovelace;Asunto: Key
De: Ben Smith <ben@example.org>;Fecha: lunes, 3 de mayo de 2021, 9:12;Para: Ada;CC: Carl;Asunto: Key
De: Ben Smith <ben@example.org>;Enviado: segunda-feira, 3 de maio de 2021 09:12;Para: Ada Lovelace;Assunto: Key
De: Ben Smith <ben@example.org>;Data: segunda-feira, 3 de maio de 2021 às 09:12;Para: Ada;Assunto: Key
Da: Ben Smith <ben@example.org>;Inviato: lunedì 3 maggio 2021 09:12;A: Ada Lovelace;Oggetto: Key
Da: Ben Smith <ben@example.org>;Data: lunedì, 3 maggio 2021 09:12;A: Ada;Cc: Carl;Oggetto: Key
Van: Ben Smith <ben@example.org>;Verzonden: maandag 3 mei 2021 09:12;Aan: Ada Lovelace;CC: Carl;Onderwerp: Key
Van: Ben Smith <ben@example.org>;Datum: maandag 3 mei 2021 om 09:12;Aan: Ada;Onderwerp: Key
Fra: Ben Smith <ben@example.org>;Sendt: 3. maj 2021 09:12;Til: Ada Lovelace;Cc: Carl;Emne: Key
Fra: Ben Smith <ben@example.org>;Dato: mandag, 3. maj 2021 kl. 09.12;Til: Ada;Emne: Key
Fra: Ben Smith <ben@example.org>;Sendt: mandag 3. mai 2021 09:12;Til: Ada Lovelace;Kopi: Carl;Emne: Key
Från: Ben Smith <ben@example.org>;Skickat: den 3 maj 2021 09:12;Till: Ada Lovelace;Kopia: Carl;Ämne: Key
Från: Ben Smith <ben@example.org>;Datum: måndag, 3 maj 2021 09:12;Till: Ada;Ämne: Key
Lähettäjä: Ben Smith <ben@example.org>;Lähetetty: maanantai 3. toukokuuta 2021 9.12;Vastaanottaja: Ada;Kopio: Carl;Aihe: Key
Lähettäjä: Ben Smith <ben@example.org>;Päivämäärä: maanantai 3. toukokuuta 2021 klo 9.12;Vastaanottaja: Ada;Aihe: Key
Od: Ben Smith <ben@example.org>;Wysłano: poniedziałek, 3 maja 2021 09:12;Do: Ada;DW: Carl;Temat: Key
Od: Ben Smith <ben@example.org>;Data: poniedziałek, 3 maja 2021 09:12;Do: Ada;Temat: Key
Od: Ben Smith <ben@example.org>;Odesláno: pondělí 3. května 2021 9:12;Komu: Ada;Kopie: Carl;Předmět: Key
Od: Ben Smith <ben@example.org>;Datum: pondělí 3. května 2021 9:12;Komu: Ada;Předmět: Key
Feladó: Ben Smith <ben@example.org>;Elküldve: 2021. május 3., hétfő 9:12;Címzett: Ada;Másolatot kap: Carl;Tárgy: Key
Feladó: Ben Smith <ben@example.org>;Dátum: hétfő, 2021. május 3. 9:12;Címzett: Ada;Tárgy: Key
De la: Ben Smith <ben@example.org>;Trimis: luni, 3 mai 2021 09:12;Către: Ada;Subiect: Key
De la: Ben Smith <ben@example.org>;Trimis: luni, 3 mai 2021 09:12;Către: Ada;Cc: Carl;Subiect: Key
Από: Ben Smith <ben@example.org>;Στάλθηκε: Δευτέρα, 3 Μαΐου 2021 9:12 πμ;Προς: Ada;Κοιν.: Carl;Θέμα: Key
Από: Ben Smith <ben@example.org>;Ημερομηνία: Δευτέρα, 3 Μαΐου 2021 9:12 π.μ.;Προς: Ada;Θέμα: Key
От: Ben Smith <ben@example.org>;Отправлено: 3 мая 2021 г. 9:12;Кому: Ada;Копия: Carl;Тема: Key
От: Ben Smith <ben@example.org>;Дата: понедельник, 3 мая 2021 г. в 9:12;Кому: Ada;Тема: Key
От кого: Ben Smith;Кому: Ada;Дата: понедельник, 3 мая 2021, 9:12 +03:00;Тема: Key
Від: Ben Smith <ben@example.org>;Надіслано: 3 травня 2021 р. 9:12;Кому: Ada;Копія: Carl;Тема: Key
Kimden: Ben Smith <ben@example.org>;Gönderildi: 3 Mayıs 2021 Pazartesi 09:12;Kime: Ada;Bilgi: Carl;Konu: Key
Gönderen: Ben Smith <ben@example.org>;Gönderildi: 3 Mayıs 2021 Pazartesi 09:12;Kime: Ada;Konu: Key
Kimden: Ben Smith <ben@example.org>;Tarih: 3 Mayıs 2021 Pazartesi 09:12;Kime: Ada;Konu: Key
מאת: Ben Smith <ben@example.org>;נשלח: יום שני 03 מאי 2021 09:12;אל: Ada;עותק: Carl;נושא: Key
‏מאת: Ben Smith <ben@example.org>;‏נשלח: יום שני 03 מאי 2021 09:12;‏אל: Ada;‏נושא: Key
من: Ben Smith <ben@example.org>;تم الإرسال: الاثنين، ٣ مايو ٢٠٢١ ٠٩:١٢ ص;إلى: Ada;نسخة: Carl;الموضوع: Key
من: Ben Smith <ben@example.org>;التاريخ: الاثنين، 3 مايو 2021 في 9:12 ص;إلى: Ada;الموضوع: Key
差出人: Ben Smith <ben@example.org>;送信日時: 2021年5月3日 9:12;宛先: Ada;CC: Carl;件名: Key
差出人： Ben Smith <ben@example.org>;送信日時： 2021年5月3日 9:12;宛先： Ada;件名： Key
差出人: Ben Smith <ben@example.org>;日付: 2021年5月3日 月曜日 9:12;宛先: Ada;件名: Key
From: 山田太郎 <ben@example.org>;Sent: 2021年5月3日 9:12;To: Ada;Subject: Key
보낸 사람: Ben Smith <ben@example.org>;보낸 날짜: 2021년 5월 3일 월요일 오전 9:12;받는 사람: Ada;참조: Carl;제목: Key
보낸 사람: Ben Smith <ben@example.org>;날짜: 2021년 5월 3일 월요일 오전 9:12;받는 사람: Ada;제목: Key
From: "Ben Smith"<ben@example.org>;To: <ada@example.org>;Cc: ;Sent: 2021-05-03 (월) 09:12:00 (GMT+09:00);Subject: Key
发件人: Ben Smith <ben@example.org>;发送时间: 2021年5月3日 9:12;收件人: Ada;抄送: Carl;主题: Key
发件人： Ben Smith <ben@example.org>;发送时间： 2021年5月3日 9:12;收件人： Ada;主题： Key
发件人: Ben Smith <ben@example.org>;日期: 星期一, 2021年5月3日 上午9:12;收件人: Ada;主题: Key
发件人: "Ben Smith" <ben@example.org>;发送时间: 2021年5月3日(星期一) 上午9:12;收件人: "Ada"<ada@example.org>;主题: Key
寄件者: Ben Smith <ben@example.org>;寄件日期: 2021年5月3日 上午 09:12;收件者: Ada;副本: Carl;主旨: Key
寄件人: Ben Smith <ben@example.org>;日期: 2021年5月3日 星期一 上午9:12;收件人: Ada;主旨: Key
"""
SEPARATORS = """
-----Original Message-----
----- Original Message -----
-----Ursprüngliche Nachricht-----
-------- Ursprüngliche Nachricht --------
-------- Original-Nachricht --------
-----Message d'origine-----
-----Message d’origine-----
-------- Message d'origine --------
-----Mensaje original-----
-------- Mensaje original --------
-----Mensagem original-----
-----Messaggio originale-----
-------- Messaggio originale --------
-----Oorspronkelijk bericht-----
-------- Oorspronkelijk bericht --------
-----Oprindelig meddelelse-----
-----Opprinnelig melding-----
-----Ursprungligt meddelande-----
-----Alkuperäinen viesti-----
-----Oryginalna wiadomość-----
-------- Oryginalna wiadomość --------
-----Původní zpráva-----
---------- Původní e-mail ----------
-----Eredeti üzenet-----
-----Mesaj original-----
-----Αρχικό μήνυμα-----
-----Исходное сообщение-----
-------- Исходное сообщение --------
-----Оригінальне повідомлення-----
-----Özgün İleti-----
-----Orijinal Mesaj-----
-----הודעה מקורית-----
-----الرسالة الأصلية-----
-----元のメッセージ-----
-----원본 메시지-----
-----邮件原件-----
------------------ 原始邮件 ------------------
------------------&nbsp;原始邮件&nbsp;------------------
-----原始郵件-----
---- Replied Message ----
---- 回复的原邮件 ----
---原始邮件---
-------- 原始信息 --------
------- Original Message -------
-------- Původní zpráva --------
-------- Alkuperäinen viesti --------
-------- Eredeti üzenet --------
-------- Oprindelig besked --------
-------- Opprinnelig melding --------
-------- Ursprungligt meddelande --------
-------- Початкове повідомлення --------
-------- Original message --------
-------- Messaggio Originale --------
-------- Mensagem Original --------
---------- Original Message ----------
-------- 원본 이메일 --------
---- 원본 메일 ----
--------- Original Message ---------
-------- Orijinal mesaj --------
-------- Исходное письмо --------
"""


def cleaned(text: str, title: str = "Re: Key") -> Cleaned:
    references = ("<1@example.org>",) if title.startswith("Re") else ()
    sender = "Ada Lovelace <ada@example.org>"
    return clean(RawDocument("<2@x>", title, sender, None, text, references, is_mail=True))


@pytest.mark.parametrize("form", ATTRIBUTIONS.strip().split("\n"))
def test_attributions_are_cut_with_the_text_that_they_are_above(form: str) -> None:
    line = form.replace("{A}", "Ben Smith <ben@example.org>").replace("{N}", "Ben Smith")
    wrapped = "\n".join(textwrap.wrap(line, 45, break_long_words=False, break_on_hyphens=False))
    old, marked = "\n\n".join(OLD), "\n".join(f"> {each}" for each in OLD)
    for text in (
        f"{OWN}\n\n{line}\n\n{old}\n",
        f"{OWN}\n\n{line}\n\n{marked}\n",
        f"{line}\n{marked}\n\n{OWN}\n",
        f"{OWN}\n\n{wrapped}\n{marked}\n",
        f"{OWN}\n\n{wrapped}\n\n{old}\n",
    ):
        assert cleaned(text).text == OWN, text


@pytest.mark.parametrize("fields", HEADERS.strip().split("\n"))
def test_copied_headers_are_cut_with_the_message_below(fields: str) -> None:
    header, old = fields.replace(";", "\n"), "\n".join(OLD)
    quoted = "\n".join(f"> {line}" for line in header.split("\n"))
    for text in (
        f"{OWN}\n\n{header}\n\n{old}\n",
        f"{OWN}\n{header}\n{old}\n",
        f"{OWN}\n\n" + header.replace("\n", "\n\n") + f"\n\n{old}\n",
        f"{OWN}\n\n________________________________\n{header}\n\n{old}\n",
        f"{OWN}\n\n-----\n{header}\n\n{old}\n",
        f"{OWN}\n\n{quoted}\n>\n> {OLD[0]}\n",
    ):
        assert cleaned(text).text == OWN, text


@pytest.mark.parametrize("separator", SEPARATORS.strip().split("\n"))
def test_what_is_below_a_separator_is_cut(separator: str) -> None:
    assert cleaned(f"{OWN}\n\n{separator}\n{OLD[0]}\n").text == OWN
