"""Candidates for hard negatives: who is masked, in what order they come, how many."""

import numpy as np
import pytest

from customir.negatives.candidates import mine_candidates
from customir.retrieval.bm25 import Bm25
from customir.workspace.passages import Passage
from customir.workspace.queries import Query

WORDS = ("pump", "gate", "roof", "lift", "oven", "lamp", "door", "wall")


def passage(number: int, thread: str = "", duplicates: str = "", text: str = "") -> Passage:
    key = f"p{number}"
    return Passage(
        key, f"d{number}", 0, text or WORDS[number], duplicates or key, "", thread or f"t{number}"
    )


def query(passage: Passage, text: str = "zebra", key: str = "q") -> Query:
    return Query(key, passage.key, "need", text, None, "train")


def vectors(*cosines: float) -> np.ndarray:
    """Unit vectors with these inner products with (1, 0)."""
    return np.array([[cosine, np.sqrt(1 - cosine**2)] for cosine in cosines], dtype=np.float32)


ASKED = np.array([[1.0, 0.0]], dtype=np.float32)


def mine(
    passages: list[Passage],
    queries: list[Query],
    cosines: np.ndarray,
    count: int = 9,
    relative_margin: float = 0.0,
) -> list[list[str]]:
    asked = np.repeat(ASKED, len(queries), axis=0)
    bm25 = Bm25([passage.content for passage in passages])
    found = mine_candidates(queries, passages, asked, cosines, bm25, count, relative_margin)
    return [[candidate.key for candidate in each] for each in found]


def test_hardest_first_and_no_more_than_asked_for() -> None:
    passages = [passage(n) for n in range(5)]
    cosines = vectors(0.9, 0.1, 0.5, 0.7, 0.3)
    own = [query(passages[0])]
    assert mine(passages, own, cosines) == [["p3", "p2", "p4", "p1"]]
    assert mine(passages, own, cosines, count=2) == [["p3", "p2"]]
    assert mine(passages, own, cosines, count=0) == [[]]
    assert mine(passages, [], cosines) == []


def test_its_own_group_and_thread_are_masked() -> None:
    passages = [
        passage(0, "a", "g"),
        passage(1, "b", "g"),  # a near-duplicate of the positive
        passage(2, "a"),  # of the positive's thread
        passage(3, "c", "h"),
        passage(4, "d", "h"),  # one of a group is enough
        passage(5),
    ]
    found = mine(passages, [query(passages[0])], vectors(0.9, 0.8, 0.7, 0.6, 0.5, 0.4))
    assert found == [["p3", "p5"]]


def test_what_the_same_query_was_written_for_is_masked() -> None:
    passages = [passage(0), passage(1), passage(2, duplicates="p1"), passage(3)]
    asked = [
        query(passages[0], "Zebra crossing", "q0"),
        query(passages[1], "zebra CROSSING", "q1"),
        query(passages[3], "another one", "q2"),
    ]
    found = mine(passages, asked, vectors(0.9, 0.8, 0.7, 0.95))
    assert found == [[], [], ["p0", "p1"]]


def test_what_is_too_close_to_the_positive_is_masked() -> None:
    passages = [passage(n) for n in range(5)]
    cosines = vectors(0.8, 0.79, 0.77, 0.75, 0.85)
    asked = [query(passages[0])]
    assert mine(passages, asked, cosines, relative_margin=0.05) == [["p3"]]
    assert mine(passages, asked, cosines, relative_margin=0.0) == [["p1", "p2", "p3"]]


def test_bm25_and_dense_take_turns_and_the_limit_holds_for_both() -> None:
    passages = [
        passage(0, text="the oven"),
        passage(1, text="roof"),
        passage(2, text="lift"),
        passage(3, text="a broken pump and a gate in an old wall"),
        passage(4, text="broken pump gate"),
        passage(5, text="broken pump gate broken pump gate"),
    ]
    cosines = vectors(0.8, 0.6, 0.5, 0.1, 0.2, 0.79)
    asked = [query(passages[0], "broken pump gate")]
    (found,) = mine(passages, asked, cosines, relative_margin=0.05)
    # Dense: 0 5 1 2 4 3, of which 0 and 5 are masked; BM25: 5 4 3, the longest text last.
    assert found == ["p4", "p1", "p3", "p2"]


def test_a_passage_that_shares_no_word_is_no_candidate_of_bm25() -> None:
    passages = [passage(n) for n in range(4)]
    # Dense alone ranks; had BM25's hits with score 0 a turn, p1 would come before p3.
    assert mine(passages, [query(passages[0])], vectors(0.9, 0.1, 0.5, 0.7)) == [["p3", "p2", "p1"]]


@pytest.mark.parametrize("count", [1, 4])
def test_masks_do_not_starve_the_count(count: int) -> None:
    passages = [Passage(f"p{n}", "d", 0, f"w{n}", f"p{n}", "", f"t{n}") for n in range(80)]
    cosines = vectors(0.9, *(0.899 - n / 1000 for n in range(79)))
    (found,) = mine(passages, [query(passages[0])], cosines, count=count, relative_margin=0.05)
    assert found == [f"p{46 + n}" for n in range(count)]
