"""Requests for vectors that come at the same time, embedded together."""

import queue
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from customir.encoder.folder import Kind
from customir.runtime.embedder import Embedder

if TYPE_CHECKING:
    from customir.progress import Task

MOST_TEXTS = 256  # embedded in one go; more wait for the next
Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True)
class _Wanted:
    texts: Sequence[str]
    kind: Kind
    vectors: "Future[Vectors]" = field(default_factory=Future)


class Batcher:
    """An embedder for many threads: one thread embeds all that waits for it, in one call.

    Nobody waits for a batch to fill: while one is embedded, the next gathers.

    Attributes:
        batches: How many calls were made. `texts`: of how many texts.
    """

    def __init__(self, embedder: Embedder, seconds: float) -> None:
        """Args: seconds: longest wait for an answer."""
        self._embedder, self._seconds = embedder, seconds
        self._waiting: queue.SimpleQueue[_Wanted | None] = queue.SimpleQueue()
        self.batches = self.texts = 0
        self._thread = threading.Thread(target=self._run, name="embedding", daemon=True)
        self._thread.start()

    @property
    def dimensions(self) -> int:
        return self._embedder.dimensions

    def encode(
        self, texts: Sequence[str], kind: Kind = "passage", task: "Task | None" = None
    ) -> Vectors:
        """As `Embedder.encode`; from any thread.

        Raises:
            TimeoutError: no answer within the time allowed.
        """
        wanted = _Wanted(texts, kind)
        self._waiting.put(wanted)
        vectors = wanted.vectors.result(self._seconds)
        if task is not None:
            task.advance(len(texts))
        return vectors

    def close(self) -> None:
        """Answer what waits, and stop."""
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (wanted := self._waiting.get()) is not None:
            batch, open_to_more = [wanted], True
            while open_to_more and sum(len(one.texts) for one in batch) < MOST_TEXTS:
                try:
                    another = self._waiting.get_nowait()
                except queue.Empty:
                    break
                if another is None:
                    self._waiting.put(None)
                    open_to_more = False
                else:
                    batch.append(another)
            for kind in ("query", "passage"):
                self._embed([one for one in batch if one.kind == kind], kind)

    def _embed(self, batch: Sequence[_Wanted], kind: Kind) -> None:
        texts = [text for one in batch for text in one.texts]
        if not batch:
            return
        try:
            vectors = self._embedder.encode(texts, kind)
        except Exception as error:  # whoever asked gets it
            for one in batch:
                one.vectors.set_exception(error)
            return
        self.batches += 1
        self.texts += len(texts)
        start = 0
        for one in batch:
            one.vectors.set_result(vectors[start : start + len(one.texts)])
            start += len(one.texts)
