"""Free pairs: which of them judge, and what of a passage is hidden from its query."""

from collections import Counter
from dataclasses import replace
from typing import Any

from customir.evaluation.gate import MINIMUM_THREADS
from customir.queries.self_supervised import (
    FEWEST,
    MOST,
    held_out_pairs,
    subsample,
    without_query_text,
)
from customir.workspace.passages import Passage
from customir.workspace.queries import Query, Split

OPENING = "Who oils the pump in hall two?"
REST = (
    "The plumber has the key of hall two. He comes every second Monday and brings the oil himself, "
    "so nobody has to order any, but somebody must let him in."
)


def passages(count: int) -> list[Passage]:
    return [
        Passage(f"p{n}", f"d{n}", 0, f"{OPENING} {REST}", f"p{n}", "Oil", f"t{n}")
        for n in range(count)
    ]


def splits_of(members: list[Passage]) -> dict[str, Split]:
    """Of ten, seven train, one is dev and two are test."""
    names: list[Split] = ["train"] * 7 + ["dev"] + ["test"] * 2
    return {passage.key: names[n % 10] for n, passage in enumerate(members)}


def pairs(members: list[Passage], **count: int) -> dict[str, Any]:
    styles = ("subject", "reply", "ict")
    return {
        style: [
            (passage, OPENING if style == "ict" else f"{style} {passage.key}")
            for passage in members[: count.get(style, 0)]
        ]
        for style in styles
    }


def test_what_the_query_was_taken_from_is_hidden() -> None:
    (passage,) = passages(1)
    assert (
        without_query_text(passage, "subject", "Oil")
        == without_query_text(passage, "reply", OPENING)
        == passage.text
    )
    assert without_query_text(passage, "ict", OPENING) == REST
    assert "Oil" in passage.content


def test_inverse_cloze_pairs_are_half_as_many_as_other_pairs_or_no_more_than_all_of_these() -> None:
    def count(**of: int) -> dict[str, int]:
        found = {
            style: [
                Query(f"{n * 7 % 97:03}", "p", style, "oil", None, "train") for n in range(many)
            ]
            for style, many in of.items()
        }
        kept = subsample(found, 40)
        for style, queries in found.items():
            keys = sorted(query.key for query in queries)
            mine = [query.key for query in kept if query.style == style]
            assert mine == keys[: len(mine)]
        return dict(Counter(query.style for query in kept))

    assert count(ict=90) == {"ict": 20}
    assert count(reply=15, ict=90) == {"reply": 15, "ict": 20}
    assert count(subject=13, reply=15, ict=90) == {"subject": 13, "reply": 15, "ict": 28}
    assert count(subject=90, ict=90) == {"subject": 40, "ict": 40}
    assert count(subject=50, reply=10, ict=9) == {"subject": 40, "reply": 10, "ict": 9}


def test_subjects_and_replies_judge_and_inverse_cloze_pairs_where_these_are_few() -> None:
    members = passages(1000)
    splits = splits_of(members)
    found = held_out_pairs(
        pairs(members, subject=1000, reply=400, ict=1000), members, splits, MINIMUM_THREADS
    )
    assert {query.style for query in found} == {"subject", "reply"}
    assert all(splits[members[query.row].key] == query.split for query in found)
    assert {query.split for query in found} == {"dev", "test"}
    assert len(found) == 100 + 40 + 200 + 80
    few = held_out_pairs(pairs(members, subject=20, ict=1000), members, splits, MINIMUM_THREADS)
    assert {query.style for query in few} == {"ict"}
    assert {query.answer for query in few} == {REST}
    assert (
        held_out_pairs(pairs(members, subject=20, ict=30), members, splits, MINIMUM_THREADS) == []
    )


def test_queries_of_few_threads_judge_nothing() -> None:
    members = passages(1000)
    splits = splits_of(members)
    every = pairs(members, reply=1000)
    for threads, judges in ((24, False), (25, True)):
        # Each ten members are a thread, and the last thread has all that are left.
        crowded = [
            replace(p, thread=f"t{min(n // 10, threads - 1)}") for n, p in enumerate(members)
        ]
        assert bool(held_out_pairs(every, crowded, splits, MINIMUM_THREADS)) is judges


def test_no_more_than_needed_evenly_and_always_the_same() -> None:
    members = passages(9000)
    splits = splits_of(members)
    every = pairs(members, subject=9000, reply=9000)
    found = held_out_pairs(every, members, splits, MINIMUM_THREADS)
    for split, most in MOST.items():
        styles = [query.style for query in found if query.split == split]
        assert len(styles) == most
        assert styles.count("reply") == styles.count("subject")
    turned = {style: list(reversed(each)) for style, each in every.items()}
    assert held_out_pairs(turned, members, splits, MINIMUM_THREADS) == found
    assert FEWEST["dev"] < MOST["dev"]
