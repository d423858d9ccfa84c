"""Subject pairs: a thread's own subject."""

import pytest

from customir.queries.subjects import subject_queries
from customir.workspace.passages import Passage

TEXT = "It has stood in a puddle since Monday, and nobody knows who has to look after it."


def passage(key: str, title: str, thread: str = "t", ordinal: int = 0, text: str = TEXT) -> Passage:
    return Passage(key, f"d{key}", ordinal, text, key, title, thread)


@pytest.mark.parametrize(
    ("title", "query"),
    [
        ("Oil pump leaks", "Oil pump leaks"),
        ("Re: RE: Fwd: Oil pump leaks", "Oil pump leaks"),
        ("[R-sig] Re[2]: AW : [list x] Oil pump leaks", "Oil pump leaks"),
        ("SV: WG: Antw: Oil pump", "Oil pump"),
        ("Oil pump (was: Re: [x] Keys)", "Oil pump"),
        ("回复：油泵漏油（原：钥匙）", "油泵漏油"),
        ("Réf: Pompe à huile (était : clés)", "Pompe à huile"),
        ("The oil pump (era of steam)", "The oil pump (era of steam)"),
        ("Reply to the oil pump offer", "Reply to the oil pump offer"),
        ("Oil pump: re: leaks [urgent]", "Oil pump: re: leaks [urgent]"),
    ],
)
def test_marks_of_answers_and_lists_are_taken_off(title: str, query: str) -> None:
    own = passage("a", title)
    assert subject_queries([own]) == [(own, query)]


@pytest.mark.parametrize(
    "title", ["", "Re:", "Re: pump", "[list] Re: ", "?? !!", "(no subject)", "Re: (kein Betreff)"]
)
def test_what_says_nothing_is_left_out(title: str) -> None:
    assert subject_queries([passage("a", title)]) == []


def test_one_a_thread_and_only_a_document_s_first_passage() -> None:
    passages = [
        passage("d", "Oil pump", "t1"),
        passage("c", "Re: Oil pump", "t1"),
        passage("b", "Oil pump", "t1", ordinal=1),
        passage("a", "x", "t1"),
        passage("e", "Lunch at noon", "t2"),
    ]
    expected = [(passages[0], "Oil pump"), (passages[4], "Lunch at noon")]
    assert subject_queries(passages) == expected
    assert subject_queries(passages[::-1]) == expected


def test_texts_that_say_little_or_repeat_the_subject_are_left_out() -> None:
    thin = passage("a", "Re: Oil pump", text="Sure.")
    copied = passage("b", "Oil pump leaks", "t2", text=f"Oil pump leaks\nagain. {TEXT}")
    other = passage("c", "Re: Oil pump")
    assert subject_queries([thin, copied, other]) == [(other, "Oil pump")]


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        # A feed's item without a summary, and one whose text is its title with the mark of a footnote.
        ("URL: http://example.org/1/oil-pump-leaks-in-hall-two\nDate: 2002-09-30T20:19:09+01:00\n\n(The Mill)", False),
        ("URL: http://example.org/1/hall\nDate: Mon, 30 Sep 2002 20:19:09 GMT\n\nOil[1] pump leaks[2]\n\n[1] http://example.org/2", False),
        ("URL: http://example.org/1/hall\nDate: 2002-09-30T20:19:09+01:00\n\nThe plumber has no key to the second hall.", True),
    ],
)  # fmt: skip
def test_a_text_that_adds_nothing_to_its_subject_is_left_out(text: str, kept: bool) -> None:
    assert bool(subject_queries([passage("a", "Oil pump leaks", text=text)])) is kept


def test_the_message_whose_author_wrote_the_subject_is_preferred() -> None:
    reply, first = passage("a", "Re: Oil pump"), passage("b", "Oil pump")
    assert subject_queries([reply, first]) == [(first, "Oil pump")]


def test_subjects_that_differ_in_numbers_alone_are_a_programs() -> None:
    several = [passage(f"a{n}", f"Stories of 2002-10-0{n}", f"t{n}") for n in range(3)]
    assert subject_queries(several) == []
    assert len(subject_queries(several[:2])) == 2
