"""Search in an index: by vectors, by words, or by both."""

import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import apsw

from customir.errors import UserError
from customir.kernels.scan import DamagedVectorError
from customir.runtime import generations
from customir.runtime.about import About, read_about
from customir.runtime.batcher import Batcher
from customir.runtime.cache import VectorCache
from customir.runtime.embedder import DEFAULT_FILE, Embedder, fingerprint, index_fingerprint
from customir.runtime.facets import Facets, count_facets
from customir.runtime.filters import EVERYTHING, Filter
from customir.runtime.fts_tokenizer import any_of, words_in
from customir.runtime.fusion import UNREADABLE_WORD_WEIGHT, WORD_WEIGHT
from customir.runtime.generations import INDEX_NAME, MODEL_NAME
from customir.runtime.hits import Best, Hit, fold, make_hits
from customir.runtime.index import IndexedPassage
from customir.runtime.index_file import Generation, connect, explained, live_generation, vectors
from customir.runtime.index_reader import MOST_NEIGHBOURS, Ids, IndexReader, Ranking, prepare
from customir.runtime.ranking import Mode, Ranker, word_weights
from customir.runtime.reload import SharedEmbedder
from customir.runtime.rights import Rights

CANDIDATES = 100  # of each ranking; more where folding leaves fewer than asked for
# FTS5 looks every one of them up again for every hit's snippet.
MOST_MARKED_WORDS = 32
PROGRESS_STEPS = 10_000  # of SQLite, between two looks at the clock: some milliseconds

Answer = TypeVar("Answer")
Rank = Callable[[int], Ranking]  # the best so many passages

log = logging.getLogger("customir")


class UnknownPassageError(UserError):
    """The index holds no passage and no document of that name."""


@dataclass(frozen=True)
class Found:
    """What a search found.

    Attributes:
        considered: How many documents the facets are counted over; 0 where they are not counted.
        facets: None where they are not counted.
    """

    hits: list[Hit]
    considered: int = 0
    facets: Facets | None = None


class Searcher:
    """An index and its model, open for searching. Use as a context manager, in one thread at a time.

    When another generation becomes DIR's current one (after `customir adapt`, `index` or
    `rollback`), the next call opens that and closes the old one. Each call is answered by one
    generation, model and index.

    Args:
        folder: DIR.
        embedder: Where there is one already, of DIR's current model, or one that several searchers
            share; None: loaded when it is needed.
        rights: What may be read; None: everything. Every answer is as if the index held nothing
            else, but for what docs/explanation/threat-model.md names.

    Attributes:
        rights: As above; may be replaced between calls.

    Raises:
        UserError: no index there, an unfinished one, one made by another model, or a damaged file.
    """

    def __init__(
        self,
        folder: Path,
        file: str = DEFAULT_FILE,
        threads: int | None = None,
        embedder: Embedder | Batcher | SharedEmbedder | None = None,
        rights: Rights | None = None,
    ) -> None:
        self.rights = rights
        self._folder, self._file, self._threads = folder, file, threads
        self._shared = embedder if isinstance(embedder, SharedEmbedder) else None
        self._embedder = None if isinstance(embedder, SharedEmbedder) else embedder
        self._model_fingerprint: str | None = None
        self._deadline = math.inf  # by time.monotonic
        self._open()

    def _open(self) -> None:
        """Open DIR's current generation. Where another one replaces it meanwhile, open that."""
        _, self._stamp = generations.on_current(self._folder, self._open_generation)

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
        vector: cosine. text: FTS5's BM25 over title and text, any of the query's words;
        of thin passages (`mark_thin`) over the text alone.
        Equal scores are ordered by passage key. For a blank query and a filter, what fulfils the
        filter, the newest first; for a blank query alone, nothing.

        With a scan kernel, some times as many vectors as are wanted (`depths`) are chosen in 2 bits,
        of these some in 4 bits, which are then ranked by their exact cosines; without one, sqlite-vec looks at every float.

        Args:
            query: Any text; no character in it is special. `customir.runtime.query.parse` takes
                operators out of what a person typed.
            only: What may be found. The ranking is as if the index held nothing else.
            by_thread: One hit per thread, the best.
            seconds: How long it may take.

        Raises:
            TimeoutError: it took longer.
            UserError: the index was damaged, or rebuilt for another model, since it was opened.
        """
        return self.search_with_facets(query, k, mode, only, by_thread, seconds, count=False).hits

    def search_with_facets(
        self,
        query: str,
        k: int = 10,
        mode: Mode = "hybrid",
        only: Filter = EVERYTHING,
        by_thread: bool = False,
        seconds: float = math.inf,
        *,
        count: bool = True,
    ) -> Found:
        """As `search`, with the facets of all documents that were ranked.

        Those are, where there is a query, the candidates of the ranking: the documents of the best
        100 passages by cosine and of the best 100 by BM25 in the mode hybrid, of the best 100 in the
        others, and more where `k` is larger. Without a query they are all that fulfil the filter.
        The counts are exact over these documents.

        Args:
            count: Whether facets are counted.
        """
        if not query.strip() and only == EVERYTHING:
            return Found([], 0, count_facets(()))

        def work(reader: IndexReader) -> Found:
            weights = word_weights(reader, query)
            if query.strip():
                rank = self._ranked_by(reader, query, weights, mode, reader.ids(only))
                best, ranking = self._best(reader, rank, k, by_thread)
            else:
                ranking = [(key, 0.0) for key in reader.newest(only)]
                best = fold(reader, ranking, k, by_thread=by_thread)
            marked = sorted(weights, key=lambda word: -weights[word]) or words_in(query)
            hits = make_hits(reader, best, any_of(marked[:MOST_MARKED_WORDS]))
            if not count:
                return Found(hits)
            documents = reader.documents(key for key, _ in ranking)
            return Found(hits, len(documents), count_facets(documents))

        return self._read(work, seconds)

    def similar(
        self,
        name: str,
        k: int = 10,
        only: Filter = EVERYTHING,
        by_thread: bool = False,
        seconds: float = math.inf,
        *,
        same_thread: bool = False,
    ) -> list[Hit]:
        """The `k` passages most like one of the index, by the cosine of their vectors.

        The passage itself, others of its document and its near-duplicates are not among them.

        Args:
            name: Key of a passage; or the key or identifier of a document, whose first passage is
                taken. A Message-ID may lack its brackets.
            only, by_thread, seconds: As in `search`.
            same_thread: Whether passages of its own thread may be found.

        Raises:
            UnknownPassageError: the index holds none of this name.
            TimeoutError, UserError: as `search`.
        """

        def work(reader: IndexReader) -> list[Hit]:
            passage = reader.find(name)
            if passage is None:
                raise UnknownPassageError(
                    f"{self._folder}: no document or passage is called {name}. "
                    "`customir search DIR QUERY` prints identifiers."
                )
            left_out = reader.alike(passage)
            left_out |= set() if same_thread else reader.in_thread(passage)
            (vector,) = reader.vectors(reader.ids_of([passage.key]))

            among = reader.ids(only)

            def rank(depth: int) -> Ranking:
                near = self._ranker(reader, among).by_vector(vector, depth + len(left_out))
                return [pair for pair in near if pair[0] not in left_out][:depth]

            best, _ = self._best(reader, rank, k, by_thread)
            return make_hits(reader, best, "")

        return self._read(work, seconds)

    def about(self, seconds: float = math.inf) -> About:
        """What the index holds. Raises as `search`."""
        return self._read(read_about, seconds)

    def count(self) -> int:
        """Passages in the index."""
        return self._read(lambda reader: reader.count())

    def thread(self, name: str) -> list[IndexedPassage]:
        """The passages of a thread, by date; none if there is no such thread."""
        return self._read(lambda reader: [reader.shown(passage) for passage in reader.thread(name)])

    def _read(self, work: Callable[[IndexReader], Answer], seconds: float = math.inf) -> Answer:
        """What `work` reads of one state of the index, that of DIR's current generation.

        Raises:
            TimeoutError: it took longer than `seconds`.
            UserError: the index was damaged, or rebuilt for another model, since it was opened.
        """
        while True:
            self._follow()
            try:
                return self._read_once(work, seconds)
            except (UserError, FileNotFoundError):
                # The model and the vectors' cache are opened when they are first needed. By then,
                # another generation may have taken the place of this one, and its files be gone.
                if generations.stamp(self._folder) == self._stamp:
                    raise

    def _read_once(self, work: Callable[[IndexReader], Answer], seconds: float) -> Answer:
        self._deadline = time.monotonic() + seconds
        answers: list[Answer] = []
        try:
            with explained(self._path), self._database:  # one transaction
                generation = _live(self._database, self._path, self._fingerprint)
                answers.append(work(IndexReader(self._database, generation, self.rights)))
        except apsw.InterruptError as error:
            raise TimeoutError(f"no answer within {seconds:g} seconds") from error
        finally:
            self._deadline = math.inf
        return answers[0]

    def _ranked_by(
        self,
        reader: IndexReader,
        query: str,
        weights: Mapping[str, float],
        mode: Mode,
        among: Ids | None,
    ) -> Rank:
        if mode == "text":
            words = words_in(query)
            return lambda depth: Ranker(reader, None, among).by_words(words, depth)
        (vector,) = self.embedder.encode([query], "query")
        if mode == "vector":
            return lambda depth: self._ranker(reader, among).by_vector(vector, depth)
        readable = self.embedder.reads(query)
        word_weight = WORD_WEIGHT if readable else UNREADABLE_WORD_WEIGHT
        return lambda depth: self._ranker(reader, among).by_both(
            vector, weights, depth, word_weight
        )

    def _best(
        self, reader: IndexReader, rank: Rank, k: int, by_thread: bool
    ) -> tuple[Best, Ranking]:
        """The `k` best passages, folded, and the ranking that they are taken from."""
        depth = max(CANDIDATES, k)
        while True:
            try:
                ranking = rank(depth)
            except DamagedVectorError:
                log.warning("%s: its vectors' cache is damaged. Making it again.", self._path)
                self._vectors = vectors(self._database, self._path, again=True)
                ranking = rank(depth)
            best = fold(reader, ranking, k, by_thread=by_thread)
            if len(best) == k or len(ranking) < depth or depth >= MOST_NEIGHBOURS:
                return best, ranking
            depth = min(depth * 4, MOST_NEIGHBOURS)

    def _ranker(self, reader: IndexReader, among: Ids | None) -> Ranker:
        if self._vectors is None or self._vectors.stamp != reader.generation.stamp:
            self._vectors = vectors(self._database, self._path)
        return Ranker(reader, self._vectors, among)


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
