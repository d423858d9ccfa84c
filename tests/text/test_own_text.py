"""Text that authors typed and that looks like what mail programs write: nothing of it is cut."""

import pytest

from tests.text.test_mail_programs import cleaned

TYPED = [
    "Hi Ben,\n\nthe lease says:\n\nFrom: 1 May 2021\nTo: 30 June 2022\n\nSo we have a year left.\n\nAda",
    "Hello,\n\nplease send a mail like this:\n\nFrom: you@example.org\nTo: help@example.org\nSubject: help\n\nand they will answer.\n",
    "Please fill in the form:\n\nName: Ada\nDate: 3 May 2021\nSubject: Chairs\nTo: the office\n\nand give it back to me.",
    "On Monday I met Ben and he wrote:\n\nThe chairs are blue.\n\nI think that is fine.",
    "On 3 May 2021 Ben wrote:\n\nThe chairs are blue.\n\nI disagree with that.",
    "In 2021 he wrote:\nnothing more came after that.",
    "Am 3. Mai um 9:12 habe ich ihm geschrieben: er kommt nicht.\nDanach war Ruhe.",
    "Thanks,\n\nthat helped me a lot. I will now try the second key.\n\nBy the way, the porter asks for you.",
    "Grüße\n\nAda\n\nPS: Der zweite Schlüssel liegt in der Schublade.",
    "Hi,\n\n1. first point\n2. second point\n--\nthird thing is that the porter is ill and someone has to take over his shift next week, please.\nThis needs an answer by Monday because otherwise the door stays closed for all of us.\nAnd the fourth thing is that the heating has been broken since Sunday, it is cold.\nThe fifth thing is long too, as you can see from the length of this line.\nSixth line of prose that is also rather long for a signature to be honest.\n",
    "Look at this:\n\n> library(foo)\nError in library(foo) : there is no package called 'foo'\n\nWhat can I do?",
    "I did\n\nR> x <- 1\nR> y <- 2\nR> plot(x, y)\n\nand got nothing. Why?",
    "SQL> select * from keys;\n\nno rows selected\n\nIs the table empty?",
    "The table:\n\n| key | room |\n|-----|------|\n| 1   | 12   |\n\nis complete.",
    "Thanks\nfor the key that you left with the porter on Monday,\nit works.",
    "Regards from the mountains, where we have been since Friday and where the weather is fine.\n\nSee you on Monday in the office.",
    "Best\npractice is to lock the door.\nNobody does it.",
    "Sent from my iPhone is what his mails always say.\nI find that funny.",
    "Hi\n\n----- Original plan -----\n\nWe go by train at 9.\n\n----- New plan -----\n\nWe go by bus at 10.\n",
    "Agenda\n======\n\n1. Keys\n2. Rooms\n\nMinutes\n=======\n\nBen said: no keys.\nAda said: rooms are full.\n",
    "He wrote:\n\nWe shall see.\n\nI wrote back:\n\nYes we shall.\n",
    "Dear all,\n\nfrom: Monday to: Friday the office is closed.\n\nSubject: to change.\n\nAda",
    "Subject: the key\n\nI lost it.",
    "Note:\n\nTo: remember the key\nCc: nobody\n\nthat's all for my reminders.",
    "Diff:\n\n--- a/key.c\n+++ b/key.c\n@@ -1,3 +1,3 @@\n-int key;\n+long key;\n\nPlease apply.",
    "begin 12 hours before the start.\n\nend of story.",
    "begin 644 things at once is bad.\nReally.\n",
    "Hallo,\n\nVon: Montag\nBis: Freitag\nAn: alle\nBetreff: Urlaub\n\nbin ich nicht da.",
    "Question about unsubscribe\n\nHow do I unsubscribe from this mailing list? The link in the footer is broken.\n_______________\nMy second question is about the mailing list archive: where is it?",
    "This e-mail is confidential and intended only for the addressee? Is that sentence legally worth anything?\n\nI ask because our lawyer wants it.",
    "We need a notice like:\n\nThis message is confidential. If you are not the intended recipient, delete it.\n\nbelow all our mail. Opinions?",
    "Ada Lovelace and I met yesterday.\nWe discussed the engine.\nCall me at +44 20 1234 5678 about it.",
    "Hello\n\nMy phone number is new:\n\nAda Lovelace\n+44 20 1234 5678\n\nPlease delete the old one from your list.",
    "Yes.\n\n- Ada",
    "Cheers to all who helped!\n\nWe raised 500 euros\n\nfor the library.",
    "Tack\n\nJag hämtar nyckeln i morgon eller på onsdag, om det går bra.\n",
    "谢谢\n\n我明天去拿钥匙。门卫在吗？\n",
    "よろしくお願いします。\n\n鍵は明日取りに行きます。守衛さんはいますか。\n",
    "감사합니다.\n\n내일 열쇠를 가지러 가겠습니다. 수위 아저씨 계신가요?\n",
    "Спасибо,\n\nя заберу ключ завтра. Вахтёр будет на месте?\n",
    "تحياتي\n\nسآخذ المفتاح غدا. هل الحارس هناك؟\n",
    "Merci\n\nJe passerai prendre la clé demain. Le gardien est là ?\n",
    "以上\n\n三番目の鍵について質問があります。どこにありますか。\n",
    "Re: your question\n\nThe answer is 42.",
    "Ben:\nHow are you?\n\nAda:\nFine.\n\nBen:\nGood.",
    'Ben wrote: "the key is lost".\nI think he is wrong.',
    "Hi all,\n\nsee below.\n\nAda\n\n1) Key: porter\n2) Room: 12\n",
    "Kind regards are what I want to send to your mother.\n\nPlease do so.",
    "FYI",
    "ok",
    "+1",
    "Hi Ada,\n\nThe meeting (On Tue, May 4, 2021 at 9:00 AM, room 12) is moved:\n\nnew room 14\nnew time 10:00\n",
    "The log:\n\n2021-05-03 09:12 Ben <ben@example.org> wrote: key lost\n2021-05-03 09:13 Ada <ada@example.org> wrote: key found\n\nThat is all.",
    "2021-05-03 09:12 ben@example.org reported:\n\ndoor open\n\n2021-05-03 09:20 ada@example.org reported:\n\ndoor closed\n",
    "Hours:\n\nMonday, May 3, 2021 9:00 - 12:00, contact ada@example.org:\n\nbring the keys\n\nTuesday: closed\n",
    "X-Y: z\n\nA strange header, no?",
    "--\n\nThis mail began with two dashes. It is all mine.",
    "Here's the code:\n\n    # comment\n    % percent\n    } brace\n\nOn Mon, May 3, 2021 Ben <ben@example.org> is right:\n    # comment is fine\n",
]


@pytest.mark.parametrize("title", ["Re: Key", "Key"])
@pytest.mark.parametrize("text", TYPED)
def test_what_an_author_typed_is_kept(text: str, title: str) -> None:
    assert cleaned(text, title).cuts == ()
