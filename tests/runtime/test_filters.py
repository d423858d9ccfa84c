"""Conditions, listings, passages like another, facets, and what an index holds."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from customir.errors import UserError
from customir.progress import Silent
from customir.runtime import index_file
from customir.runtime.about import choose_examples
from customir.runtime.embedder import Embedder
from customir.runtime.facets import FacetValue
from customir.runtime.filters import Condition, Filter
from customir.runtime.index import IndexedPassage, build_index
from customir.runtime.query import parse
from customir.runtime.search import Searcher, UnknownPassageError
from customir.runtime.threads import documents_of, join

QUERY = "mail about the budget, the server and lunch"
MODES = ("hybrid", "vector", "text")


@pytest.fixture(scope="module")
def held(make_passage: Callable[..., IndexedPassage]) -> list[IndexedPassage]:
    """Mail about the budget and the server, all with a word of QUERY."""
    ann, bob = "Ann Lee <ann@example.org>", "BÖB <bob@example.org>"
    return [
        make_passage(
            "plan", "The budget plan of the board meeting is ready.", title="Budget plan",
            sender=ann, recipients="Bob <bob@example.org>, carl@example.org", thread="budget",
            attachments="plan.xls\nnotes.txt", language="en",
        ),
        make_passage(
            "plan-file", "Budget: 100 for rent, 20 for mail.", title="plan.xls", thread="budget",
            attachments="plan.xls", date="2002-08-23T00:00:00+00:00",
        ),
        make_passage(
            "answer", "Fine, the budget is approved, but the meeting of the board moves.",
            title="Re: Budget plan", sender=bob, recipients=ann, thread="budget", language="en",
            date="2002-09-01T00:00:00+00:00",
        ),
        make_passage(
            "rede", "Der Server ist wieder da, die Budgets und mail werden zugestellt.",
            title="Der Server", sender=bob, language="de", date="2003-01-01T00:30:00+01:00",
            source="/data/box.mbox",
        ),
        make_passage(
            "copy", "Der Server ist wieder da, die Budgets und mail werden zugestellt!",
            title="Fwd: Der Server", sender=ann, language="de", duplicates="key-rede",
            date="2003-01-02", source="/data/box.mbox",
        ),
        make_passage("long-1", "Notes on lunch, the first part: pizza for all of us.", document="long",
                     identifier="notes.txt", date=None, thread="notes", ordinal=0),
        make_passage("long-0", "for all of us. The second part of lunch: ice cream and coffee.",
                     document="long", identifier="notes.txt", date=None, thread="notes", ordinal=1),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def folder(
    model: Path, held: list[IndexedPassage], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("filters")
    shutil.copytree(model, folder / "model")
    build_index(folder / "index.db", held, Embedder(model), Silent())
    return folder


@pytest.fixture(scope="module", params=["kernel", "sqlite-vec"])
def searcher(folder: Path, request: pytest.FixtureRequest) -> Iterator[Searcher]:
    """Open for searching, by the scan kernel and without it."""
    with pytest.MonkeyPatch.context() as patch, Searcher(folder) as searcher:
        if request.param == "sqlite-vec":
            patch.setattr(index_file, "best_kernel", lambda: None)
        yield searcher


def found(searcher: Searcher, typed: str, mode: str = "hybrid") -> list[str]:
    query = parse(typed)
    hits = searcher.search(query.text, 20, mode, Filter(conditions=query.conditions))  # type: ignore[arg-type]
    return [hit.key.removeprefix("key-") for hit in hits]


# `rede` and `copy` are near-duplicates, as are the two passages of `long` one document.
@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("from:ann", {"plan", "plan-file", "copy", "long"}),
        ('from:"Ann Lee"', {"plan", "copy"}),
        ("from:böb", {"answer", "rede"}),
        ("to:CARL", {"plan"}),
        ("subject:budget", {"plan", "answer"}),
        ("-subject:budget -has:attachment", {"rede", "long"}),
        ("has:attachment", {"plan", "plan-file"}),
        ("in:box.mbox", {"rede"}),
        ("language:DE", {"rede"}),
        ("after:2002-09", {"answer", "rede"}),
        ("before:2002-09", {"plan", "plan-file"}),
        ("before:2003 after:2002-12", {"rede"}),
        ("after:2003", {"copy"}),
        ("-before:2003", {"copy", "long"}),
        ('"board meeting"', {"plan"}),
        ('"BUDGET plans"', {"plan", "answer"}),
        ('-"second part"', {"plan", "plan-file", "answer", "rede"}),
        ("-pizza -budgets", set()),
        ("-pizza -board", {"plan-file", "rede"}),
        ("budget -from:ann -language:en", {"rede"}),
        ("from:nobody", set()),
    ],
)
def test_conditions_hold_for_every_hit_and_leave_nothing_out(
    searcher: Searcher, typed: str, expected: set[str]
) -> None:
    for mode in MODES:
        keys = found(searcher, f"{QUERY} {typed}", mode)
        hits = ["long" if key.startswith("long") else key for key in keys]
        assert sorted(hits) == sorted(expected), mode


def test_conditions_alone_list_the_newest_first(folder: Path) -> None:
    with Searcher(folder) as searcher:
        assert found(searcher, "-from:nobody") == ["copy", "answer", "plan-file", "plan", "long-1"]
        assert found(searcher, "subject:server from:bob") == ["rede"]
        hits = searcher.search("", 2, only=Filter(since="2002"), by_thread=True)
        assert [(hit.key, hit.score) for hit in hits] == [("key-copy", 0.0), ("key-answer", 0.0)]
        assert searcher.search(" ") == []


def test_a_hit_carries_recipients_attachments_and_language(folder: Path) -> None:
    with Searcher(folder) as searcher:
        (hit,) = searcher.search("", only=Filter(conditions=parse("to:carl").conditions))
    assert hit.recipients == "Bob <bob@example.org>, carl@example.org"
    assert (hit.attachments, hit.language) == (("plan.xls", "notes.txt"), "en")


def test_what_is_like_a_passage_leaves_out_itself_its_copies_and_its_thread(
    searcher: Searcher,
) -> None:
    near = [hit.key for hit in searcher.similar("plan@example.org")]
    assert len(near) == 2  # of the two copies one, and of the two passages of a document
    assert len({"key-rede", "key-copy"} & set(near)) == 1
    assert len({"key-long-0", "key-long-1"} & set(near)) == 1
    related = searcher.similar("key-plan", same_thread=True)
    assert {"key-answer", "key-plan-file"} <= {hit.key for hit in related}
    assert [hit.score for hit in related] == sorted((hit.score for hit in related), reverse=True)
    cosine = {hit.key: hit.score for hit in searcher.search(held_text(searcher), mode="vector")}
    assert related[0].score == pytest.approx(cosine[related[0].key], abs=1e-5)
    assert not {"key-rede", "key-copy"} & {hit.key for hit in searcher.similar("key-rede")}
    assert "key-long-0" not in {hit.key for hit in searcher.similar("notes.txt")}
    assert searcher.similar("key-plan", only=Filter(sender="nobody")) == []
    with pytest.raises(UnknownPassageError, match="no document or passage is called nothing"):
        searcher.similar("nothing")


def held_text(searcher: Searcher) -> str:
    """The passage `plan` as it was embedded; the model has no prompts, so it is a query, too."""
    return next(each.content for each in searcher.thread("budget") if each.key == "key-plan")


def test_facets_count_each_document_that_was_ranked_once(folder: Path) -> None:
    with Searcher(folder) as searcher:
        for query in ("", QUERY):  # fewer passages than candidates: all are ranked
            everything = Filter(conditions=(Condition("from", "nobody", negated=True),))
            found = searcher.search_with_facets(query, 1, only=everything)
            assert (len(found.hits), found.considered) == (1, 6)
            assert found.facets is not None
            assert found.facets.senders[0] == FacetValue("Ann <ann@example.org>", 2)
            assert sum(each.count for each in found.facets.senders) == 6
            # 2003-01-01T00:30+01:00 is December in UTC.
            assert [(each.value, each.count) for each in found.facets.months] == [
                ("2002-08", 2), ("2002-09", 1), ("2002-12", 1), ("2003-01", 1)
            ]  # fmt: skip
            assert [each.value for each in found.facets.sources] == ["mail.mbox", "/data/box.mbox"]
            assert found.facets.languages == (FacetValue("de", 2), FacetValue("en", 2))
        only_text = searcher.search_with_facets("pizza", mode="text")
        assert only_text.considered == 1
        assert searcher.search_with_facets("").considered == 0


def test_what_an_index_holds(folder: Path) -> None:
    with Searcher(folder) as searcher:
        about = searcher.about()
    assert (about.passages, about.documents, about.threads) == (7, 6, 4)
    assert (about.first, about.last) == ("2002-08-22", "2003-01-02")
    assert about.sources[0] == FacetValue("mail.mbox", 4)
    assert about.examples[0] == "Budget plan"  # of the one thread with answers
    assert "Der Server" in about.examples


def test_examples_read_like_queries() -> None:
    starts = [
        ("Re: [list] The seminar room", "ann"), ("One", "x"), ("from:ann about the key", "x"),
        ("sender:ann is wrong", "x"), ("The seminar room", "bob"), ("A second one of Ann", "ann"),
        ("A key that got lost", "bob"), ("word " * 9, "x"), ("w " * 70, "x"),
    ]  # fmt: skip
    expected = ["The seminar room", "A key that got lost", "A second one of Ann"]
    assert choose_examples(starts) == expected
    many = [(f"query number {number}", str(number)) for number in range(9)]
    assert choose_examples(many) == [title for title, _ in many[:6]]


def test_a_thread_is_documents_in_whole(folder: Path) -> None:
    with Searcher(folder) as searcher:
        documents = documents_of(searcher.thread("budget"))
        (notes,) = documents_of(searcher.thread("notes"))
    assert [each.identifier for each in documents] == [
        f"<{name}@example.org>" for name in ("plan", "plan-file", "answer")
    ]
    assert documents[0].attachments == ("plan.xls", "notes.txt")
    assert notes.passages == ("key-long-1", "key-long-0")
    assert notes.text == (
        "Notes on lunch, the first part: pizza for all of us. "
        "The second part of lunch: ice cream and coffee."
    )
    assert join(["one two", "two three", "ee four", ""]) == "one two three\nee four\n"


def customir(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "customir", "search", *map(str, arguments)],
        capture_output=True,
        text=True,
    )


def test_the_command_takes_operators_like_and_facets(folder: Path) -> None:
    done = customir(folder, "budget from:ann has:attachment", "--until", "2002-08", "--facets")
    assert done.returncode == 0, done.stderr
    assert "Of the 2 documents that were ranked:" in done.stdout
    assert "   senders: Ann <ann@example.org> (1), Ann Lee <ann@example.org> (1)" in done.stdout
    done = customir(folder, "--like", "<plan@example.org>", "-k", "1", "--json")
    assert json.loads(done.stdout)[0]["thread"] != "budget"
    for arguments, message in (
        (("before:soon",), "soon: not a date"),
        (("--like", "nothing"), "no document or passage is called nothing"),
        ((), "Give either QUERY or --like IDENTIFIER."),
    ):
        done = customir(folder, *arguments)
        assert (done.returncode, message in done.stderr) == (2, True), done.stderr


def test_values_that_cannot_be_are_told() -> None:
    with pytest.raises(UserError, match="no word in this phrase"):
        Condition("phrase", "?!")
    with pytest.raises(UserError, match="not a date"):
        Filter(until="2002-02-30")


def test_any_value_is_looked_for(folder: Path) -> None:
    with Searcher(folder) as searcher:
        for value in ("\x00", "\udcff", "'", "%", '"', "日本"):
            conditions = tuple(
                Condition(name, value)
                for name in ("from", "to", "subject", "in")  # type: ignore[arg-type]
            )
            assert searcher.search("budget", only=Filter(conditions=conditions)) == []
