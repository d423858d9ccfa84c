"""Content keys: what differs has another key, what is the same has the same one everywhere."""

import hashlib
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
    # A change would orphan every workspace.
    parts = "str:4:mailstr:6:Mühle".encode() + b"bytes:1:\xffint:2:42float:3:0.1NoneType:4:None"
    by_hand = hashlib.blake2b(parts, digest_size=16).hexdigest()
    assert content_key("mail", "Mühle", b"\xff", 42, 0.1, None) == by_hand
    assert content_key("mail", 42) == "2e577c8282444b88a1658ab274b04295"
    assert content_key() == "cae66941d9efbd404e4d88758ea67670"  # BLAKE2b-128 of nothing
