"""Who speaks in a chat, and queries without their names."""

import pytest

from customir.queries.filters import reject_by_form
from customir.queries.speakers import names_a_speaker, speakers, without_names

CHAT = "Ada 2004-12-25 09:14: who has the key?\nof hall two\n\ng[r]eek 09:15: Bob_ has it\n\nBob_ 09:16: no"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (CHAT, {"Ada", "g[r]eek", "Bob_"}),
        ("Ada: one\nBob: two\nand three\nAda: four", {"Ada", "Bob"}),
        ("Ada: one", set()),
        ("Note: the pump squeaks.\nIt has no oil.\nThe plumber has the key.\nPlease: call him.\nSoon.", set()),
        ("Dear all, the pump squeaks.", set()),
        ("", set()),
    ],
)  # fmt: skip
def test_speakers_stand_before_their_turns(text: str, names: set[str]) -> None:
    assert speakers(text) == names


def test_names_in_scripts_without_spaces() -> None:
    chat = "王伟: 二号厅的钥匙在谁那里\n李娜: 在水管工那里"
    assert speakers(chat) == {"王伟", "李娜"}
    assert names_a_speaker("钥匙问过王伟没有", chat)
    assert not names_a_speaker("二号厅的钥匙", chat)
    assert without_names("请问李娜: 钥匙呢", speakers(chat)) == "请问 钥匙呢"


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("what did ada say of the key", True),
        ("g[r]eek's answer", True),
        ("@Bob_: the key", True),
        ("adapter for the key", False),
        ("who has the key", False),
    ],
)
def test_a_query_that_names_a_speaker(query: str, named: bool) -> None:
    assert names_a_speaker(query, CHAT) is named
    assert (reject_by_form(query, CHAT, []) == "names a speaker") is named


def test_names_go_with_the_mark_behind_them() -> None:
    names = frozenset({"Bob", "Bob_"})
    assert without_names("Bob_: the key, bob, please; ask @Bob", names) == "the key, please; ask"
    assert without_names("a bobsleigh: red", names) == "a bobsleigh: red"


def test_mentions_name_people_who_do_not_speak() -> None:
    nobody: frozenset[str] = frozenset()
    assert without_names("@Ada: who has the key, @Bob?", nobody) == "who has the key, ?"
    for text in ("write to ada@example.org", "the `@defthing` form", "an @ sign, @2 euro"):
        assert without_names(text, nobody) == text
