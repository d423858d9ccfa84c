"""Free queries: how a text begins, for what follows it."""

import pytest

from customir.queries.inverse_cloze import inverse_cloze_queries, parts, without_wraps
from customir.workspace.passages import Passage

REST = (
    "The plumber has the key of hall two. He comes every second Monday and brings the oil himself, "
    "so nobody has to order any, but somebody must let him in."
)


@pytest.mark.parametrize(
    ("text", "opening", "rest"),
    [
        (f"Who oils the pump in hall two? {REST}", "Who oils the pump in hall two?", REST),
        # A greeting opens nothing: it stays with the sentence after it.
        (f"Hi all,\nthe pump in hall two squeaks.\n{REST}", "Hi all, the pump in hall two squeaks.", REST),
        (f"Ada 2004-12-25 09:14: who oils the pump now?\n\nBob 09:15: {REST}", "who oils the pump now?", f"Bob 09:15: {REST}"),
        # A name would lead from one to the other whatever they are about.
        (f"Ada: bob, who oils the pump now? @Bob?\nBob: Ada: {REST}", "who oils the pump now? ?", f"Bob: Ada: {REST}"),
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


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Who oils the pump in hall two? The plumber.",
        REST.replace(".", ","),
        f"Ada: pump?\nBob: {REST}",
    ],
)
def test_short_openings_and_short_rests_are_left_out(text: str) -> None:
    assert parts(text) is None


@pytest.mark.parametrize(
    ("text", "flowing"),
    [
        ("", ""),
        # "else" would not have fit into a line as wide as the widest.
        ("for a year I wonder who\nelse oils it", "for a year I wonder who else oils it"),
        # "as" would have: whoever broke the line meant it.
        ("the widest line of this mail\nshort\nas before", "the widest line of this mail short\nas before"),
        # A list and a quote begin lines of their own, a paragraph after an empty one.
        ("the widest line of all\n- a pump\n> oil\n\nKeys", "the widest line of all\n- a pump\n> oil\n\nKeys"),
        # What announces something ends its line.
        ("the widest line of all is this:\npumps", "the widest line of all is this:\npumps"),
        # Nothing was broken where a line goes on and on.
        (f"{'very ' * 30}long\nand another", f"{'very ' * 30}long\nand another"),
    ],
)  # fmt: skip
def test_line_breaks_of_mail_programs_are_spaces(text: str, flowing: str) -> None:
    assert without_wraps(text) == flowing


def test_only_a_documents_first_passage_has_an_opening() -> None:
    text = f"Who oils the pump in hall two? {REST}"
    passages = [Passage(f"p{n}", "d", n, text, f"p{n}", "Oil", "t") for n in range(2)]
    assert [(p.key, query) for p, query in inverse_cloze_queries(passages)] == [
        ("p0", "Who oils the pump in hall two?")
    ]
