"""Conversations, by reference and by subject."""

import random
from dataclasses import replace

import pytest

from customir.corpus.threads import Post, find_threads, participants
from customir.text.mail_labels import bare_subject


def post(
    key: str,
    title: str = "",
    references: tuple[str, ...] = (),
    date: str | None = None,
    *,
    thread: str = "",
    source: str = "a",
    is_mail: bool = True,
) -> Post:
    message_id = f"<{key}@x>" if is_mail else ""
    return Post(key, source, message_id, title, date, references, is_mail, thread)


def test_references_join_also_through_messages_that_are_missing() -> None:
    posts = [
        post("c", "one"),
        post("b", "two", ("<c@x>",)),
        post("d", "three", ("<gone@x>",)),
        post("a", "four", ("<gone@x>", "<elsewhere@x>")),
        post("e", "five"),
    ]
    expected = {"a": "a", "d": "a", "b": "b", "c": "b", "e": "e"}
    for seed in range(5):
        random.Random(seed).shuffle(posts)
        assert find_threads(posts) == expected


def test_an_answer_without_references_joins_the_latest_message_before_it() -> None:
    posts = [
        post("a", "[list] Status", date="2001-01-01T00:00:00+00:00"),
        post("b", "Status", date="2002-01-01T00:00:00+00:00"),
        post("c", "Re: [list] status", date="2002-01-02T00:00:00+00:00"),
        post("d", "AW: Fwd: Status", date="2002-01-03T00:00:00+00:00"),
        post("e", "RE: Status", ("<else@x>",), date="2002-01-04T00:00:00+00:00"),
        post("f", "Re:"),
        post("g", "Re: "),
    ]
    assert find_threads(posts) == {
        "a": "a", "b": "b", "c": "b", "d": "b", "e": "e", "f": "f", "g": "g",
    }  # fmt: skip


def test_dates_say_which_message_was_earlier_and_without_one_none_was() -> None:
    posts = [
        post("a", "Status", date="2003-01-01"),
        post("c", "Re: Status", date="2001-01-02"),
        post("d", "Status", date="2001-01-01"),
        post("e", "Re: Status"),
    ]
    assert find_threads(posts) == {"a": "a", "c": "c", "d": "c", "e": "e"}


def test_a_subject_joins_those_who_wrote_to_each_other() -> None:
    def among(key: str, title: str, day: int, sender: str, recipients: str) -> Post:
        own = participants(sender, recipients)
        return replace(post(key, title, date=f"2002-01-{day:02}"), participants=own)

    posts = [
        among("a", "Lunch", 1, "Ada <ada@x>", "bob@x"),
        among("b", "Lunch", 2, "eve@x", "joe@x"),
        among("c", "Re: Lunch", 3, "Bob <BOB@x>", "Ada <ada@x>"),
        among("d", "Re: Lunch", 4, "zoe@x", "kim@x"),
        among("e", "Re: Lunch", 5, "joe@x", ""),
    ]
    # Who got e is not known: it answers the latest of all.
    assert find_threads(posts) == {"a": "a", "c": "a", "b": "b", "d": "d", "e": "d"}
    assert participants("a@x", "") == frozenset()
    assert participants("Ada <ADA@x>", "Bob <bob@X>") == {"ada@x", "bob@x"}


def test_documents_that_are_no_mail_are_alone_unless_their_source_names_a_thread() -> None:
    posts = [
        post("a", "Re: x", is_mail=False),
        post("b", "x", is_mail=False),
        post("c", thread="t", is_mail=False),
        post("d", thread="t", is_mail=False),
        post("e", thread="t", source="another file", is_mail=False),
    ]
    assert find_threads(posts) == {"a": "a", "b": "b", "c": "c", "d": "c", "e": "e"}


@pytest.mark.parametrize(
    ("title", "bare"),
    [
        ("Re: [R-sig] RE[2]: Fwd:  The   Mill ", "the mill"),
        ("WG: AW: Mühle", "mühle"),
        ("Regarding: x", "regarding: x"),
        ("回复：转发: 磨坊", "磨坊"),
        ("RE : Réf : Moulin", "moulin"),
        ("Re: [a]", ""),
    ],
)
def test_bare_subject(title: str, bare: str) -> None:
    assert bare_subject(title) == bare


@pytest.mark.parametrize(
    "prefix",
    [
        "Re:", "RE :", "Re[2]:", "AW:", "Antwort:", "RES:", "R:", "Rif:", "Antw.:", "SV:", "VS:",
        "Odp:", "Odpověď:", "Vá:", "Răsp:", "ΑΠ:", "Отв:", "Відп:", "YNT:", "השב:", "رد:", "返信:",
        "회신:", "回复:", "回复：", "答复:", "回覆:", "Fwd:", "WG:", "TR:", "RV:", "ENC:", "Doorst:",
        "VB:", "VL:", "PD:", "Přep:", "ΠΡΘ:", "İLT:", "转发：", "轉寄:",
    ],
)  # fmt: skip
def test_an_answer_without_references_is_joined_by_its_prefix_in_any_language(prefix: str) -> None:
    posts = [
        post("a", "The mill", date="2021-05-03"),
        post("b", f"{prefix} The mill", date="2021-05-04"),
        post("c", "The mill", date="2021-05-05"),
    ]
    assert find_threads(posts) == {"a": "a", "b": "a", "c": "c"}
