"""What a search reads of the index: every SQL statement of it stands here."""

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import apsw
import numpy as np
import numpy.typing as npt

from customir.runtime.filters import Filter
from customir.runtime.fts_tokenizer import any_of
from customir.runtime.index import IndexedPassage
from customir.runtime.index_file import Generation
from customir.runtime.index_filter import sql_condition, sql_rights
from customir.runtime.rights import Rights, is_recipient, is_sender

Ids = npt.NDArray[np.int64]
Vector = npt.NDArray[np.float32]
Ranking = list[tuple[str, float]]  # passage key and score, best first; equal scores by key

MOST_NEIGHBOURS = 4096  # sqlite-vec's own limit
SNIPPET_WORDS = 32
LEAST_WEIGHT = 1e-6  # of a word for FTS5, which half of the passages have
MARK_START, MARK_END = "\ufdd0", "\ufdd1"  # noncharacters: no text holds them


def prepare(database: apsw.Connection) -> None:
    """Give a connection the SQL functions that a reader calls."""
    database.create_scalar_function("folded", _folded, 1, deterministic=True)
    database.create_scalar_function("is_sender", is_sender, 2, deterministic=True)
    database.create_scalar_function("is_recipient", is_recipient, 2, deterministic=True)


def _folded(*values: Any) -> str:
    (text,) = values
    return str(text).casefold()


def word_weight(passages: int, having: int) -> float:
    """FTS5's weight of a word that some passages have (https://sqlite.org/fts5.html#the_bm25_function)."""
    return max(math.log((passages - having + 0.5) / (having + 0.5)), LEAST_WEIGHT)


def _allowed(column: str, among: Ids | None) -> tuple[str, Sequence[str]]:
    """A condition that a column has one of these values, and its own value."""
    if among is None:
        return "", ()
    return f" AND {column} IN (SELECT value FROM json_each(?))", (json.dumps(among.tolist()),)


class IndexReader:
    """Reads one generation of the index. Use it within one transaction: it sees one state.

    With rights, every statement reads the passages through their condition, so that the reader
    sees an index without the others: their texts, their names, their number, and how many of them
    have a word.

    Args:
        database: Opened by `index_file.connect`, and prepared.
        rights: What may be read; None: everything.
    """

    def __init__(
        self, database: apsw.Connection, generation: Generation, rights: Rights | None
    ) -> None:
        self._database, self.generation, self._rights = database, generation, rights
        number = generation.number
        self._table, self._vector, self._words = (
            f"{table}_{number}" for table in ("passage", "vector", "words")
        )
        self._passage = self._table
        if rights is not None:
            self._passage = f"(SELECT * FROM {self._table} WHERE {sql_rights(rights)})"

    @cached_property
    def permitted(self) -> Ids | None:
        """The ids of the passages that may be read, ascending; None if all may be."""
        return None if self._rights is None else self.all_ids()

    def shown(self, passage: IndexedPassage) -> IndexedPassage:
        """A passage with names of its thread and its near-duplicates that tell of nothing else.

        The index names both by one of their members, perhaps one that may not be read. With rights,
        their names are the smallest keys of passages in them that may be.
        """
        if self._rights is None:
            return passage
        statement = f"SELECT min(key) FROM {self._passage} WHERE "
        (thread,) = self._row(statement + "thread = ?", passage.thread)
        (duplicates,) = self._row(statement + "duplicates = ?", passage.duplicates)
        return replace(passage, thread=thread, duplicates=duplicates)

    def count(self) -> int:
        """Passages in the index."""
        if self.permitted is not None:
            return len(self.permitted)
        return int(self._row(f"SELECT count(*) FROM {self._passage}")[0])

    def passage(self, key: str) -> IndexedPassage:
        """The passage with this key, which the index holds."""
        row = self._row(f"SELECT * FROM {self._passage} WHERE key = ?", key)
        return IndexedPassage(*row[1:])

    def thread(self, name: str) -> list[IndexedPassage]:
        """The passages of a thread, by date; none if there is no such thread.

        Args:
            name: As `shown` names it; with rights, the key of any passage in it that may be read.
        """
        if self._rights is None:
            named = "?"
        else:
            named = f"(SELECT thread FROM {self._passage} WHERE key = ?)"
        rows = self._database.execute(
            f"SELECT * FROM {self._passage} WHERE thread = {named} "
            "ORDER BY unixepoch(date, 'subsec'), document, ordinal, key",
            (name,),
        )
        return [IndexedPassage(*row[1:]) for row in rows]

    def find(self, name: str) -> IndexedPassage | None:
        """The passage with this key, or the first one of the document with this key or identifier.

        Args:
            name: A Message-ID may lack its brackets.
        """
        row = self._row(
            f"SELECT * FROM {self._passage} WHERE key = ?1 OR document = ?1 "
            "OR identifier IN (?1, ?2) ORDER BY key <> ?1, source, ordinal, key LIMIT 1",
            name, f"<{name}>",
        )  # fmt: skip
        return IndexedPassage(*row[1:]) if row else None

    def newest(self, only: Filter) -> Iterator[str]:
        """The keys of the passages that fulfil a filter, those of the newest documents first."""
        condition, values = self._condition(only)
        rows = self._database.execute(
            f"SELECT key FROM {self._passage} WHERE {condition or 'TRUE'} "
            "ORDER BY unixepoch(date, 'subsec') DESC, document, ordinal, key",
            values,
        )
        return (key for (key,) in rows)

    def documents(self, keys: Iterable[str] | None = None) -> list[tuple[str, str, str, str]]:
        """Sender, month (in UTC), source and language of documents; empty where not known.

        Args:
            keys: Of passages of the documents; None: of all.
        """
        statement = (
            "SELECT DISTINCT document, sender, coalesce(strftime('%Y-%m', date), ''), source, "
            f"language FROM {self._passage}"
        )
        if keys is None:
            rows = self._database.execute(statement)
        else:
            among = " WHERE key IN (SELECT value FROM json_each(?))"
            rows = self._database.execute(statement + among, (json.dumps(list(keys)),))
        return [row[1:] for row in rows]

    def first_and_last_day(self) -> tuple[str | None, str | None]:
        """The days of the oldest and the newest document, in UTC, as 2002-08-22."""
        first, last = self._row(
            "SELECT date(min(seconds), 'unixepoch'), date(max(seconds), 'unixepoch') "
            f"FROM (SELECT unixepoch(date) AS seconds FROM {self._passage})"
        )
        return first, last

    def count_threads(self) -> int:
        """Threads in the index."""
        return int(self._row(f"SELECT count(DISTINCT thread) FROM {self._passage}")[0])

    def thread_starts(self) -> Iterator[tuple[str, str]]:
        """Title and sender of each thread's oldest document with a title; threads with answers first.

        Otherwise they are in the order of the keys of these documents, which are hashes.
        """
        # Beside min(), SQLite takes the other columns from the row that has the minimum. Undated
        # documents come last; with the key in it, there is only one such row.
        age = "format('%020.3f', 1e12 + coalesce(unixepoch(date, 'subsec'), 1e12)) || key"
        rows = self._database.execute(
            f"SELECT title, sender, key, min({age}), count(DISTINCT document) > 1 AS answered "
            f"FROM {self._passage} WHERE title <> '' GROUP BY thread "
            "ORDER BY answered DESC, key"
        )
        return ((title, sender) for title, sender, _, _, _ in rows)

    def alike(self, passage: IndexedPassage) -> set[str]:
        """The keys of a passage's near-duplicates, and of all passages of its document."""
        rows = self._database.execute(
            f"SELECT key FROM {self._passage} WHERE duplicates = ? OR document = ?",
            (passage.duplicates, passage.document),
        )
        return {key for (key,) in rows}

    def in_thread(self, passage: IndexedPassage) -> set[str]:
        """The keys of the passages of a passage's thread."""
        rows = self._database.execute(
            f"SELECT key FROM {self._passage} WHERE thread = ?", (passage.thread,)
        )
        return {key for (key,) in rows}

    def count_in_thread(self, passage: IndexedPassage) -> int:
        """Documents of a passage's thread, its own among them."""
        statement = f"SELECT count(DISTINCT document) FROM {self._passage} WHERE thread = ?"
        return int(self._row(statement, passage.thread)[0])

    def count_similar(self, passage: IndexedPassage) -> int:
        """Other documents with a near-duplicate of a passage."""
        statement = (
            f"SELECT count(DISTINCT document) FROM {self._passage} "
            "WHERE duplicates = ? AND document <> ?"
        )
        return int(self._row(statement, passage.duplicates, passage.document)[0])

    def ids(self, only: Filter) -> Ids | None:
        """The ids of the passages that fulfil a filter, ascending; None if all do."""
        condition, values = self._condition(only)
        if not condition:
            return self.permitted
        rows = self._database.execute(
            f"SELECT id FROM {self._passage} WHERE {condition} ORDER BY id", values
        )
        return np.array([identifier for (identifier,) in rows], dtype=np.int64)

    def ids_of(self, keys: Iterable[str]) -> list[int]:
        """The ids of passages, in the order of their keys."""
        statement = f"SELECT id FROM {self._passage} WHERE key = ?"
        return [self._row(statement, key)[0] for key in keys]

    def keys_of(self, ids: Iterable[int]) -> list[str]:
        """The keys of passages, in the order of their ids."""
        statement = f"SELECT key FROM {self._passage} WHERE id = ?"
        return [self._row(statement, identifier)[0] for identifier in ids]

    def count_matching(self, expression: str) -> int:
        """Passages that an FTS5 expression matches."""
        statement = f"FROM {self._words} WHERE {self._words} MATCH ?"
        if self.permitted is None:
            return int(self._row(f"SELECT count(*) {statement}", expression)[0])
        rows = self._database.execute(f"SELECT rowid {statement}", (expression,))
        ids = np.array([identifier for (identifier,) in rows], dtype=np.int64)
        return int(np.isin(ids, self.permitted).sum())

    def rank_by_words(self, words: Sequence[str], depth: int, among: Ids | None) -> Ranking:
        """The passages with the highest BM25 for any of some words: over title and text, and over
        the text alone for those that are marked as thin.

        Args:
            depth: How many at most.
            among: Ids of what may be found; None: all.
        """
        if not words:
            return []
        if self.permitted is not None:
            among = self.permitted if among is None else among
            return self._rank_by_permitted_words(words, depth, self.permitted, among)
        # With a plain rowid, FTS5 would look the expression up once for each id.
        allowed, values = _allowed("+rowid", among)
        rows = self._database.execute(
            f"SELECT key, -score FROM (SELECT rowid, {self._bm25} AS score "
            f"FROM {self._words} WHERE {self._words} MATCH ?{allowed} "
            f"ORDER BY score, rowid LIMIT ?) JOIN {self._passage} ON id = rowid",
            (any_of(words), *values, depth),
        )
        return sorted(rows, key=lambda row: (-row[1], row[0]))

    def _rank_by_permitted_words(
        self, words: Sequence[str], depth: int, permitted: Ids, among: Ids
    ) -> Ranking:
        """As `rank_by_words`, with the weights that words have in the passages that may be read.

        With FTS5's own weights, a score would tell how many of the other passages have a word. BM25
        is a sum over words, so each is looked up by itself and its weight replaced. Only the average
        length of all passages remains in the scores.
        """
        scores, is_found = np.zeros(len(among)), np.zeros(len(among), dtype=bool)
        (everything,) = self._row(f"SELECT count(*) FROM {self._table}")
        statement = f"SELECT rowid, -{self._bm25} FROM {self._words} WHERE {self._words} MATCH ?"
        for word in words:
            expression = any_of([word])
            rows = self._database.execute(statement, (expression,)).fetchall()
            ids = np.array([identifier for identifier, _ in rows], dtype=np.int64)
            own = np.array([score for _, score in rows], dtype=np.float64)
            _, places, matched = np.intersect1d(among, ids, assume_unique=True, return_indices=True)
            having = int(np.isin(ids, permitted).sum())
            scores[places] += (
                own[matched]
                * word_weight(len(permitted), having)
                / word_weight(everything, len(ids))
            )
            is_found[places] = True
        (found,) = np.nonzero(is_found)
        best = found[np.argsort(-scores[found], kind="stable")][:depth]
        pairs = zip(self.keys_of(among[best].tolist()), scores[best].tolist(), strict=True)
        return sorted(pairs, key=lambda pair: (-pair[1], pair[0]))

    @property
    def _bm25(self) -> str:
        thin = f"rowid IN (SELECT id FROM {self._table} WHERE thin)"
        return f"iif({thin}, bm25({self._words}, 0, 1), bm25({self._words}))"

    def rank_by_vector(self, vector: Vector, depth: int, among: Ids | None) -> Ranking:
        """As `rank_by_words`, by the cosines to a unit vector, with sqlite-vec's full scan."""
        allowed, values = _allowed("rowid", among)
        rows = self._database.execute(
            f"SELECT key, 1 - distance FROM {self._vector} JOIN {self._passage} ON id = rowid "
            f"WHERE embedding MATCH ? AND k = ?{allowed}",
            (vector.tobytes(), min(depth, MOST_NEIGHBOURS), *values),
        )
        return sorted(rows, key=lambda row: (-row[1], row[0]))

    def cosines(self, vector: Vector, ids: Iterable[int]) -> list[float]:
        """The cosines of a unit vector and passages, in the order of their ids."""
        statement = (
            f"SELECT 1 - vec_distance_cosine(embedding, ?) FROM {self._vector} WHERE rowid = ?"
        )
        return [self._row(statement, vector.tobytes(), identifier)[0] for identifier in ids]

    def all_ids(self) -> Ids:
        """The ids of all passages, ascending."""
        rows = self._database.execute(f"SELECT id FROM {self._passage} ORDER BY id")
        return np.array([identifier for (identifier,) in rows], dtype=np.int64)

    def vectors(self, ids: Sequence[int]) -> Vector:
        """The vectors of passages, in the order of their ids; float32 (n, dimensions)."""
        statement = f"SELECT embedding FROM {self._vector} WHERE rowid = ?"
        blobs = [self._row(statement, identifier)[0] for identifier in ids]
        shape = len(blobs), self.generation.dimensions
        return np.frombuffer(b"".join(blobs), np.float32).reshape(shape)

    def snippet(self, expression: str, key: str) -> str | None:
        """The part of a passage's text that matches an FTS5 expression best, with each matching
        word between `MARK_START` and `MARK_END`; None if no word of the passage matches."""
        if not expression:
            return None
        row = self._row(
            f"SELECT snippet({self._words}, 1, ?, ?, '…', ?) FROM {self._words} "
            f"WHERE {self._words} MATCH ? "
            f"AND rowid = (SELECT id FROM {self._passage} WHERE key = ?)",
            MARK_START, MARK_END, SNIPPET_WORDS, expression, key,
        )  # fmt: skip
        return str(row[0]) if row else None

    def _condition(self, only: Filter) -> tuple[str, Sequence[str | float]]:
        return sql_condition(only, self._passage, self._words)

    def _row(self, statement: str, *values: str | int | bytes) -> Any:
        return self._database.execute(statement, values).fetchone()
