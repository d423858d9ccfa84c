"""Rights: what may not be read changes nothing in what is.

CUSTOMIR_TEST_CORPORA=1000 tries so many random corpora instead of a few.
"""

import os
import random
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from random_rights import (
    QUERIES,
    Remembering,
    near,
    permitted,
    random_corpus,
    random_rights,
    thread_names,
)

from customir.errors import UserError
from customir.progress import Silent
from customir.runtime import index_file
from customir.runtime.filters import Condition, Filter
from customir.runtime.index import IndexedPassage, build_index
from customir.runtime.rights import Grant, as_wanted, is_recipient, is_sender
from customir.runtime.search import Searcher, UnknownPassageError

CORPORA, USERS = int(os.environ.get("CUSTOMIR_TEST_CORPORA", "10")), 3
FILTERS = (
    Filter(), Filter(since="2002"), Filter(sender="ann"),
    Filter(conditions=(Condition("phrase", "secret03", negated=True),)),
)  # fmt: skip


@pytest.fixture(scope="module")
def embedder(model: Path) -> Remembering:
    return Remembering(model)


@pytest.fixture(params=["kernel", "sqlite-vec"])
def places(
    model: Path, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> tuple[Path, Path]:
    """Two DIRs: of all documents, and of those that may be read."""
    if request.param == "sqlite-vec":
        monkeypatch.setattr(index_file, "best_kernel", lambda: None)
    for name in ("all", "permitted"):
        shutil.copytree(model, tmp_path / name / "model")
    return tmp_path / "all", tmp_path / "permitted"


def answers(
    searcher: Searcher, corpus: list[IndexedPassage], own: list[IndexedPassage]
) -> list[Any]:
    """What somebody can ask who may read some of a corpus, and may know or guess the rest."""
    given: list[Any] = [asdict(searcher.about()), searcher.count()]
    for query in (*QUERIES, "secret03 budget", ""):
        for mode in ("hybrid", "vector", "text"):
            for number, only in enumerate(FILTERS):
                found = searcher.search_with_facets(query, 5, mode, only, by_thread=number == 1)  # type: ignore[arg-type]
                given += [[asdict(hit) for hit in found.hits], found.considered, found.facets]
    for passage in corpus:
        for name in (passage.key, passage.document, passage.identifier):
            try:
                given.append([asdict(hit) for hit in searcher.similar(name, 5)])
            except UnknownPassageError:
                given.append(None)
    for name in thread_names(corpus, own):
        given.append([asdict(one) for one in searcher.thread(name)])
    return given


def test_answers_are_those_of_an_index_of_what_may_be_read(
    places: tuple[Path, Path], embedder: Remembering
) -> None:
    everything, allowed = places
    readers = 0
    for seed in range(CORPORA):
        chance = random.Random(seed)
        corpus = random_corpus(chance)
        build_index(everything / "index.db", corpus, embedder, Silent())
        with Searcher(everything, embedder=embedder) as searcher:
            for _ in range(USERS):
                rights = random_rights(chance)
                own = permitted(corpus, rights)
                readers += 0 < len(own) < len(corpus)
                build_index(allowed / "index.db", own, embedder, Silent())
                searcher.rights = rights
                with Searcher(allowed, embedder=embedder) as reference:
                    expected = answers(reference, corpus, own)
                assert answers(searcher, corpus, own) == near(expected), (seed, rights)
    assert readers > CORPORA  # who may read something, and not everything


def test_whoever_sends_chooses_a_name_and_not_an_address() -> None:
    ann = as_wanted(("Ann@Example.org",))
    assert is_sender("Ann Lee <ann@example.org>", ann)
    assert is_sender(" ANN@EXAMPLE.ORG ", ann)
    for forged in (
        "joann@example.org", "ann@example.org.evil.net", '"ann@example.org" <eve@evil.net>',
        "ann@example.org, Eve <eve@evil.net>", "<ann@example.org> <eve@evil.net>",
        "ann@example.org (<eve@evil.net>)", "",
    ):  # fmt: skip
        assert not is_sender(forged, ann), forged
    assert is_recipient('"Lee, Ann" <ann@example.org>, bob@example.org', ann)
    assert is_recipient("Dan Lee, Eve", as_wanted(("Dan Lee",)))
    assert not is_recipient("Dan Lee, Eve", as_wanted(("Dan", "Lee")))
    assert is_recipient('"' * 100_001 + ", ann@example.org", ann)  # in no time
    assert not is_recipient('"ann@example.org" <eve@evil.net>', ann)
    here = as_wanted(("@example.org", "Dan"))
    assert is_sender("Bob <bob@example.org>", here)
    assert is_sender("dan", here)
    assert not is_sender("Bob <bob@mail.example.org>", here)
    assert not is_sender("Dan <dan@evil.net>", here)
    assert not is_sender("@example.org <eve@evil.net>", here)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, "without a condition"),
        ({"sources": ("",)}, "sources: a value is blank"),
        ({"senders": ("a", " ")}, "senders: a value is blank"),
        ({"since": "soon"}, "not a date"),
    ],
)
def test_a_grant_that_allows_by_mistake_is_refused(fields: Any, expected: str) -> None:
    with pytest.raises(UserError, match=expected):
        Grant(**fields)
