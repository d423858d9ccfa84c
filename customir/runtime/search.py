"""Search in an index: by vectors, by words, or by both."""

import logging
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import apsw

from customir.errors import UserError
from customir.kernels.scan import DamagedVectorError
from customir.runtime import generations
from customir.runtime.batcher import Batcher
from customir.runtime.cache import VectorCache
from customir.runtime.embedder import DEFAULT_FILE, Embedder, fingerprint, index_fingerprint
from customir.runtime.filters import EVERYTHING, Filter
from customir.runtime.fts_tokenizer import any_of, words_in
from customir.runtime.generations import INDEX_NAME, MODEL_NAME
from customir.runtime.hits import Hit, fold, make_hits
from customir.runtime.index import IndexedPassage
from customir.runtime.index_file import Generation, connect, explained, live_generation, vectors
from customir.runtime.index_reader import MOST_NEIGHBOURS, IndexReader, Ranking, prepare
from customir.runtime.ranking import Mode, Ranker, word_weights
from customir.runtime.reload import SharedEmbedder

CANDIDATES = 100  # of each ranking; more where folding leaves fewer than asked for
# FTS5 looks every one of them up again for every hit's snippet.
MOST_MARKED_WORDS = 32
PROGRESS_STEPS = 10_000  # of SQLite, between two looks at the clock: some milliseconds

Answer = TypeVar("Answer")

log = logging.getLogger("customir")


class Searcher:
    """An index and its model, open for searching. Use as a context manager, in one thread at a time.

    When another generation becomes DIR's current one (after `customir adapt`, `index` or
    `rollback`), the next call opens that and closes the old one. Each call is answered by one
    generation, model and index.

    Args:
        folder: DIR.
        embedder: Where there is one already, of DIR's current model, or one that several searchers
            share; None: loaded when it is needed.

    Raises:
        UserError: no index there, an unfinished one, one made by another model, or a damaged file.
    """

    def __init__(
        self,
        folder: Path,
        file: str = DEFAULT_FILE,
        threads: int | None = None,
        embedder: Embedder | Batcher | SharedEmbedder | None = None,
    ) -> None:
        self._folder, self._file, self._threads = folder, file, threads
        self._shared = embedder if isinstance(embedder, SharedEmbedder) else None
        self._embedder = None if isinstance(embedder, SharedEmbedder) else embedder
        self._model_fingerprint: str | None = None
        self._deadline = math.inf  # by time.monotonic
        self._open()

    def _open(self) -> None:
        """Open DIR's current generation. Where another one replaces it meanwhile, open that."""
        while True:
            stamp = generations.stamp(self._folder)
            try:
                self._open_generation(generations.current(self._folder))
            except (UserError, OSError):
                if generations.stamp(self._folder) == stamp:
                    raise
            else:
                self._stamp = stamp
                return

    def _open_generation(self, generation: Path) -> None:
        path, model = generation / INDEX_NAME, generation / MODEL_NAME
        with explained(path):
            database = connect(path)
        try:
            database.set_progress_handler(lambda: time.monotonic() > self._deadline, PROGRESS_STEPS)
            prepare(database)
            made_by, own = (read(model, self._file) for read in (index_fingerprint, fingerprint))
            with explained(path):
                updating = _live(database, path, made_by).updating
        except BaseException:
            database.close()
            raise
        self.close()
        if own != self._model_fingerprint and self._model_fingerprint is not None:
            self._embedder = None
        self._path, self._model, self._database = path, model, database
        self._fingerprint, self._model_fingerprint = made_by, own
        self._vectors: VectorCache | None = None
        if updating:
            log.warning(
                "%s: an update is under way or was cut short; new documents may be missing. "
                "Run: customir index %s",
                path,
                self._folder,
            )

    def _follow(self) -> None:
        """Open DIR's current generation, where that is not the open one."""
        if generations.stamp(self._folder) != self._stamp:
            self._open()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the index."""
        if hasattr(self, "_database"):
            self._database.close()

    @property
    def embedder(self) -> Embedder | Batcher:
        """The model of the open generation, loaded when it is first asked for."""
        if self._embedder is None:
            self._embedder = (
                self._shared.of(self._model)
                if self._shared
                else Embedder(self._model, self._file, self._threads)
            )
        return self._embedder

    def search(
        self,
        query: str,
        k: int = 10,
        mode: Mode = "hybrid",
        only: Filter = EVERYTHING,
        by_thread: bool = False,
        seconds: float = math.inf,
    ) -> list[Hit]:
        """The `k` best hits (or fewer, where the index holds no more).

        hybrid: the best 100 by cosine and the best 100 by BM25, by both (`fuse`).
        vector: cosine. text: FTS5's BM25 over title and text, any of the query's words.
        Equal scores are ordered by passage key. A blank query finds nothing.

        With a scan kernel, some times as many vectors as are wanted (`depths`) are chosen in 2 bits,
        of these some in 4 bits, which are then ranked by their exact cosines; without one, sqlite-vec looks at every float.

        Args:
            query: Any text; no character in it is special.
            only: What may be found. The ranking is as if the index held nothing else.
            by_thread: One hit a thread, the best.
            seconds: How long it may take.

        Raises:
            TimeoutError: it took longer.
            UserError: the index was damaged, or rebuilt for another model, since it was opened.
        """
        if not query.strip():
            return []
        return self._read(
            lambda reader: self._search(reader, query, k, mode, only, by_thread), seconds
        )

    def count(self) -> int:
        """Passages in the index."""
        return self._read(lambda reader: reader.count())

    def thread(self, name: str) -> list[IndexedPassage]:
        """The passages of a thread, by date; none if there is no such thread."""
        return self._read(lambda reader: reader.thread(name))

    def _read(self, work: Callable[[IndexReader], Answer], seconds: float = math.inf) -> Answer:
        """What `work` reads of one state of the index, that of DIR's current generation.

        Raises:
            TimeoutError: it took longer than `seconds`.
            UserError: the index was damaged, or rebuilt for another model, since it was opened.
        """
        self._follow()
        self._deadline = time.monotonic() + seconds
        answers: list[Answer] = []
        try:
            with explained(self._path), self._database:  # one transaction
                generation = _live(self._database, self._path, self._fingerprint)
                answers.append(work(IndexReader(self._database, generation)))
        except apsw.InterruptError as error:
            raise TimeoutError(f"no answer within {seconds:g} seconds") from error
        finally:
            self._deadline = math.inf
        return answers[0]

    def _search(
        self, reader: IndexReader, query: str, k: int, mode: Mode, only: Filter, by_thread: bool
    ) -> list[Hit]:
        weights = word_weights(reader, query)
        depth = max(CANDIDATES, k)
        while True:
            ranking = self._rank(reader, query, weights, mode, depth, only)
            best = fold(reader, ranking, k, by_thread=by_thread)
            if len(best) == k or depth >= min(reader.count(), MOST_NEIGHBOURS):
                break
            depth = min(depth * 4, MOST_NEIGHBOURS)
        weightiest = sorted(weights, key=lambda word: -weights[word])
        return make_hits(reader, best, any_of((weightiest or words_in(query))[:MOST_MARKED_WORDS]))

    def _rank(
        self,
        reader: IndexReader,
        query: str,
        weights: Mapping[str, float],
        mode: Mode,
        depth: int,
        only: Filter,
    ) -> Ranking:
        if mode == "text":
            return Ranker(reader, None, only).by_words(words_in(query), depth)
        (vector,) = self.embedder.encode([query], "query")

        def rank(ranker: Ranker) -> Ranking:
            if mode == "vector":
                return ranker.by_vector(vector, depth)
            return ranker.by_both(vector, weights, depth)

        try:
            return rank(Ranker(reader, self._cached_vectors(reader.generation), only))
        except DamagedVectorError:
            log.warning("%s: its vectors' cache is damaged. Making it again.", self._path)
            self._vectors = vectors(self._database, self._path, again=True)
            return rank(Ranker(reader, self._vectors, only))

    def _cached_vectors(self, generation: Generation) -> VectorCache | None:
        if self._vectors is None or self._vectors.stamp != generation.stamp:
            self._vectors = vectors(self._database, self._path)
        return self._vectors


def search(
    folder: Path,
    query: str,
    k: int = 10,
    mode: Mode = "hybrid",
    only: Filter = EVERYTHING,
    by_thread: bool = False,
) -> list[Hit]:
    """Open DIR, search once, close it. See `Searcher`."""
    with Searcher(folder) as searcher:
        return searcher.search(query, k, mode, only, by_thread)


def _live(database: apsw.Connection, path: Path, made_by: str) -> Generation:
    """The generation that is to be searched.

    Args:
        made_by: Fingerprint of the model beside the index.

    Raises:
        UserError: there is none, or another model made it.
    """
    folder = generations.owner(path.parent)
    generation = live_generation(database)
    if generation is None:
        raise UserError(f"{path}: unfinished. Run: customir index {folder}")
    if generation.fingerprint != made_by:
        raise UserError(
            f"{path}: made by another model than {path.with_name(MODEL_NAME)} is now. "
            f"Run: customir index {folder}"
        )
    return generation
