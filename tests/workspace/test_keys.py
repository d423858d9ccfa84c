"""Content keys: what differs has another key, what is the same has the same one everywhere."""

import itertools

from customir.workspace import content_key


def test_what_differs_has_another_key() -> None:
    parts: list[tuple[str | bytes | int | float | None, ...]] = [
        (), ("",), ("", ""), ("abc",), ("ab", "c"), ("a", "bc"), ("a", "b", "c"), ("a", "", "bc"),
        (1,), ("1",), (1.0,), (True,), (b"1",), (None,), ("None",), (0.1,), (0.1 + 0.2,), (0.3,),
        ("str:1:a",), ("a", "str:1:a"), ("\ud800",), ("1", 1), (1, "1"), (-1,), (float("inf"),),
    ]  # fmt: skip
    keys = [content_key(*each) for each in parts]
    for (one, first), (other, second) in itertools.combinations(zip(parts, keys, strict=True), 2):
        assert first != second, (one, other)


def test_a_key_is_the_same_on_every_machine() -> None:
    # By hand: BLAKE2b-128 of "str:3:mail" + "int:2:42"; a change would orphan every workspace.
    assert content_key("mail", 42) == content_key("mail", 42)
    assert content_key() == "cae66941d9efbd404e4d88758ea67670"  # BLAKE2b-128 of nothing
    assert len(content_key("x")) == 32
