"""Which words are common in a corpus, and what is said by others."""

from customir.queries.common_words import common_words, says_something
from customir.workspace.passages import Passage


def test_words_of_many_passages_are_common_and_say_nothing() -> None:
    passages = [
        Passage(
            f"p{n}",
            f"d{n}",
            0,
            f"Thanks, pump {n} squeaks {'loudly' if n < 6 else ''}",
            f"p{n}",
            "",
            "t",
        )
        for n in range(100)
    ]
    common = common_words(passages)
    assert common == {"thanks", "pump", "squeaks", "loudly"}
    assert not says_something("Thanks, pump 7 squeaks: oil it", common)
    assert says_something("Thanks, pump 7 squeaks: oil it soon", common)
    assert not says_something("oil, oil, oil 1 2 3", common)


def test_no_word_of_a_few_passages_is_common() -> None:
    passages = [Passage(f"p{n}", f"d{n}", 0, "Thanks", f"p{n}", "", "t") for n in range(3)]
    assert common_words(passages) == frozenset()
    assert common_words([]) == frozenset()
