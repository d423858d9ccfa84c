"""The vectors' cache beside the index: used, noticed to be wrong, and made again."""

import logging
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import apsw
import numpy as np
import pytest
from customir.kernels.scan import DamagedVectorError, best_kernel

from customir.errors import UserError
from customir.progress import Silent
from customir.runtime import cache, index_file, search
from customir.runtime.cache import VectorCache
from customir.runtime.embedder import Embedder
from customir.runtime.filters import Filter
from customir.runtime.hits import Hit
from customir.runtime.index import IndexedPassage, build_index, connect
from customir.runtime.index_file import CHECKSUMS
from customir.runtime.search import Searcher

needs_kernel = pytest.mark.skipif(best_kernel() is None, reason="no scan kernel was compiled")


@pytest.fixture(scope="module")
def made(
    model: Path,
    passages: list[IndexedPassage],
    make_passage: Callable[..., IndexedPassage],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """Passages of several senders, sources and dates, two without a date."""
    folder = tmp_path_factory.mktemp("cache")
    shutil.copytree(model, folder / "model")
    more = [
        make_passage(
            f"more{number}",
            f"Minutes of meeting {number}: the budget, the outage and the contract.",
            sender=("Bob <bob@example.org>", "ÉVA <eva@example.org>")[number % 2],
            source=("/data/box.mbox", "/data/notes")[number % 3 == 0],
            identifier=("inbox/a.eml", "inbox2/b.eml")[number % 2],
            date=None if number < 2 else f"2003-01-{number:02}T23:30:00-02:00",
            thread=f"thread-more{number // 4}",
        )
        for number in range(20)
    ]
    build_index(folder / "index.db", [*passages, *more], Embedder(model), Silent())
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "copy"))


@pytest.fixture
def without_kernel(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    return lambda: monkeypatch.setattr(index_file, "best_kernel", lambda: None)


def found(folder: Path, query: str = "budget contract", **options: object) -> list[Hit]:
    with Searcher(folder) as searcher:
        return searcher.search(query, 30, "vector", **options)  # type: ignore[arg-type]


def keys(hits: list[Hit]) -> list[str]:
    return [hit.key for hit in hits]


@needs_kernel
def test_the_kernel_finds_what_sqlite_vec_finds(
    folder: Path, without_kernel: Callable[[], None]
) -> None:
    assert (folder / cache.CACHE_NAME).stat().st_mode & 0o777 == 0o600
    queries = ("budget", "outage of the server", "Éva", "x")
    ours = [found(folder, query) for query in queries]
    (folder / cache.CACHE_NAME).unlink()
    without_kernel()
    theirs = [found(folder, query) for query in queries]
    assert not (folder / cache.CACHE_NAME).exists()
    for left, right in zip(ours, theirs, strict=True):
        assert keys(left) == keys(right)
        np.testing.assert_allclose(
            [hit.score for hit in left], [hit.score for hit in right], atol=1e-6
        )


FILTERS: list[tuple[Filter, Callable[[IndexedPassage], bool]]] = [
    (Filter(sender="BOB"), lambda one: "Bob" in one.sender),
    (Filter(sender="éva"), lambda one: "ÉVA" in one.sender),
    (Filter(source="box.mbox"), lambda one: one.source == "/data/box.mbox"),
    (Filter(source="/data/notes"), lambda one: one.source == "/data/notes"),
    (Filter(source="notes/inbox"), lambda one: one.source + one.identifier == "/data/notesinbox/a.eml"),
    (Filter(source="box"), lambda one: False),
    # 23:30 two hours west of Greenwich is the next day in UTC.
    (Filter(since="2003-01-10"), lambda one: (one.date or "") >= "2003-01-09"),
    (Filter(until="2003-01-10"), lambda one: bool(one.date) and one.date < "2003-01-10"),
    (
        Filter(since="2003-01-06T01:30", until="2003-01-07T01:30:00+00:00", sender="example"),
        lambda one: (one.date or "")[:10] in ("2003-01-05", "2003-01-06"),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("only", "passes"), FILTERS, ids=[str(only)[:60] for only, _ in FILTERS])
@pytest.mark.parametrize("kernel", [pytest.param(True, marks=needs_kernel), False])
@pytest.mark.parametrize("mode", ["vector", "text", "hybrid"])
def test_filters_are_exact(
    made: Path,
    only: Filter,
    passes: Callable[[IndexedPassage], bool],
    kernel: bool,
    mode: str,
    without_kernel: Callable[[], None],
) -> None:
    if not kernel:
        without_kernel()
    with closing(connect(made / "index.db")) as database:
        rows = list(database.execute("SELECT * FROM passage_1"))
    held = [IndexedPassage(*row[1:]) for row in rows]
    expected = {one.key for one in held if passes(one)}
    query = "budget budgets minutes mail meeting server pizza r office passwords interview contract"
    with Searcher(made) as searcher:
        hits = searcher.search(query, 30, mode, only)  # type: ignore[arg-type]
        everything = searcher.search(query, 30, mode)  # type: ignore[arg-type]
    assert len(everything) == 28
    assert set(keys(hits)) == expected
    assert keys(hits) == [key for key in keys(everything) if key in expected]


def test_what_is_no_date_is_named() -> None:
    with pytest.raises(UserError, match="yesterday: not a date"):
        Filter(since="yesterday")


def test_one_hit_a_thread(made: Path) -> None:
    every = found(made)
    grouped = found(made, by_thread=True)
    best: dict[str, Hit] = {}
    for hit in every:
        best.setdefault(hit.thread, hit)
    assert keys(grouped) == keys(list(best.values()))
    assert {hit.in_thread for hit in grouped if hit.thread.startswith("thread-more")} == {4}
    with Searcher(made) as searcher:
        thread = searcher.thread("thread-more1")
    assert [one.key for one in thread] == [f"key-more{number}" for number in (4, 5, 6, 7)]


def flip(place: int) -> Callable[[Path], None]:
    def spoil(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[place] ^= 1
        path.write_bytes(content)

    return spoil


@needs_kernel
@pytest.mark.parametrize(
    "spoil",
    [
        flip(4096),
        flip(2 * 4096),
        flip(3 * 4096 + 100),
        flip(4 * 4096 + 1000),
        flip(5 * 4096 + 1000),
        flip(-100),
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: path.write_bytes(path.read_bytes()[:100]),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"{}" + b" " * 5000),
        lambda path: path.unlink(),
    ],
    ids=[
        "id",
        "checksum",
        "step",
        "codes",
        "residuals",
        "float",
        "cut",
        "header cut",
        "empty",
        "header",
        "missing",
    ],
)
def test_a_spoilt_cache_is_made_again(folder: Path, spoil: Callable[[Path], None]) -> None:
    path = folder / cache.CACHE_NAME
    before, hits = path.read_bytes(), found(folder)
    spoil(path)
    assert found(folder) == hits
    assert path.read_bytes() == before


@needs_kernel
def test_no_flipped_bit_in_the_cache_changes_an_answer(folder: Path, model: Path) -> None:
    path, embedder = folder / cache.CACHE_NAME, Embedder(model)
    whole, hits = path.read_bytes(), found(folder)
    chance = random.Random(8)
    for position in [*range(100), *(chance.randrange(len(whole)) for _ in range(100))]:
        flip(position)(path)
        with Searcher(folder, embedder=embedder) as searcher:
            assert searcher.search("budget contract", 30, "vector") == hits, position
        path.write_bytes(whole)


@needs_kernel
def test_the_cache_of_another_index_is_not_used(
    folder: Path, made: Path, model: Path, passages: list[IndexedPassage], tmp_path: Path
) -> None:
    hits = found(folder)
    build_index(tmp_path / "other" / "index.db", passages, Embedder(model), Silent())
    shutil.copy(tmp_path / "other" / cache.CACHE_NAME, folder / cache.CACHE_NAME)
    assert found(folder) == hits


@needs_kernel
def test_the_cache_follows_the_index(folder: Path, model: Path, made: Path) -> None:
    shutil.copy(folder / cache.CACHE_NAME, folder / "old")
    with closing(connect(folder / "index.db")) as database:
        held = [IndexedPassage(*row[1:]) for row in database.execute("SELECT * FROM passage_1")]
    changed = [replace(held[0], text="Entirely about hedgehogs."), *held[2:]]
    with Searcher(folder) as searcher:
        searcher.search("hedgehogs", 5, "vector")
        build_index(folder / "index.db", changed, Embedder(model), Silent())
        assert searcher.search("hedgehogs", 5, "vector")[0].key == held[0].key
        assert held[1].key not in keys(searcher.search("budget", 30, "vector"))
    expected = found(folder)
    shutil.copy(folder / "old", folder / cache.CACHE_NAME)  # of the index as it was
    assert found(folder) == expected


@needs_kernel
def test_the_cache_of_a_deleted_index_is_not_used(folder: Path, model: Path) -> None:
    with closing(connect(folder / "index.db")) as database:
        held = [IndexedPassage(*row[1:]) for row in database.execute("SELECT * FROM passage_1")]
    for path in folder.glob("index.db*"):
        path.unlink()
    build_index(folder / "index.db", held[5:], Embedder(model), Silent())
    assert set(keys(found(folder))) == {one.key for one in held[5:]}


@needs_kernel
def test_where_it_cannot_be_written_search_goes_on(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    expected = found(folder)
    (folder / cache.CACHE_NAME).unlink()
    (folder / f"{cache.CACHE_NAME}.part").mkdir()
    with caplog.at_level(logging.WARNING):
        assert found(folder) == expected
    assert "cannot be written (Is a directory)" in caplog.text


SEARCH_WITH_LITTLE_ROOM = """
import resource, signal, sys
from pathlib import Path
from customir.runtime.search import Searcher

with Searcher(Path(sys.argv[1])) as searcher:
    searcher.embedder
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # then the write fails, as on a full disk
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, resource.RLIM_INFINITY))
    for hit in searcher.search("budget contract", 30, "vector"):
        print(hit.key)
"""


@needs_kernel
def test_on_a_full_disk_search_goes_on_and_leaves_no_half_file(folder: Path) -> None:
    expected = keys(found(folder))
    (folder / cache.CACHE_NAME).unlink()
    done = subprocess.run(
        [sys.executable, "-c", SEARCH_WITH_LITTLE_ROOM, str(folder)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == expected
    assert "cannot be written (File too large)" in done.stderr
    assert not list(folder.glob(f"{cache.CACHE_NAME}*"))
    assert keys(found(folder)) == expected
    assert (folder / cache.CACHE_NAME).exists()


@needs_kernel
def test_only_the_best_are_looked_at_in_floats(
    made: Path, monkeypatch: pytest.MonkeyPatch, without_kernel: Callable[[], None]
) -> None:
    monkeypatch.setattr(search, "CANDIDATES", 3)
    inner, looked_at = VectorCache.nearest, []

    def nearest(*given: object) -> object:
        found = inner(*given)  # type: ignore[arg-type]
        looked_at.append(found[0].size)
        return found

    monkeypatch.setattr(VectorCache, "nearest", nearest)
    with Searcher(made) as searcher:
        ours = searcher.search("budget", 3, "vector")
    assert looked_at == [26]
    without_kernel()
    assert keys(ours) == keys(found(made, "budget"))[:3]


@needs_kernel
def test_products_with_single_passages_are_exact_and_checked(tmp_path: Path) -> None:
    floats = np.random.default_rng(0).standard_normal((50, 16)).astype(np.float32)
    held = cache.build(
        tmp_path / "x", "s", 16, lambda: ((3 * n, row.tobytes()) for n, row in enumerate(floats))
    )
    np.testing.assert_array_equal(
        held.products(floats[7], np.array([12, 3, 147])), floats[[4, 1, 49]] @ floats[7]
    )
    assert held.products(floats[7], np.array([], dtype=np.int64)).shape == (0,)
    spoilt = floats.copy()
    spoilt.view(np.uint8)[4, 9] ^= 1
    damaged = replace(held, floats=spoilt)
    damaged.products(floats[7], np.array([3]))
    with pytest.raises(DamagedVectorError):
        damaged.products(floats[7], np.array([3, 12]))


def test_an_index_of_another_format_is_named(
    folder: Path, model: Path, passages: list[IndexedPassage]
) -> None:
    for version, said in (
        (3, r"earlier version of CustomIR \(format 3;.*customir index --out"),
        (99, r"later version of CustomIR \(format 99;.*Install that version"),
    ):
        with closing(apsw.Connection(str(folder / "index.db"), vfs=CHECKSUMS)) as database:
            database.pragma("user_version", version)
        with pytest.raises(UserError, match=said):
            found(folder)
        with pytest.raises(UserError, match=said):
            build_index(folder / "index.db", passages, Embedder(model), Silent())


def test_a_locked_database_is_named(
    folder: Path, model: Path, passages: list[IndexedPassage], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_file, "BUSY_MILLISECONDS", 100)
    with closing(apsw.Connection(str(folder / "index.db"))) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(UserError, match=r"index\.db: in use by another process"):
            build_index(folder / "index.db", passages[:3], Embedder(model), Silent())
        assert found(folder)  # readers go on
