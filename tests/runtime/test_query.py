"""What people type is taken for operators where it is surely meant so, and for text otherwise."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from customir.errors import UserError
from customir.runtime.filters import Condition, period
from customir.runtime.query import OPERATORS, Query, parse


def read(typed: str) -> tuple[str, list[str]]:
    """The text, and each condition in short."""
    query = parse(typed)
    return query.text, [
        f"{'-' if each.negated else ''}{each.name}:{each.value}" for each in query.conditions
    ]


@pytest.mark.parametrize(
    ("typed", "text", "conditions"),
    [
        ("budget from:ann", "budget", ["from:ann"]),
        ("FROM:Ann budget To:bob", "budget", ["from:Ann", "to:bob"]),
        ('from:"Ann Lee" subject:"q3 plan" x', "x", ["from:Ann Lee", "subject:q3 plan"]),
        (r'from:"\"Lee, Ann\" <a@x.org>"', "", ['from:"Lee, Ann" <a@x.org>']),
        ("after:2002-08 before:2002/09/15", "", ["after:2002-08", "before:2002/09/15"]),
        ("has:attachment in:archive.mbox", "", ["has:attachment", "in:archive.mbox"]),
        ("language:de Rechnung", "Rechnung", ["language:de"]),
        ('the "exact phrase" here', "the exact phrase here", ["phrase:exact phrase"]),
        ('lunch -pizza -"on Friday"', "lunch", ["-phrase:pizza", "-phrase:on Friday"]),
        ("lunch -from:ann -has:attachment", "lunch", ["-from:ann", "-has:attachment"]),
        ("-http://example.org/x", "", ["-phrase:http://example.org/x"]),
        ("会议 -改变 from:李", "会议", ["-phrase:改变", "from:李"]),
        ('"one" "two"', "one two", ["phrase:one", "phrase:two"]),
        ('a "b", c', "a b , c", ["phrase:b"]),
    ],
)
def test_operators_phrases_and_exclusions(typed: str, text: str, conditions: list[str]) -> None:
    assert read(typed) == (text, conditions)


@pytest.mark.parametrize(
    "text",
    [
        "re: lunch", "Re:lunch", "http://example.org/from:here", "12:30 in the office", "from: ann",
        "C++::vector", "std::from::here", "in:", "a well-known - or not - e-mail", "-5 degrees", "--verbose",
        '"unclosed', 'a 6" pipe', 'the 5" and 6" pipes', '""', '"?!"', 'from:""', "to:/etc", "note:this",
        "mailto:ann@example.org", r"C:\temp", "later:tomorrow", "water:wet", ":-)", "?", "",
        "  two  spaces\n and a line", "from:\t", "subject:   ", "x=-y", "(from:ann)", 'x"quoted"',
    ],
)  # fmt: skip
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert parse(text) == Query(text, ())


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("before:soon", "soon: not a date. Write it as 2002, 2002-08, "),
        ("x after:2002-13", "2002-13: not a date"),
        ("has:legs", "has:legs: the only thing to ask for is has:attachment"),
        ("language:klingon", "such as en or de"),
        ("sender:ann", "no operator sender:. Did you mean from:?"),
        ("-form:ann", "no operator form:. Did you mean from:?"),
        ("befor:2002", "Did you mean before:?"),
        ("subjct:x", "Did you mean subject:?"),
        ("date:2002", "Did you mean after: or before:?"),
        ("label:work", "no operator label:. The operators are from:"),
    ],
)
def test_what_is_surely_meant_and_wrong_is_told(typed: str, message: str) -> None:
    with pytest.raises(UserError) as raised:
        parse(typed)
    assert message in str(raised.value)
    quoted = '"' + typed.removeprefix("-").replace("x ", "") + '"'
    assert parse(quoted).conditions[0].name == "phrase"  # as the message says


TYPED = st.lists(
    st.one_of(
        st.text(st.characters(), max_size=8),  # lone surrogates, too
        st.sampled_from([*(f"{name}:" for name in OPERATORS), '"', "-", " ", ":", "\\", "2002-02"]),
    ),
    max_size=12,
).map("".join)


@settings(max_examples=300, deadline=None)
@given(TYPED)
def test_anything_typed_is_a_query_or_told(typed: str) -> None:
    try:
        query = parse(typed)
    except UserError:
        assert ":" in typed
    else:
        assert query.conditions or query.text == typed


@settings(max_examples=50, deadline=None)
@given(st.lists(st.from_regex(r"[^\W_]+", fullmatch=True), max_size=8))
def test_words_without_marks_are_ranked_by_as_they_are(words: list[str]) -> None:
    text = " ".join(words)
    assert parse(text) == Query(text, ())
    filtered = parse(f"{text} from:ann")
    assert (filtered.text, filtered.conditions) == (text, (Condition("from", "ann"),))


@pytest.mark.parametrize(
    ("text", "days"),
    [("2002", 365), ("2004", 366), ("2004-02", 29), ("2002-02-03", 1), ("9999-12", 31), ("9999", 365)],
)  # fmt: skip
def test_a_partial_date_is_a_period(text: str, days: int) -> None:
    start, end = period(text)
    assert end - start == days * 86_400
    assert period("1970-01-02T01:00+01:00") == (86_400, 86_400)
