"""Where a text that is too long for a prompt is cut."""

import pytest

from customir.llm.prompt import cut_at_sentence


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The pump in hall two leaks. Nobody", "The pump in hall two leaks."),
        ("The pump leaks! Who has the key to", "The pump leaks! Who has the key"),
        ("Oil. The pump in hall two leaks\nand no", "Oil. The pump in hall two leaks"),
        ("二号厅的油泵漏油了。谁有", "二号厅的油泵漏油了。"),
        ("二号厅的油泵漏油了！谁有", "二号厅的油泵漏油了！"),
        ("油。二号厅的油泵漏油了谁有钥匙", "油。二号厅的油泵漏油了谁有钥匙"),
        ("من يزيت المضخة في القاعة؟ لدى", "من يزيت المضخة في القاعة؟"),
        ("", ""),
    ],
)
def test_a_text_is_cut_after_a_sentence_a_line_or_a_word(text: str, expected: str) -> None:
    assert cut_at_sentence(text) == expected
