"""Embeds concurrent requests together."""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from customir.encoder.folder import Kind
from customir.runtime.embedder import Embedder

if TYPE_CHECKING:
    from customir.progress import Task

QUERIES_AT_A_TIME = 256
# Fewer, so that a query that comes meanwhile need not wait for long.
PASSAGES_AT_A_TIME = 32
Vectors = npt.NDArray[np.float32]


@dataclass(eq=False)
class _Wanted:
    texts: Sequence[str]
    kind: Kind
    vectors: "Future[Vectors]" = field(default_factory=Future)
    parts: list[Vectors] = field(default_factory=list)
    taken: int = 0  # of `texts`

    def take(self, most: int) -> list[str]:
        part = list(self.texts[self.taken : self.taken + most])
        self.taken += len(part)
        return part


class Batcher:
    """An embedder for many threads: one thread embeds all waiting requests in one call.

    No request waits for a batch to fill: while one batch is embedded, the next one gathers. Queries come before
    passages. Many passages are embedded some at a time, those of several requests in turn.
    Requests that were cancelled or waited too long are dropped.
    """

    def __init__(
        self,
        embedder: Embedder,
        seconds: float,
        on_batch: Callable[[int], None] = lambda texts: None,
    ) -> None:
        """
        Args:
            seconds: Longest wait of `encode` for an answer.
            on_batch: Called after each call of the model with the number of its texts.
        """
        self._embedder, self._seconds, self._on_batch = embedder, seconds, on_batch
        self._waiting: dict[Kind, deque[_Wanted]] = {"query": deque(), "passage": deque()}
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="embedding", daemon=True)
        self._thread.start()

    @property
    def dimensions(self) -> int:
        """Length of a vector."""
        return self._embedder.dimensions

    def reads(self, text: str) -> bool:
        """As `Embedder.reads`, from any thread."""
        return self._embedder.reads(text)

    def submit(self, texts: Sequence[str], kind: Kind = "passage") -> "Future[Vectors]":
        """Queue `texts` for embedding as by `Embedder.encode`. Call it from any thread."""
        wanted = _Wanted(texts, kind)
        with self._changed:
            if self._closed:
                raise RuntimeError("the batcher is closed")
            self._waiting[kind].append(wanted)
            self._changed.notify()
        return wanted.vectors

    def encode(
        self, texts: Sequence[str], kind: Kind = "passage", task: "Task | None" = None
    ) -> Vectors:
        """Like `Embedder.encode`, from any thread.

        Raises:
            TimeoutError: no answer within the time allowed.
        """
        submitted = self.submit(texts, kind)
        try:
            vectors = submitted.result(self._seconds)
        except TimeoutError:
            submitted.cancel()
            raise
        if task is not None:
            task.advance(len(texts))
        return vectors

    def close(self) -> None:
        """Answer all waiting requests, and stop."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or any(self._waiting.values()))
                kind: Kind = "query" if self._waiting["query"] else "passage"
                batch = self._next(kind)
            if batch:
                self._embed(batch, kind)
            elif self._closed and not any(self._waiting.values()):
                return

    def _next(self, kind: Kind) -> list[tuple[_Wanted, list[str]]]:
        """The next batch: requests, and the positions of their texts in it."""
        left = QUERIES_AT_A_TIME if kind == "query" else PASSAGES_AT_A_TIME
        waiting = self._waiting[kind]
        batch: list[tuple[_Wanted, list[str]]] = []
        unfinished = []
        while waiting and left:
            wanted = waiting.popleft()
            if wanted.vectors.done():  # given up, or failed
                continue
            part = wanted.take(left)
            left -= len(part)
            batch.append((wanted, part))
            if wanted.taken < len(wanted.texts):
                unfinished.append(wanted)
        waiting.extend(unfinished)
        return batch

    def _embed(self, batch: Sequence[tuple[_Wanted, list[str]]], kind: Kind) -> None:
        texts = [text for _, part in batch for text in part]
        try:
            vectors = self._embedder.encode(texts, kind)
        except Exception as error:  # whoever asked gets it
            for wanted, _ in batch:
                with suppress(InvalidStateError):  # whoever asked gave up
                    wanted.vectors.set_exception(error)
            return
        self._on_batch(len(texts))
        start = 0
        for wanted, part in batch:
            wanted.parts.append(vectors[start : start + len(part)])
            start += len(part)
            if sum(map(len, wanted.parts)) == len(wanted.texts):
                with suppress(InvalidStateError):
                    wanted.vectors.set_result(np.concatenate(wanted.parts))
