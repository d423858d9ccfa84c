"""Search in an index: by vectors, by words, or by both."""

import logging
import math
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import apsw
import numpy as np
import numpy.typing as npt

from customir.errors import UserError
from customir.kernels.scan import DamagedVectorError
from customir.runtime import generations
from customir.runtime.batcher import Batcher
from customir.runtime.cache import VectorCache
from customir.runtime.embedder import DEFAULT_FILE, Embedder, fingerprint, index_fingerprint
from customir.runtime.filters import Filter
from customir.runtime.fts_tokenizer import any_of, is_compound, words_in
from customir.runtime.fusion import cosine_std, fuse, sample
from customir.runtime.generations import INDEX_NAME, MODEL_NAME
from customir.runtime.index import IndexedPassage
from customir.runtime.index_file import (
    Generation,
    connect,
    explained,
    live_generation,
    vectors,
)
from customir.runtime.reload import SharedEmbedder

Mode = Literal["hybrid", "vector", "text"]

CANDIDATES = 100  # of each ranking; more where folding leaves fewer than asked for
MOST_CANDIDATES = 4096  # sqlite-vec's own limit
EVERYTHING = Filter()
FTS5_K1 = 1.2  # of its bm25(), where it can't be set
SNIPPET_WORDS = 32
# FTS5 looks every one of them up again for every hit's snippet.
MOST_MARKED_WORDS = 32
PROGRESS_STEPS = 10_000  # of SQLite, between two looks at the clock: some milliseconds
MARK_START, MARK_END = "\ufdd0", "\ufdd1"  # noncharacters: no text holds them

log = logging.getLogger("customir")


@dataclass(frozen=True)
class Hit:
    """A passage that was found: the best one of its document, its near-duplicates, its thread.

    Attributes:
        rank: From 1.
        score: Of the mode: cosine and a share of the query's words (`fuse`), cosine, or BM25 (higher
            is better; not comparable between modes).
        in_thread: Documents of its thread in the index, its own among them.
        similar: Other documents in the index with a near-duplicate of this passage.
        snippet: The part of the text that matches the query's words best; else its beginning. Words
            that half of the passages have count only where there are no others, and of a long query
            the 32 that the fewest passages have.
        marks: (start, end) of the matching words in `snippet`, in characters.
    """

    rank: int
    score: float
    key: str
    document: str
    identifier: str
    source: str
    title: str
    sender: str
    date: str | None
    thread: str
    in_thread: int
    similar: int
    snippet: str
    marks: tuple[tuple[int, int], ...]
    text: str


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
            database.create_scalar_function("folded", _folded, 1, deterministic=True)
            made_by, own = (read(model, self._file) for read in (index_fingerprint, fingerprint))
            with explained(path):
                updating = self._generation_in(database, path, made_by).updating
        except BaseException:
            database.close()
            raise
        self.close()
        if own != self._model_fingerprint and self._model_fingerprint is not None:
            self._embedder = None
        self._path, self._model, self._database = path, model, database
        self._fingerprint, self._model_fingerprint = made_by, own
        self._vectors: VectorCache | None = None
        self._cosine_stds: dict[str, float] = {}  # by the index's state: the newest alone
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
        hits: list[Hit] = []
        if not query.strip():
            return hits
        self._follow()
        self._deadline = time.monotonic() + seconds
        try:
            return self._search(query, k, mode, only, by_thread)
        except apsw.InterruptError as error:
            raise TimeoutError(f"no answer within {seconds:g} seconds") from error
        finally:
            self._deadline = math.inf

    def _search(self, query: str, k: int, mode: Mode, only: Filter, by_thread: bool) -> list[Hit]:
        hits: list[Hit] = []
        with explained(self._path), self._database:  # one transaction: one state of the index
            generation = self._generation()
            number = generation.number
            limits = self._limits(number, query)
            depth = max(CANDIDATES, k)
            while True:
                try:
                    ranking = self._rank(generation, query, limits, mode, depth, only)
                except DamagedVectorError:
                    log.warning("%s: its vectors' cache is damaged. Making it again.", self._path)
                    self._vectors = vectors(self._database, self._path, again=True)
                    ranking = self._rank(generation, query, limits, mode, depth, only)
                best = self._fold(number, ranking, k, by_thread)
                if len(best) == k or depth >= min(self._count(number), MOST_CANDIDATES):
                    break
                depth = min(depth * 4, MOST_CANDIDATES)
            weightiest = sorted(limits, key=lambda word: -limits[word])
            marked = any_of((weightiest or words_in(query))[:MOST_MARKED_WORDS])
            hits += [
                self._hit(number, marked, rank, score, passage)
                for rank, (passage, score) in enumerate(best, start=1)
            ]
        return hits

    def count(self) -> int:
        """Passages in the index."""
        total = 0
        self._follow()
        with explained(self._path), self._database:
            total += self._count(self._generation().number)
        return total

    def thread(self, name: str) -> list[IndexedPassage]:
        """The passages of a thread, by date; none where there is no such thread."""
        passages: list[IndexedPassage] = []
        self._follow()
        with explained(self._path), self._database:
            rows = self._database.execute(
                f"SELECT * FROM passage_{self._generation().number} WHERE thread = ? "
                "ORDER BY unixepoch(date, 'subsec'), document, key",
                (name,),
            )
            passages += [IndexedPassage(*row[1:]) for row in rows]
        return passages

    def _generation(self) -> Generation:
        return self._generation_in(self._database, self._path, self._fingerprint)

    def _generation_in(self, database: apsw.Connection, path: Path, made_by: str) -> Generation:
        generation = live_generation(database)
        if generation is None:
            raise UserError(f"{path}: unfinished. Run: customir index {self._folder}")
        if generation.fingerprint != made_by:
            raise UserError(
                f"{path}: made by another model than {path.with_name(MODEL_NAME)} is now. "
                f"Run: customir index {self._folder}"
            )
        return generation

    def _count(self, number: int) -> int:
        (total,) = self._row(f"SELECT count(*) FROM passage_{number}")
        return int(total)

    def _row(self, statement: str, *values: str | int | bytes) -> Any:
        return self._database.execute(statement, values).fetchone()

    def _rank(
        self,
        generation: Generation,
        query: str,
        limits: Mapping[str, float],
        mode: Mode,
        depth: int,
        only: Filter,
    ) -> list[tuple[str, float]]:
        """(passage key, score), best first."""
        if mode == "text":
            return self._by_words(generation.number, any_of(words_in(query)), depth, only)
        (vector,) = self.embedder.encode([query], "query")
        near = self._by_vector(generation, vector, depth, only)
        if mode == "vector":
            return near
        worded = self._by_words(generation.number, any_of(limits), depth, only)
        most = sum(limits.values())
        cosines = dict(near)
        cosines |= self._cosines(
            generation.number, vector, [key for key, _ in worded if key not in cosines]
        )
        shares = {key: score / most for key, score in worded}
        return fuse(cosines, shares, self._cosine_std(generation))

    def _by_vector(
        self,
        generation: Generation,
        vector: npt.NDArray[np.float32],
        depth: int,
        only: Filter,
    ) -> list[tuple[str, float]]:
        number = generation.number
        if self._vectors is None or self._vectors.stamp != generation.stamp:
            self._vectors = vectors(self._database, self._path)
        if self._vectors is not None:
            return self._by_kernel(number, self._vectors, vector, depth, only)
        allowed, values = _allowed(number, only)
        rows = self._database.execute(
            f"SELECT key, 1 - distance FROM vector_{number} JOIN passage_{number} ON id = rowid "
            f"WHERE embedding MATCH ? AND k = ?{allowed}",
            (vector.tobytes(), min(depth, MOST_CANDIDATES), *values),
        )
        return sorted(rows, key=lambda row: (-row[1], row[0]))

    def _ids(self, number: int, only: Filter) -> npt.NDArray[np.int64] | None:
        condition, values = only.condition()
        if not condition:
            return None
        rows = self._database.execute(f"SELECT id FROM passage_{number} WHERE {condition}", values)
        return np.array([row[0] for row in rows], dtype=np.int64)

    def _by_kernel(
        self,
        number: int,
        cached: VectorCache,
        vector: npt.NDArray[np.float32],
        depth: int,
        only: Filter,
    ) -> list[tuple[str, float]]:
        among = self._ids(number, only)
        (ids,), (cosines,) = cached.nearest(vector[None], *depths(depth, len(cached.ids)), among)
        if len(ids) > depth:  # with all that equal the last one, since keys decide among these
            ids = ids[cosines >= cosines[depth - 1]]
        statement = f"SELECT key FROM passage_{number} WHERE id = ?"
        keys = [self._row(statement, identifier)[0] for identifier in ids.tolist()]
        pairs = zip(keys, cosines.tolist(), strict=False)
        return sorted(pairs, key=lambda pair: (-pair[1], pair[0]))[:depth]

    def _cosines(
        self, number: int, vector: npt.NDArray[np.float32], keys: Sequence[str]
    ) -> dict[str, float]:
        """The cosines of some passages."""
        statement = f"SELECT id FROM passage_{number} WHERE key = ?"
        ids = [self._row(statement, key)[0] for key in keys]
        if self._vectors is None:
            statement = (
                f"SELECT 1 - vec_distance_cosine(embedding, ?) FROM vector_{number} WHERE rowid = ?"
            )
            found = [self._row(statement, vector.tobytes(), each)[0] for each in ids]
        else:
            found = self._vectors.products(vector, np.array(ids, dtype=np.int64)).tolist()
        return dict(zip(keys, found, strict=True))

    def _cosine_std(self, generation: Generation) -> float:
        """The standard deviation of the cosines of the index's vectors, from a sample."""
        if generation.stamp not in self._cosine_stds:
            cached = self._vectors
            found = cached.cosine_std() if cached else self._cosine_std_in_sqlite(generation)
            self._cosine_stds = {generation.stamp: found}
        return self._cosine_stds[generation.stamp]

    def _cosine_std_in_sqlite(self, generation: Generation) -> float:
        number = generation.number
        ids = self._database.execute(f"SELECT id FROM passage_{number} ORDER BY id").fetchall()
        statement = f"SELECT embedding FROM vector_{number} WHERE rowid = ?"
        blobs = [self._row(statement, ids[place][0])[0] for place in sample(len(ids)).tolist()]
        return cosine_std(
            np.frombuffer(b"".join(blobs), np.float32).reshape(len(blobs), generation.dimensions)
        )

    def _limits(self, number: int, query: str) -> dict[str, float]:
        """What BM25 of each of the query's words approaches at most: its weight times (k1 + 1).

        Words that half of the passages have or more are not among them: FTS5 gives them no weight,
        and finding all of these passages takes the longest.
        """
        passages = self._count(number)
        statement = f"SELECT count(*) FROM words_{number} WHERE words_{number} MATCH ?"
        limits = {}
        for word in words_in(query):
            (having,) = self._row(statement, any_of([word]))
            if having < passages / 2 and (having or not is_compound(word)):
                weight = math.log((passages - having + 0.5) / (having + 0.5))
                limits[word] = weight * (FTS5_K1 + 1)
        return limits

    def _by_words(
        self, number: int, expression: str, depth: int, only: Filter
    ) -> list[tuple[str, float]]:
        if not expression:
            return []
        allowed, values = _allowed(number, only)
        rows = self._database.execute(
            f"SELECT key, -score FROM (SELECT rowid, bm25(words_{number}) AS score "
            f"FROM words_{number} WHERE words_{number} MATCH ?{allowed} "
            f"ORDER BY score, rowid LIMIT ?) JOIN passage_{number} ON id = rowid",
            (expression, *values, depth),
        )
        return sorted(rows, key=lambda row: (-row[1], row[0]))

    def _fold(
        self, number: int, ranking: Sequence[tuple[str, float]], k: int, by_thread: bool
    ) -> list[tuple[IndexedPassage, float]]:
        """The best passage of each document, near-duplicate group (and thread), up to `k`."""
        best: list[tuple[IndexedPassage, float]] = []
        documents: set[str] = set()
        groups: set[str] = set()
        threads: set[str] = set()
        for key, score in ranking:
            row = self._row(f"SELECT * FROM passage_{number} WHERE key = ?", key)
            passage = IndexedPassage(*row[1:])
            seen = passage.document in documents or passage.duplicates in groups
            if not seen and not (by_thread and passage.thread in threads):
                best.append((passage, score))
            documents.add(passage.document)
            groups.add(passage.duplicates)
            threads.add(passage.thread)
            if len(best) == k:
                break
        return best

    def _hit(
        self, number: int, marked: str, rank: int, score: float, passage: IndexedPassage
    ) -> Hit:
        (similar,) = self._row(
            f"SELECT count(DISTINCT document) FROM passage_{number} "
            "WHERE duplicates = ? AND document <> ?",
            passage.duplicates,
            passage.document,
        )
        (in_thread,) = self._row(
            f"SELECT count(DISTINCT document) FROM passage_{number} WHERE thread = ?",
            passage.thread,
        )
        snippet, marks = self._snippet(number, marked, passage)
        return Hit(
            rank=rank,
            score=score,
            key=passage.key,
            document=passage.document,
            identifier=passage.identifier,
            source=passage.source,
            title=passage.title,
            sender=passage.sender,
            date=passage.date,
            thread=passage.thread,
            in_thread=in_thread,
            similar=similar,
            snippet=snippet,
            marks=marks,
            text=passage.text,
        )

    def _snippet(
        self, number: int, expression: str, passage: IndexedPassage
    ) -> tuple[str, tuple[tuple[int, int], ...]]:
        row = (
            expression
            and self._database.execute(
                f"SELECT snippet(words_{number}, 1, ?, ?, '…', ?) FROM words_{number} "
                f"WHERE words_{number} MATCH ? "
                f"AND rowid = (SELECT id FROM passage_{number} WHERE key = ?)",
                (MARK_START, MARK_END, SNIPPET_WORDS, expression, passage.key),
            ).fetchone()
        )
        if row:
            return split_marks(row[0])
        words = passage.text.split(maxsplit=SNIPPET_WORDS)
        cut = "…" if len(words) > SNIPPET_WORDS else ""
        return " ".join(words[:SNIPPET_WORDS]) + cut, ()


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


def depths(wanted: int, vectors: int) -> tuple[int, int]:
    """For the best `wanted` of `vectors`: how many are ranked by their floats, chosen in 4 bits among
    how many that are chosen in 2. Many vectors are nearer to each other than few.

    `bench/search.py` prints how many of exact search's best ten are then found.
    """
    root = math.isqrt(vectors)
    return 2 * wanted + 20 + root // 20, 8 * wanted + root


def _folded(*values: Any) -> str:
    (text,) = values
    return str(text).casefold()


def _allowed(number: int, only: Filter) -> tuple[str, list[str | float]]:
    """A condition on row ids that leaves what `only` lets pass, and its values."""
    condition, values = only.condition()
    if not condition:
        return "", []
    return f" AND rowid IN (SELECT id FROM passage_{number} WHERE {condition})", values


def split_marks(marked: str) -> tuple[str, tuple[tuple[int, int], ...]]:
    """Text without its mark characters, and the (start, end) of what stood between them."""
    marks: list[tuple[int, int]] = []
    text = ""
    for part in re.split(f"({MARK_START}.*?{MARK_END})", " ".join(marked.split()), flags=re.S):
        if part.startswith(MARK_START):
            part = part.strip(MARK_START + MARK_END)
            marks.append((len(text), len(text) + len(part)))
        text += part
    return text, tuple(marks)
