import math
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from small_index import TOPICS

from customir.errors import UserError
from customir.progress import Silent
from customir.runtime import index_file
from customir.runtime.batcher import Batcher
from customir.runtime.embedder import Embedder
from customir.runtime.filters import Filter
from customir.runtime.fts_tokenizer import any_of, words_in
from customir.runtime.fusion import UNREADABLE_WORD_WEIGHT, WORD_WEIGHT, cosine_std
from customir.runtime.hits import split_marks
from customir.runtime.index import IndexedPassage, build_index
from customir.runtime.index_reader import IndexReader
from customir.runtime.query import parse
from customir.runtime.ranking import Ranker, word_weights
from customir.runtime.search import Searcher, search
from customir.runtime.thin import mark_thin

Index = Callable[[list[IndexedPassage]], Path]


@pytest.fixture
def indexed(model: Path, tmp_path: Path) -> Index:
    """Makes a DIR with a model and an index of given passages."""

    def make(passages: list[IndexedPassage]) -> Path:
        shutil.copytree(model, tmp_path / "model")
        build_index(tmp_path / "index.db", passages, Embedder(model), Silent())
        return tmp_path

    return make


@pytest.mark.parametrize("mode", ["hybrid", "vector", "text"])
def test_each_mode_finds_the_passage(folder: Path, mode: str) -> None:
    hits = search(folder, "reserve a table for pizza", mode=mode)
    assert hits[0].identifier == "<lunch@example.org>"
    assert [hit.rank for hit in hits] == list(range(1, len(hits) + 1))
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


def test_vector_scores_are_exact_cosines(
    folder: Path, model: Path, passages: list[IndexedPassage]
) -> None:
    hits = search(folder, "electricity failure", mode="vector")
    embedder = Embedder(model)
    in_order = sorted(passages, key=lambda one: (len(one.content), one.key))
    vectors = embedder.encode([one.content for one in in_order])
    cosines = vectors @ embedder.encode(["electricity failure"], "query")[0]
    expected = sorted(zip(-cosines, (one.key for one in in_order), strict=True))
    assert [hit.key for hit in hits] == [key for _, key in expected]
    np.testing.assert_allclose(
        [hit.score for hit in hits], [-cos for cos, _ in expected], atol=1e-6
    )


@pytest.mark.parametrize("kernel", [True, False])
def test_hybrid_is_the_cosine_and_a_share_of_the_words(
    folder: Path,
    model: Path,
    passages: list[IndexedPassage],
    kernel: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    query = "Mail about pipeline capacity, the budget and a zebra: is it fixed, or is it read?"
    with Searcher(folder) as searcher:
        cosine = {hit.key: hit.score for hit in searcher.search(query, mode="vector")}
        bm25 = {hit.key: hit.score for hit in searcher.search(query, mode="text")}
        total = searcher.count()
        having = {word: len(searcher.search(word, mode="text")) for word in words_in(query)}
    limit = sum(
        2.2 * max(0.0, math.log((total - found + 0.5) / (found + 0.5))) for found in having.values()
    )
    assert having["zebra"] == 0 < having["pipeline"] < total / 2 <= having["the"]
    if not kernel:
        monkeypatch.setattr(index_file, "best_kernel", lambda: None)
    with Searcher(folder) as searcher:
        hits = searcher.search(query)
    factor = WORD_WEIGHT * cosine_std(Embedder(model).encode([one.content for one in passages]))
    expected = {key: cosine[key] + factor * bm25.get(key, 0.0) / limit for key in cosine}
    best = sorted(expected, key=lambda key: -expected[key])
    assert [hit.key for hit in hits] == best
    assert [hit.score for hit in hits] == pytest.approx([expected[key] for key in best], abs=1e-3)


@pytest.mark.parametrize(
    ("query", "weight"),
    [("bonjour pipeline", WORD_WEIGHT), ("насос pipeline в зале", UNREADABLE_WORD_WEIGHT)],
)
def test_words_weigh_more_where_the_embedder_cannot_read_the_query(
    folder: Path, model: Path, query: str, weight: float
) -> None:
    embedder = Embedder(model)
    with (
        closing(Batcher(embedder, seconds=60)) as batcher,
        Searcher(folder, embedder=batcher) as searcher,
    ):
        found, cosine = (
            {hit.key: hit.score for hit in searcher.search(query, mode=mode)}["key-contract"]
            for mode in ("hybrid", "vector")
        )
        share = searcher._read(lambda reader: _share_of_words(reader, query, "key-contract"))
    assert share > 0
    std = cosine_std(embedder.encode([f"About {name}\n{text}" for name, text in TOPICS.items()]))
    assert found == pytest.approx(cosine + weight * std * share, abs=1e-3)


def _share_of_words(reader: IndexReader, query: str, key: str) -> float:
    """A passage's BM25 divided by the query's upper bound."""
    weights = word_weights(reader, query)
    scores = dict(Ranker(reader, None, None).by_words(weights, 100))
    return scores[key] / sum(weights.values())


@pytest.mark.parametrize("kernel", [True, False])
def test_a_passage_that_only_words_find_has_its_own_cosine(
    folder: Path, kernel: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    query = "quarter pipeline sushi: emails not delivered, passwords stolen, nobody at the office"
    if not kernel:
        monkeypatch.setattr(index_file, "best_kernel", lambda: None)
    with Searcher(folder) as searcher:
        near, worded, full, found = (
            dict(
                searcher._read(
                    lambda reader, mode=mode, depth=depth: searcher._ranked_by(
                        reader, query, word_weights(reader, query), mode, None
                    )(depth)
                )
            )
            for mode, depth in (("vector", 4), ("text", 5), ("hybrid", 100), ("hybrid", 5))
        )
    others = set(worded) - set(near)
    assert others
    assert {key: found[key] for key in others} == pytest.approx(
        {key: full[key] for key in others}, abs=1e-5
    )


def test_a_hit_carries_its_document_and_marked_words(folder: Path) -> None:
    (hit,) = search(folder, "deliver QUEUES", k=1, mode="text")
    assert (hit.document, hit.thread, hit.source) == (
        "document-outage",
        "thread-outage",
        "mail.mbox",
    )
    assert (hit.sender, hit.date) == ("Ann <ann@example.org>", "2002-08-22T11:34:53+00:00")
    assert hit.title == "About outage"
    assert hit.snippet == hit.text
    assert [hit.snippet[start:end] for start, end in hit.marks] == ["queue", "delivered"]


def test_snippets_of_long_texts_show_the_match_or_the_beginning(
    indexed: Index, make_passage: Callable[..., IndexedPassage]
) -> None:
    filler = " ".join(f"word{number}" for number in range(200))
    folder = indexed([make_passage("long", f"{filler} needle {filler}")])
    (hit,) = search(folder, "needle", mode="hybrid")
    assert [hit.snippet[start:end] for start, end in hit.marks] == ["needle"]
    assert len(hit.snippet.split()) <= 34
    (hit,) = search(folder, "unrelated", mode="vector")
    assert hit.snippet.startswith("word0 word1 ")
    assert hit.snippet.endswith("word31…")
    assert hit.marks == ()


@pytest.mark.parametrize(("query", "marked"), [("the server", ["server"]), ("the", ["The", "the"])])
def test_words_that_half_of_the_passages_have_are_marked_only_where_there_are_no_others(
    folder: Path, query: str, marked: list[str]
) -> None:
    (hit,) = (one for one in search(folder, query) if one.key == "key-outage")
    assert [hit.snippet[start:end] for start, end in hit.marks] == marked


def test_near_duplicates_and_passages_of_one_document_are_folded(
    indexed: Index, make_passage: Callable[..., IndexedPassage], passages: list[IndexedPassage]
) -> None:
    text = "The newsletter of the gardening club: tulips, roses and weeds."
    copies = [
        make_passage(f"copy{number:03}", f"{text} {number}", duplicates="key-copy000")
        for number in range(150)
    ]
    parts = [
        make_passage(f"part{number}", f"Tulips again, part {number}", document="one")
        for number in range(3)
    ]
    folder = indexed([*copies, *parts, *passages])
    for mode in ("hybrid", "vector"):
        hits = search(folder, "gardening club newsletter tulips", k=4, mode=mode)
        assert len(hits) == 4  # although 150 copies fill the first 100 candidates
        assert hits[0].similar == 149
        assert sum(hit.document == "one" for hit in hits) == 1
        assert sum(hit.key.startswith("key-copy") for hit in hits) == 1
    assert [hit.similar for hit in search(folder, "pizza", k=1)] == [0]


def test_equal_scores_are_ordered_by_key(
    indexed: Index, make_passage: Callable[..., IndexedPassage]
) -> None:
    folder = indexed([make_passage(name, "the very same words") for name in "cabd"])
    for mode in ("hybrid", "vector", "text"):
        keys = [hit.key for hit in search(folder, "same words", mode=mode)]
        assert keys == ["key-a", "key-b", "key-c", "key-d"]


@pytest.mark.parametrize(
    "query",
    [
        '"unbalanced',
        "a OR AND NOT (",
        "title:pizza NEAR/2 *",
        "^ - + ~",
        "'; DROP TABLE passage_1; --",
        "%s {0} \\ \x00",
        "été ☃ 日本語 تجربة",
        "???",
        "word " * 5000,
        "\ud800 lone surrogate",
    ],
)
@pytest.mark.parametrize("mode", ["hybrid", "vector", "text"])
def test_any_text_is_a_query(folder: Path, query: str, mode: str) -> None:
    assert len(search(folder, query, k=3, mode=mode)) <= 3


@pytest.mark.parametrize("query", ["", "  \n"])
def test_a_blank_query_finds_nothing(folder: Path, query: str) -> None:
    assert search(folder, query) == []


def test_operators_are_words_and_words_are_not_repeated() -> None:
    assert any_of(words_in('a AND "b" a*')) == '"a" OR "and" OR "b"'
    assert any_of(words_in("?!")) == ""


def test_marks_are_offsets_in_the_unmarked_text() -> None:
    marked = "\ufdd0one\ufdd1\n two  \ufdd0three four\ufdd1."
    assert split_marks(marked) == ("one two three four.", ((0, 3), (8, 18)))


def test_it_says_what_is_missing(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(UserError, match=f"no index here. Run: customir index {tmp_path}"):
        search(tmp_path, "x")
    shutil.copy(folder / "index.db", tmp_path)
    with pytest.raises(UserError, match="missing"):
        search(tmp_path, "x")


def test_a_truncated_or_foreign_index_is_named(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "model", tmp_path / "model")
    whole = (folder / "index.db").read_bytes()
    for spoiled in (whole[: len(whole) // 2], whole[:2000], b"x" * 10_000):
        (tmp_path / "index.db").write_bytes(spoiled)
        with pytest.raises(UserError, match=r"index\.db: damaged"):
            search(tmp_path, "pizza")
    (tmp_path / "index.db").write_bytes(b"")
    with pytest.raises(UserError, match="not an index of CustomIR"):
        search(tmp_path, "pizza")


def test_a_changed_model_is_refused(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "copy")
    onnx = tmp_path / "copy" / "model" / "onnx"
    shutil.copy(onnx / "model.onnx", onnx / "model_qint8.onnx")
    with pytest.raises(UserError, match="damaged: its SHA-256"):
        search(tmp_path / "copy", "pizza", mode="text")
    (onnx / "SHA256SUMS").unlink()
    with pytest.raises(UserError, match="made by another model"):
        search(tmp_path / "copy", "pizza", mode="text")


def test_a_fresh_process_searches_quickly_and_without_torch(folder: Path) -> None:
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from customir.runtime.search import search\n"
        "print(search(Path(sys.argv[1]), 'pizza', k=1)[0].identifier)\n"
        "heavy = {'torch', 'transformers', 'sentence_transformers', 'peft', 'onnx', 'rich'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", script, str(folder)], capture_output=True, text=True, check=True
    )
    seconds = time.perf_counter() - start
    assert done.stdout.split("\n")[:2] == ["<lunch@example.org>", "[]"]
    assert done.stderr == ""
    assert seconds < 3  # 0.6 s on two idle cores; the rest is for busy ones


@pytest.mark.parametrize("marked", [False, True])
def test_a_thin_answer_is_ranked_by_what_it_says(
    indexed: Index, make_passage: Callable[..., IndexedPassage], marked: bool
) -> None:
    thread = {"title": "Re: Razor authentication", "thread": "razor"}
    says = "The server refuses my password since I moved the home directory to another machine."
    passages = [
        make_passage("says", says, **thread),
        make_passage("thanks", "Oh yes, that sounds better.", **thread),
        make_passage("alone", "See attachment.", title="Invoice 4711"),
        *(make_passage(name, text) for name, text in TOPICS.items()),
    ]
    folder = indexed(mark_thin(passages) if marked else passages)
    in_order = ["key-says", "key-thanks"] if marked else ["key-thanks", "key-says"]
    by_words = search(folder, "razor authentication", k=2, mode="text")
    assert [hit.key for hit in by_words] == in_order
    assert search(folder, "razor authentication", k=1)[0].key == in_order[0]
    assert search(folder, "sounds better", k=1)[0].key == "key-thanks"
    assert search(folder, "invoice 4711", k=1, mode="text")[0].key == "key-alone"
    phrase = Filter(conditions=parse('"razor authentication"').conditions)
    assert len(search(folder, "authentication", only=phrase)) == 2
