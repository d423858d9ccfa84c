"""Free queries: how a text begins, for what follows it."""

import pytest

from customir.corpus.document import Passage
from customir.synthesis.openings import opening_queries, parts

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


def test_only_a_documents_first_passage_has_an_opening() -> None:
    text = f"Who oils the pump in hall two? {REST}"
    passages = [Passage(f"p{n}", "d", n, text, f"p{n}", "Oil", "t") for n in range(2)]
    assert [(p.key, query) for p, query in opening_queries(passages)] == [
        ("p0", "Who oils the pump in hall two?")
    ]
