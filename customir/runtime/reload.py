"""An embedder that follows when DIR's model changes."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING

from customir.encoder.folder import Kind
from customir.runtime import generations
from customir.runtime.batcher import Batcher, Vectors
from customir.runtime.embedder import DEFAULT_FILE, Embedder, fingerprint
from customir.runtime.generations import MODEL_NAME

if TYPE_CHECKING:
    from customir.progress import Task

MODELS_KEPT = 2  # the current one, and the one whose last requests are being answered


class SharedEmbedder:
    """DIR's embedder for many threads, which follows when another generation becomes current.

    Searchers that use it embed with the model of the generation that they have open, so that a
    query and the vectors it is compared with are always of one model. Generations with the same model
    share it. The current model and the one before it are kept in memory; a third one closes the first.

    Args:
        folder: DIR.
        threads: As for `Embedder`.
        seconds: Longest wait of `encode` for an answer.
        on_batch: As for `Batcher`.

    Raises:
        UserError: there is no usable model.
    """

    def __init__(
        self,
        folder: Path,
        file: str = DEFAULT_FILE,
        threads: int | None = None,
        seconds: float = 30.0,
        on_batch: Callable[[int], None] = lambda texts: None,
    ) -> None:
        self._on_batch = on_batch
        self._folder, self._file, self._threads, self._seconds = folder, file, threads, seconds
        self._lock = threading.Lock()
        self._batchers: dict[str, Batcher] = {}  # by the model's fingerprint, the newest last
        self._stamp: generations.Stamp | None = None
        self._current = self._follow()

    @property
    def dimensions(self) -> int:
        """Length of a vector of the current model."""
        return self._newest().dimensions

    def submit(self, texts: Sequence[str], kind: Kind = "passage") -> "Future[Vectors]":
        """As `Batcher.submit`, by DIR's current model."""
        return self._newest().submit(texts, kind)

    def encode(
        self, texts: Sequence[str], kind: Kind = "passage", task: "Task | None" = None
    ) -> Vectors:
        """As `Embedder.encode`, by DIR's current model; from any thread.

        Raises:
            TimeoutError: no answer within the time allowed.
        """
        return self._newest().encode(texts, kind, task)

    def of(self, model: Path) -> Batcher:
        """The embedder of a model folder, loaded if it is not in memory yet.

        Raises:
            UserError: not a usable model.
        """
        name = fingerprint(model, self._file)
        with self._lock:
            if name not in self._batchers:
                embedder = Embedder(model, self._file, self._threads)
                self._batchers[name] = Batcher(embedder, self._seconds, self._on_batch)
                while len(self._batchers) > MODELS_KEPT:
                    self._batchers.pop(next(iter(self._batchers))).close()
            batcher = self._batchers[name] = self._batchers.pop(
                name
            )  # the last one used comes last
            return batcher

    def close(self) -> None:
        """Answer all waiting requests, and stop."""
        with self._lock:
            for batcher in self._batchers.values():
                batcher.close()
            self._batchers.clear()

    def _newest(self) -> Batcher:
        if generations.stamp(self._folder) != self._stamp:
            self._current = self._follow()
        return self._current

    def _follow(self) -> Batcher:
        """Load the current model, and again if another one replaces it meanwhile."""
        found, self._stamp = generations.on_current(
            self._folder, lambda generation: self.of(generation / MODEL_NAME)
        )
        return found
