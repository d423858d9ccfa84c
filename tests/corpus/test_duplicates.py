"""Near-duplicate groups against the exact similarity of every pair."""

import random
from collections.abc import Iterable
from itertools import combinations, permutations

import numpy as np
import pytest

from customir.corpus import duplicates
from customir.corpus.duplicates import LEAST_CONTAINED, MEMBERS_COMPARED, jaccard, shingle
from customir.progress import Silent


def group_duplicates(
    passages: Iterable[tuple[str, str]], total: int, similarity: float, containment: float = 1.0
) -> dict[str, str]:
    return duplicates.group_duplicates(passages, total, similarity, containment, Silent()).of


def corpus(seed: int) -> dict[str, str]:
    """Sixty texts, of which every third has copies with some words changed."""
    chance = random.Random(seed)
    texts: list[str] = []
    for number in range(60):
        words = [f"w{chance.randrange(3000)}" for _ in range(120)]
        texts.append(" ".join(words))
        if number % 3 == 0:
            for changes in (0, 1, 2, 12):
                copy = list(words)
                for _ in range(changes):
                    copy[chance.randrange(len(copy))] = f"new{chance.randrange(3000)}"
                texts.append(" ".join(copy))
    return {f"{chance.getrandbits(64):016x}": text for text in texts}


@pytest.mark.parametrize("similarity", [0.3, 0.8, 0.95, 1.0])
def test_groups_are_those_of_the_exact_similarity(similarity: float) -> None:
    passages = corpus(3)
    groups = group_duplicates(sorted(passages.items()), len(passages), similarity)
    shingles = {key: shingle(text) for key, text in passages.items()}
    near = {
        (one, other)
        for one, other in combinations(sorted(passages), 2)
        if jaccard(shingles[one], shingles[other]) >= similarity
    }
    joined = {
        pair for pair in combinations(sorted(passages), 2) if groups[pair[0]] == groups[pair[1]]
    }
    assert near <= joined
    for one, other in joined - near:
        assert any((min(one, c), max(one, c)) in near for c in passages if c != one), (one, other)
    assert len(near) >= 20


def test_a_group_is_named_by_its_smallest_key_and_does_not_depend_on_luck() -> None:
    passages = sorted(corpus(4).items())
    groups = group_duplicates(passages, len(passages), 0.8)
    assert groups == group_duplicates(iter(passages), len(passages), 0.8)
    for key, name in groups.items():
        assert name == min(other for other in groups if groups[other] == groups[key])


def test_many_copies_are_one_group() -> None:
    words = [f"w{number}" for number in range(150)]
    notices = [
        (f"{number:04}", " ".join([*words, f"node{number}"]))
        for number in range(MEMBERS_COMPARED * 4)
    ]
    groups = group_duplicates(notices, len(notices), 0.8)
    assert set(groups.values()) == {"0000"}


def test_short_and_wordless_texts() -> None:
    texts = [("a", "Thanks"), ("b", "thanks!"), ("c", "?!"), ("d", "--"), ("e", "Thanks a lot")]
    assert group_duplicates(texts, 5, 0.8) == {
        "a": "a", "b": "a", "c": "c", "d": "d", "e": "e",
    }  # fmt: skip


def text_of(seed: int, words: int) -> str:
    chance = random.Random(seed)
    return " ".join(f"w{chance.randrange(10_000)}" for _ in range(words))


def test_a_mail_that_quotes_all_of_another_is_in_its_group() -> None:
    mail = text_of(1, 40)
    passages = {
        "a": mail,
        "b": f"{text_of(2, 90)} {mail} {text_of(3, 20)}",
        "c": f"{text_of(4, 200)} {mail}",
        "d": text_of(5, 60),
        "e": f"{mail} changed",
        "f": f"{text_of(6, 30)} {text_of(7, LEAST_CONTAINED)}",
        "g": text_of(7, LEAST_CONTAINED),
    }
    found = duplicates.group_duplicates(sorted(passages.items()), 7, 0.8, 0.9, Silent())
    # In the longest alone: b and c have nothing but the quote in common.
    assert found.of == {"a": "a", "c": "a", "e": "a", "b": "b", "d": "d", "f": "f", "g": "g"}
    assert found.contained == 2


def test_a_notice_in_every_mail_joins_no_two_of_them() -> None:
    notice = text_of(9, 30)
    passages = [("0", notice)] + [(f"m{n:03}", f"{text_of(n, 80)} {notice}") for n in range(200)]
    groups = group_duplicates(passages, len(passages), 0.8, 0.9)
    assert len(set(groups.values())) == 200


@pytest.mark.parametrize("least", [0.6, 0.9])
def test_no_contained_passage_is_overlooked(least: float) -> None:
    chance = random.Random(5)
    passages: dict[str, str] = {}
    for n in range(60):
        words = text_of(n, 80).split()
        passages[f"whole {n:02}"] = " ".join(words)
        start = chance.randrange(40)
        part = words[start : start + 30]
        part[chance.randrange(30)] = "other"
        passages[f"part {n:02}"] = " ".join(part)
    own = {key: shingle(text) for key, text in passages.items()}
    parts = {
        one
        for one, other in permutations(passages, 2)
        if len(own[one]) < len(own[other])
        and len(np.intersect1d(own[one], own[other])) >= least * len(own[one])
    }
    found = duplicates.group_duplicates(
        sorted(passages.items()), len(passages), 0.95, least, Silent()
    )
    assert found.contained == len(parts)
    for key in parts:
        assert found.of[key] == found.of[key.replace("part", "whole")]
