"""Which passages are thin: short ones of a thread in which a longer one has their subject."""

from collections.abc import Callable

import pytest

from customir.runtime.index import IndexedPassage
from customir.runtime.thin import mark_thin

LONG = "Twelve words are enough to say something about the matter at hand."


@pytest.mark.parametrize(
    ("text", "fields", "thin"),
    [
        ("Thanks!", {}, True),
        ("Thanks!", {"title": "AW: [ilug]  razor Authentication"}, True),
        ("Thanks!", {"title": "Something else"}, False),
        ("Thanks!", {"thread": "another"}, False),
        (LONG, {}, False),
        (LONG.removesuffix(" hand.") + ".", {}, True),
        ("三島が戻るのは月曜の朝です。" * 2, {}, False),
    ],
)
def test_short_passages_are_thin_beside_a_longer_one_of_their_subject(
    make_passage: Callable[..., IndexedPassage], text: str, fields: dict[str, str], thin: bool
) -> None:
    longer = make_passage("longer", LONG, title="Razor authentication", thread="razor")
    values = {"title": "Re: Razor authentication", "thread": "razor", **fields}
    marked = mark_thin([make_passage("short", text, **values), longer])
    assert [passage.thin for passage in marked] == [thin, False]
    assert [passage.key for passage in marked] == ["key-short", "key-longer"]
