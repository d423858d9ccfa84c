"""ICT pairs: how a text begins, for what follows it."""

import pytest

from customir.queries.inverse_cloze import inverse_cloze_queries, parts, rest_after
from customir.workspace.passages import Passage

REST = (
    "The plumber has the key of hall two. He comes every second Monday and brings the oil himself, "
    "so nobody has to order any, but somebody must let him in."
)


@pytest.mark.parametrize(
    ("text", "opening", "rest"),
    [
        (f"Who oils the pump in hall two? {REST}", "Who oils the pump in hall two?", REST),
        # A greeting opens nothing.
        (f"Hi all,\nthe pump in hall two squeaks.\n{REST}", "the pump in hall two squeaks.", REST),
        (f"Dear Ada Byron\n\nThe pump in hall two squeaks.\n{REST}", "The pump in hall two squeaks.", REST),
        (f"URL: http://example.org/1\nDate: Not supplied\n\nThe pump in hall two squeaks. {REST}", "The pump in hall two squeaks.", REST),
        (f"From: Ada\nSubject: pump\n\nThe pump in hall two squeaks. {REST}", "The pump in hall two squeaks.", REST),
        # All that one person said in a chat.
        (f"Ada 2019-01-14 22:22: the pump in hall two squeaks. {REST}", "the pump in hall two squeaks.", REST),
        # A point after an abbreviation or an initial ends nothing, nor does one in parentheses.
        (f"The pumps, e.g. the one of J. Smith (two. of them), all squeak. {REST}", "The pumps, e.g. the one of J. Smith (two. of them), all squeak.", REST),
        (f"The pump in the second hall squeaks\nand nobody oils it. {REST}", "The pump in the second hall squeaks and nobody oils it.", REST),
        (f"Ada 2004-12-25 09:14: who oils the pump now?\n\nBob 09:15: {REST}", "who oils the pump now?", f"Bob 09:15: {REST}"),
        # A name would lead from one to the other whatever they are about.
        (f"Ada: bob, who oils the pump now? @Bob?\nBob: Ada: {REST}", "who oils the pump now? ?", f"Bob: Ada: {REST}"),
        # Whom somebody speaks to is not what this is about, nor where it was said.
        (f"Mark and Paul: The pump in hall two squeaks. {REST}", "The pump in hall two squeaks.", REST),
        (f"Ada: @Cleo who oils the pump now?\nBob: {REST}", "who oils the pump now?", f"Bob: {REST}"),
        (f"[IMG: http://example.org/pump.jpg] The pump of hall two squeaks. {REST}", "The pump of hall two squeaks.", REST),
        # Nobody begins a sentence with a small letter or a number below an abbreviation.
        (f"The pumps of Mill Corp. and Co. squeak since Oct. 16 or so. {REST}", "The pumps of Mill Corp. and Co. squeak since Oct. 16 or so.", REST),
        (f"The pumps that squeak are these: 1. The one of hall two. {REST}", "The pumps that squeak are these: 1. The one of hall two.", REST),
        (f"As the pump of hall two squeaks,\nwe need oil. {REST}", "As the pump of hall two squeaks, we need oil.", REST),
        # One turn makes no chat.
        (f"Note: the pump in hall two squeaks. {REST}", "Note: the pump in hall two squeaks.", REST),
        (f"Ada: who oils the pump?\nis it you, perhaps?\nBob: {REST}", "who oils the pump? is it you, perhaps?", f"Bob: {REST}"),
        # A mail program broke the sentence, not its author.
        (f"Having oiled the pump in hall two for a year I wonder who\nelse oils it.\n{REST}", "Having oiled the pump in hall two for a year I wonder who else oils it.", REST),
        # Who wrote what was quoted below is not what this is about.
        (f"On Mon, 22 Jul 2002 at 09:14, the voices made Ada Byron write:\nWho oils the pump in hall two? {REST}", "Who oils the pump in hall two?", REST),
        (f"URL: http://example.org/pumps/2002/07/000215.html\nDate: 2002-10-02T17:02:15-08:00\n\nWho oils the pump in hall two? {REST}", "Who oils the pump in hall two?", REST),
        (f"http://www.example.org/click/-1,8399728,1440/\nWho oils the pump in hall two? {REST}", "Who oils the pump in hall two?", REST),
    ],
)  # fmt: skip
def test_the_first_turn_or_sentence_is_the_query(text: str, opening: str, rest: str) -> None:
    assert parts(text) == (opening, rest)


CHINESE = "水管工有二号厅的钥匙。他每两周的星期一来，自己带油，所以谁也不用订油，但是必须有人给他开门，否则他进不去。"
ARABIC = (
    "لدى السباك مفتاح القاعة الثانية. يأتي كل أسبوعين يوم الاثنين ويحضر الزيت معه، "
    "ولذلك لا يحتاج أحد إلى طلبه، لكن يجب أن يفتح له أحد الباب وإلا فلن يدخل القاعة أبدا."
)
JAPANESE = "配管工が第二ホールの鍵を持っています。隔週の月曜日に来て、油も自分で持ってくるので、誰も注文する必要はありません。"


@pytest.mark.parametrize(
    ("text", "opening", "rest"),
    [
        # No space follows a full-width mark, and several end one sentence.
        (f"谁给二号厅的油泵加油？{CHINESE}", "谁给二号厅的油泵加油？", CHINESE),
        (f"谁给二号厅的油泵加油？！{CHINESE}", "谁给二号厅的油泵加油？！", CHINESE),
        (f"「二号厅的大油泵又响了。」{CHINESE}", "「二号厅的大油泵又响了。", CHINESE),
        # A salutation with full-width marks, and a first paragraph that is none.
        (f"王先生，您好：\n二号厅的油泵又响了，很吵。{CHINESE}", "二号厅的油泵又响了，很吵。", CHINESE),
        (f"二号厅的油泵从昨天起又响了\n\n{CHINESE}", "二号厅的油泵从昨天起又响了", CHINESE),
        (f"田中様、\n第二ホールのポンプがまた鳴っています。{JAPANESE}", "第二ホールのポンプがまた鳴っています。", JAPANESE),
        (f"من يزيت المضخة في القاعة الثانية؟ {ARABIC}", "من يزيت المضخة في القاعة الثانية؟", ARABIC),
        # Abbreviations of other languages.
        (f"Die Pumpen in den Hallen, vgl. Liste, quietschen alle. {REST}", "Die Pumpen in den Hallen, vgl. Liste, quietschen alle.", REST),
        (f"Насосы, т.е. оба насоса во втором зале, скрипят. {REST}", "Насосы, т.е. оба насоса во втором зале, скрипят.", REST),
    ],
)  # fmt: skip
def test_sentences_end_in_every_script(text: str, opening: str, rest: str) -> None:
    assert parts(text) == (opening, rest)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Who oils the pump in hall two? The plumber.",
        REST.replace(".", ","),
        f"Ada: pump?\nBob: {REST}",
        f"Ada: see <https://example.org/who-oils-the-pump-in-hall-two>\nBob: {REST}",
        # No language of a person.
        f"=> 508284 17 2.40 508 113 :: 12-12 =>. {REST}",
    ],
)
def test_short_openings_and_short_rests_are_left_out(text: str) -> None:
    assert parts(text) is None


def test_only_a_documents_first_passage_has_an_opening() -> None:
    text = f"Who oils the pump in hall two? {REST}"
    passages = [Passage(f"p{n}", "d", n, text, f"p{n}", "Oil", "t") for n in range(2)]
    passages.append(Passage("p3", "e", 0, text, "p0", "Oil", "u"))  # a near-duplicate
    assert [(p.key, query) for p, query in inverse_cloze_queries(passages)] == [
        ("p0", "Who oils the pump in hall two?")
    ]


COMMON = frozenset(["thanks", "for", "the", "quick", "answer", "i", "will", "try", "it", "soon"])


def test_the_first_sentence_that_says_anything_is_the_query() -> None:
    text = f"Thanks for the quick answer. I will try it soon. Who oils the pump in hall two? {REST}"
    passage = Passage("p", "d", 0, text, "p", "Oil", "t")
    assert inverse_cloze_queries([passage], COMMON) == [(passage, "Who oils the pump in hall two?")]
    assert rest_after("Who oils the pump in hall two?", text) == REST
    assert rest_after("Who oils the pumps?", text) == text
    longer = f"Thanks for the quick answer. {text}"  # its fourth sentence is too late
    passage = Passage("p", "d", 0, longer, "p", "Oil", "t")
    assert inverse_cloze_queries([passage], COMMON) == []


def test_beginnings_that_differ_in_numbers_alone_are_a_programs() -> None:
    passages = [
        Passage(
            f"p{n}", f"d{n}", 0, f"Daily news of the mill, number {n}\n{REST}", f"p{n}", "", f"t{n}"
        )
        for n in range(3)
    ]
    assert inverse_cloze_queries(passages) == []
    assert len(inverse_cloze_queries(passages[:2])) == 2
