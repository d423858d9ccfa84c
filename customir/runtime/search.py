"""Search in an index: by vectors, by words, or by both."""

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from customir.errors import UserError
from customir.runtime.embedder import DEFAULT_FILE, Embedder, fingerprint
from customir.runtime.fusion import reciprocal_rank_fusion
from customir.runtime.index import (
    INDEX_NAME,
    Generation,
    IndexedPassage,
    connect,
    explained,
    live_generation,
)

Mode = Literal["hybrid", "vector", "text"]

MODEL_NAME = "model"
CANDIDATES = 100  # of each ranking; more where folding leaves fewer than asked for
MOST_CANDIDATES = 4096  # sqlite-vec's own limit
SNIPPET_WORDS = 32
MARK_START, MARK_END = "\ufdd0", "\ufdd1"  # noncharacters: no text holds them

log = logging.getLogger("customir")


@dataclass(frozen=True)
class Hit:
    """A passage that was found: the best one of its document and of its near-duplicates.

    Attributes:
        rank: From 1.
        score: Of the mode: RRF score, cosine, or BM25 (higher is better; not comparable between
            modes).
        similar: Other documents in the index with a near-duplicate of this passage.
        snippet: The part of the text that matches the query's words best; else its beginning.
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
    similar: int
    snippet: str
    marks: tuple[tuple[int, int], ...]
    text: str


class Searcher:
    """An index and its model, open for searching. Use as a context manager.

    Args:
        folder: DIR, with DIR/index.db and DIR/model.

    Raises:
        UserError: no index there, an unfinished one, one made by another model, or a damaged file.
    """

    def __init__(self, folder: Path, file: str = DEFAULT_FILE, threads: int | None = None) -> None:
        self._folder, self._file, self._threads = folder, file, threads
        self._path = folder / INDEX_NAME
        self._embedder: Embedder | None = None
        with explained(self._path):
            self._database = connect(self._path)
        try:
            self._fingerprint = fingerprint(folder / MODEL_NAME, file)
            with explained(self._path):
                updating = self._generation().updating
        except BaseException:
            self.close()
            raise
        if updating:
            log.warning(
                "%s: an update is under way or was cut short; new documents may be missing. "
                "Run: customir index %s",
                self._path,
                folder,
            )

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
        self._database.close()

    def search(self, query: str, k: int = 10, mode: Mode = "hybrid") -> list[Hit]:
        """The `k` best hits (or fewer, where the index holds no more).

        hybrid: reciprocal rank fusion of the best 100 by cosine and the best 100 by BM25.
        vector: exact cosine. text: FTS5's BM25 over title and text, any of the query's words.
        Equal scores are ordered by passage key. A blank query finds nothing.

        Args:
            query: Any text; no character in it is special.

        Raises:
            UserError: the index was damaged, or rebuilt for another model, since it was opened.
        """
        hits: list[Hit] = []
        if not query.strip():
            return hits
        with explained(self._path), self._database:  # one transaction: one state of the index
            number = self._generation().number
            (total,) = self._row(f"SELECT count(*) FROM passage_{number}")
            depth = max(CANDIDATES, k)
            while True:
                ranking = self._rank(number, query, mode, depth)
                best = self._fold(number, ranking, k)
                if len(best) == k or depth >= min(total, MOST_CANDIDATES):
                    break
                depth = min(depth * 4, MOST_CANDIDATES)
            hits += [
                self._hit(number, query, rank, score, passage)
                for rank, (passage, score) in enumerate(best, start=1)
            ]
        return hits

    def _generation(self) -> Generation:
        generation = live_generation(self._database)
        if generation is None:
            raise UserError(f"{self._path}: unfinished. Run: customir index {self._folder}")
        if generation.fingerprint != self._fingerprint:
            raise UserError(
                f"{self._path}: made by another model than {self._folder / MODEL_NAME} is now. "
                f"Run: customir index {self._folder}"
            )
        return generation

    def _row(self, statement: str, *values: str | int) -> Any:
        return self._database.execute(statement, values).fetchone()

    def _rank(self, number: int, query: str, mode: Mode, depth: int) -> list[tuple[str, float]]:
        """(passage key, score), best first."""
        if mode == "vector":
            return self._by_vector(number, query, depth)
        if mode == "text":
            return self._by_words(number, query, depth)
        rankings = [self._by_vector(number, query, depth), self._by_words(number, query, depth)]
        return reciprocal_rank_fusion([[key for key, _ in ranking] for ranking in rankings])

    def _by_vector(self, number: int, query: str, depth: int) -> list[tuple[str, float]]:
        if self._embedder is None:
            self._embedder = Embedder(self._folder / MODEL_NAME, self._file, self._threads)
        (vector,) = self._embedder.encode([query], "query")
        rows = self._database.execute(
            f"SELECT key, 1 - distance FROM vector_{number} JOIN passage_{number} ON id = rowid "
            "WHERE embedding MATCH ? AND k = ?",
            (vector.tobytes(), min(depth, MOST_CANDIDATES)),
        )
        return sorted(rows, key=lambda row: (-row[1], row[0]))

    def _by_words(self, number: int, query: str, depth: int) -> list[tuple[str, float]]:
        expression = any_word(query)
        if not expression:
            return []
        rows = self._database.execute(
            f"SELECT key, -score FROM (SELECT rowid, bm25(words_{number}) AS score "
            f"FROM words_{number} WHERE words_{number} MATCH ? ORDER BY score, rowid LIMIT ?) "
            f"JOIN passage_{number} ON id = rowid",
            (expression, depth),
        )
        return sorted(rows, key=lambda row: (-row[1], row[0]))

    def _fold(
        self, number: int, ranking: Sequence[tuple[str, float]], k: int
    ) -> list[tuple[IndexedPassage, float]]:
        """The best passage of each document and of each near-duplicate group, up to `k`."""
        best: list[tuple[IndexedPassage, float]] = []
        documents: set[str] = set()
        groups: set[str] = set()
        for key, score in ranking:
            row = self._row(f"SELECT * FROM passage_{number} WHERE key = ?", key)
            passage = IndexedPassage(*row[1:])
            if passage.document not in documents and passage.duplicates not in groups:
                best.append((passage, score))
            documents.add(passage.document)
            groups.add(passage.duplicates)
            if len(best) == k:
                break
        return best

    def _hit(
        self, number: int, query: str, rank: int, score: float, passage: IndexedPassage
    ) -> Hit:
        (similar,) = self._row(
            f"SELECT count(DISTINCT document) FROM passage_{number} "
            "WHERE duplicates = ? AND document <> ?",
            passage.duplicates,
            passage.document,
        )
        snippet, marks = self._snippet(number, query, passage)
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
            similar=similar,
            snippet=snippet,
            marks=marks,
            text=passage.text,
        )

    def _snippet(
        self, number: int, query: str, passage: IndexedPassage
    ) -> tuple[str, tuple[tuple[int, int], ...]]:
        expression = any_word(query)
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


def search(folder: Path, query: str, k: int = 10, mode: Mode = "hybrid") -> list[Hit]:
    """Open DIR, search once, close it. See `Searcher`."""
    with Searcher(folder) as searcher:
        return searcher.search(query, k, mode)


def any_word(query: str) -> str:
    """An FTS5 expression that matches any of the query's words; empty where it has none.

    Each word stands in quotes, so that nothing a user types is read as an operator.
    """
    words = dict.fromkeys(re.findall(r"\w+", query.lower()))
    return " OR ".join(f'"{word}"' for word in words)


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
