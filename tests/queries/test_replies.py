"""Reply pairs: a question, for the passage that answers it."""

import pytest

from customir.queries.replies import MAXIMUM_WORDS, reply_queries
from customir.workspace.documents import Document
from customir.workspace.passages import Passage

ANSWER = "The pump is oiled every second Monday by the plumber, who has the key of hall two."


def document(
    key: str, text: str, sender: str, day: int | None, title: str = "Re: oil", thread: str = "t"
) -> Document:
    date = f"2024-05-{day:02}T10:00:00+00:00" if day else None
    return Document(key, "s", key, title, sender, date, thread, text, "")


def passages(documents: list[Document]) -> list[Passage]:
    return [
        Passage(f"p{d.key}", d.key, 0, d.text, f"p{d.key}", d.title, d.thread) for d in documents
    ]


QUESTION = document("a", "Who oils the pump, and when?", "Ann", 1, "Oil")


def test_the_first_answer_by_another_person_is_the_passage() -> None:
    documents = [
        QUESTION,
        document("b", "I forgot: " + ANSWER, "Ann", 2),
        document("c", ANSWER, "Bob", 3),
        document("d", ANSWER + " Really.", "Cleo", 4),
    ]
    for order in (documents, documents[::-1]):
        made = reply_queries(order, passages(order), 1)
        assert [(p.key, q) for p, q in made] == [("pc", "Oil Who oils the pump, and when?")]


def test_every_answer_of_a_thread_has_one_message_questions_first() -> None:
    documents = [
        document("a", "The pump squeaks again today.", "Ann", 1, "Oil"),
        document("b", "I forgot: " + ANSWER, "Ann", 2),
        document("c", f"Is that so? {ANSWER}", "Bob", 3),
        document("d", f"Yes. {ANSWER}", "Cleo", 4),
    ]
    made = reply_queries(documents, passages(documents), 3)
    assert [(p.key, q) for p, q in made] == [
        ("pd", f"oil Is that so? {ANSWER}"),
        ("pc", "Oil The pump squeaks again today."),
    ]


@pytest.mark.parametrize("mark", ["？", "؟"])
def test_questions_end_in_other_marks_too(mark: str) -> None:
    documents = [
        document("a", "The pump squeaks again today.", "Ann", 1, "Oil"),
        document("c", f"Is that so{mark} {ANSWER}", "Bob", 3),
        document("d", f"Yes. {ANSWER}", "Cleo", 4),
    ]
    made = reply_queries(documents, passages(documents), 2)
    assert [p.key for p, _ in made] == ["pd", "pc"]


def test_long_questions_are_cut_in_scripts_without_spaces() -> None:
    question = document("a", "谁给油泵加油？" * 100, "Ann", 1, "")
    documents = [question, document("c", ANSWER, "Bob", 3)]
    ((_, query),) = reply_queries(documents, passages(documents), 1)
    assert len(query) == 2 * MAXIMUM_WORDS


@pytest.mark.parametrize(
    "documents",
    [
        [QUESTION],
        [QUESTION, document("c", "Thanks, see below.", "Bob", 3)],
        [QUESTION, document("c", ANSWER, "Ann", 3)],
        [QUESTION, document("c", ANSWER, "", 3)],
        [QUESTION, document("c", ANSWER, "Bob", None)],
        [document("a", "Oiled.", "Ann", 1, "Oil"), document("c", ANSWER, "Bob", 3)],
        [document("a", QUESTION.text, "", 1), document("c", ANSWER, "Bob", 3)],
        [document("c", ANSWER, "Bob", 1), document("a", QUESTION.text, "Ann", 3)],
        [QUESTION, document("c", ANSWER, "Bob", 3, thread="other")],
    ],
)
def test_what_is_no_message_with_an_answer_is_left_out(documents: list[Document]) -> None:
    assert reply_queries(documents, passages(documents), 3) == []


def test_a_copy_of_the_question_is_no_answer() -> None:
    documents = [QUESTION, document("c", ANSWER, "Bob", 3)]
    first, second = passages(documents)
    copy = Passage(second.key, "c", 0, ANSWER, first.duplicates, "", "t")
    assert reply_queries(documents, [first, copy], 3) == []


def test_a_long_question_is_cut() -> None:
    long = document("a", "who oils the pump? " * 200, "Ann", 1)
    ((_, query),) = reply_queries(
        [long, document("c", ANSWER, "Bob", 2)],
        passages([long, document("c", ANSWER, "Bob", 2)]),
        3,
    )
    assert len(query.split()) == MAXIMUM_WORDS


def test_names_salutations_and_consoles_are_in_no_pair() -> None:
    asked = document(
        "a", "Hi all,\n\nWho oils the pump, and when?\n\nAnn", "Ann Lee <a@x>", 1, "Oil"
    )
    console = document("b", f"> pumps(2)\n[1] {'0.5 ' * 40}\n> q()", "Bob", 2)
    documents = [asked, console, document("c", f"Hi Ann,\n\n{ANSWER}", "Cleo", 3)]
    made = reply_queries(documents, passages(documents), 1)
    assert [(p.key, q) for p, q in made] == [("pc", "Oil Who oils the pump, and when?")]


def test_a_message_of_common_words_alone_neither_asks_nor_answers() -> None:
    thanks = document(
        "b", f"Thanks, I have tried it, and I hope that it works {'now ' * 9}", "Bob", 2
    )
    documents = [QUESTION, thanks, document("c", ANSWER, "Cleo", 3)]
    common = frozenset(["thanks", "i", "have", "tried", "it", "and", "hope", "works", "now"])
    made = reply_queries(documents, passages(documents), 3, common)
    assert [(p.key, q) for p, q in made] == [("pc", "Oil Who oils the pump, and when?")]


def test_the_message_that_began_the_thread_answers_no_reply() -> None:
    late = document(
        "a", "Who oils the pump in hall two, and when, and who has the key?", "Ann", 3, "Oil"
    )
    reply = document("b", "It is oiled every second Monday.", "Bob", 1)
    documents = [late, reply]
    assert reply_queries(documents, passages(documents), 3) == []
    documents.append(document("c", ANSWER, "Cleo", 4))
    made = reply_queries(documents, passages(documents), 3)
    assert {p.key for p, _ in made} == {"pc"}
