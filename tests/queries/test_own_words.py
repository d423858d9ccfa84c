"""What of a message are its author's own sentences."""

import pytest

from customir.queries.own_words import (
    is_prose,
    without_closing_name,
    without_opening_lines,
    without_salutation,
    without_wraps,
)


@pytest.mark.parametrize(
    ("text", "flowing"),
    [
        ("", ""),
        # "else" would not have fit into a line as wide as the widest.
        ("for a year I wonder who\nelse oils it", "for a year I wonder who else oils it"),
        # "as" would have: whoever broke the line meant it.
        ("the widest line of this mail\nshort\nas before", "the widest line of this mail short\nas before"),
        # A listing below is wider than the author's lines.
        (f"has anyone tried to use the tracing libraries with\nR and Rmpi?\n\n{'-' * 70}", f"has anyone tried to use the tracing libraries with R and Rmpi?\n\n{'-' * 70}"),
        (f"tried to use the libraries with\nR and Rmpi?\n\n{'-' * 70}", f"tried to use the libraries with\nR and Rmpi?\n\n{'-' * 70}"),
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


@pytest.mark.parametrize(
    "above",
    [
        "",
        "Hi Ada,\n",
        "Bob\n\n",
        "http://example.org/a/b\n",
        "On Mon, 22 Jul 2002 at 09:14, Ada wrote:\n\n",
        "------ 8< ------\n",
        "> quoted\nJames> quoted\n",
        "[root@mill ~]$ ls\n",
        "(See attached file: pump.ppt)\n\n",
        "Ada's [ada@example.org] 22 lines of wisdom included:\n",
        "&> > quoted twice\n) > and once\n",
    ],
)
def test_what_says_nothing_is_left_out_above(above: str) -> None:
    text = "The pump squeaks. Who oils it?\nYours, Ada"
    assert without_opening_lines(above + text) == text


def test_a_first_sentence_is_no_salutation() -> None:
    for text in ("It squeaks.\n\nWhy?", "Does it squeak?\nYes.", "the pump of\nhall two squeaks"):
        assert without_opening_lines(text) == text


def test_the_senders_name_is_left_out_at_the_end() -> None:
    assert without_closing_name("It squeaks.\n\nAda", "Ada Byron <a@x>") == "It squeaks."
    assert without_closing_name("It squeaks.\nOil it", "Ada Byron <a@x>") == "It squeaks.\nOil it"
    assert without_closing_name("Ada", "Ada Byron <a@x>") == "Ada"


def test_prose_is_letters_after_no_prompt() -> None:
    assert is_prose("Die Pumpe in Halle 2 quietscht.")
    assert is_prose("ポンプがうるさいです。")
    assert not is_prose("> library(pumps)")
    assert not is_prose("R> library(pumps)")
    assert not is_prose("edd at max:~$ ls pumps and other things")
    assert not is_prose("12.5 17.2 44.1 oil 13 (2) [3] 0x77")


@pytest.mark.parametrize(
    "salutation",
    ["Ada, ", "Mark and Paul: ", "Dear Mr. Lay, ", "Hi all, ", "Hello Ada - ", "Good Morning! "],
)
def test_a_salutation_before_the_first_sentence_is_left_out(salutation: str) -> None:
    assert without_salutation(f"{salutation}The pump squeaks. Why?") == "The pump squeaks. Why?"


@pytest.mark.parametrize(
    "text",
    [
        "The pump squeaks. Why?",
        "Ada, who has the key, oils the pump.",
        "As of Monday, June oils the pump.",
        "Squeaking pumps: Who oils them? The squeaking of pumps is no news.",
        "Ada",
        "",
    ],
)
def test_a_sentence_or_a_heading_is_no_salutation(text: str) -> None:
    assert without_salutation(text) == text
