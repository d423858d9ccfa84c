"""The model, the index, and the threads that search it."""

import asyncio
import queue
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import orjson

from customir.encoder.folder import Kind
from customir.runtime.filters import Filter
from customir.runtime.hits import Hit
from customir.runtime.query import Query
from customir.runtime.reload import SharedEmbedder
from customir.runtime.rights import Rights
from customir.runtime.search import Searcher
from customir.runtime.threads import documents_of
from customir.server.audit import Returned
from customir.server.errors import Refused
from customir.server.limits import Limits
from customir.server.messages import SearchRequest, SimilarRequest
from customir.server.metrics import Metrics

Answer = TypeVar("Answer")
Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Content:
    """An answer as JSON, and what it holds for the audit log."""

    json: bytes
    returned: Returned = field(default_factory=Returned)


class Backend:
    """Searches and embeds for one process of the server.

    Args:
        folder: DIR. The server follows when another generation becomes current.
        threads: Threads of the model; None: one per usable core.

    Raises:
        UserError: the index or the model is missing or damaged.
    """

    def __init__(
        self, folder: Path, limits: Limits, metrics: Metrics, threads: int | None = None
    ) -> None:
        self._folder, self._limits, self._metrics = folder, limits, metrics
        self.batcher = SharedEmbedder(
            folder, threads=threads, seconds=limits.seconds, on_batch=self._embedded
        )
        self._free: queue.LifoQueue[Searcher] = queue.LifoQueue()
        self._under_way = 0
        self._threads = ThreadPoolExecutor(limits.working, "search")
        self._health_thread = ThreadPoolExecutor(1, "health")
        try:
            with self.searcher(None):
                pass
        except BaseException:
            self.close()
            raise

    @contextmanager
    def searcher(self, rights: Rights | None) -> Iterator[Searcher]:
        """A Searcher that no other request uses at the same time.

        This is the only place where the server opens the index.

        Args:
            rights: What may be read; None: everything.
        """
        try:
            searcher = self._free.get_nowait()
        except queue.Empty:
            searcher = Searcher(self._folder, embedder=self.batcher)
        searcher.rights = rights
        try:
            yield searcher
        finally:
            self._free.put(searcher)

    async def search(
        self, asked: SearchRequest, query: Query, only: Filter, rights: Rights | None
    ) -> Content:
        """The hits, what the query was understood as, and facets where they are asked for, as JSON.

        Args:
            query: The parsed `asked.query`.
            only: What may be found, the query's conditions among it.
            rights: What may be read; None: everything.

        Raises:
            Refused: 429 for too many requests at a time.
            TimeoutError: no answer in time.
            UserError: the index is damaged, or was built with another model.
        """

        def work() -> Content:
            with self.searcher(rights) as searcher:
                found = searcher.search_with_facets(
                    query.text,
                    asked.k,
                    asked.mode,
                    only,
                    asked.by_thread,
                    self._limits.seconds,
                    count=asked.facets,
                )
            answer: dict[str, Any] = {"hits": found.hits, "query": _understood(query)}
            if asked.facets:
                answer |= {"considered": found.considered, "facets": found.facets}
            return Content(orjson.dumps(answer), _returned(found.hits))

        return await self._turn(self._in(self._threads, work))

    async def similar(self, asked: SimilarRequest, rights: Rights | None) -> Content:
        """The hits, as JSON in the form of `search`. Raises as `search` does.

        Raises:
            UnknownPassageError: the index holds none of this name.
        """

        def work() -> Content:
            with self.searcher(rights) as searcher:
                hits = searcher.similar(
                    asked.key, asked.k, by_thread=asked.by_thread, seconds=self._limits.seconds
                )
            content = orjson.dumps({"hits": hits, "query": _understood(Query("", ()))})
            return Content(content, _returned(hits))

        return await self._turn(self._in(self._threads, work))

    async def about(self, rights: Rights | None) -> Content:
        """What the index holds, as JSON. Raises as `search` does."""

        def work() -> Content:
            with self.searcher(rights) as searcher:
                return Content(orjson.dumps(searcher.about(self._limits.seconds)))

        return await self._turn(self._in(self._threads, work))

    async def thread(self, name: str, rights: Rights | None) -> Content:
        """The documents of a thread and their passages, as JSON. Raises as `search` does."""

        def work() -> Content:
            with self.searcher(rights) as searcher:
                passages = searcher.thread(name)
            documents = documents_of(passages)
            return Content(
                orjson.dumps({"documents": documents, "passages": passages}),
                Returned(
                    tuple(passage.key for passage in passages),
                    tuple(document.identifier for document in documents),
                ),
            )

        return await self._turn(self._in(self._threads, work))

    async def embed(self, texts: Sequence[str], kind: Kind) -> Vectors:
        """Vectors of shape (len(texts), dimensions). Raises as `search` does."""
        return await self._turn(lambda: asyncio.wrap_future(self.batcher.submit(texts, kind)))

    async def check(self) -> None:
        """Check that the index can be read, without waiting for a search. Raises as `search` does."""

        def work() -> None:
            with self.searcher(None) as searcher:
                searcher.count()

        async with asyncio.timeout(self._limits.seconds):
            await self._in(self._health_thread, work)()

    def close(self) -> None:
        """Finish the requests in progress, and close the index."""
        self._threads.shutdown()
        self._health_thread.shutdown()
        self.batcher.close()
        with suppress(queue.Empty):
            while True:
                self._free.get_nowait().close()

    def _embedded(self, texts: int) -> None:
        self._metrics.batches.inc()
        self._metrics.texts.inc(texts)

    def _in(
        self, threads: ThreadPoolExecutor, work: Callable[[], Answer]
    ) -> Callable[[], Awaitable[Answer]]:
        return lambda: asyncio.get_running_loop().run_in_executor(threads, work)

    async def _turn(self, start: Callable[[], Awaitable[Answer]]) -> Answer:
        """Take one of the places for requests that are answered at a time."""
        if self._under_way >= self._limits.waiting:
            raise Refused(HTTPStatus.TOO_MANY_REQUESTS, "Too many requests at a time.")
        self._under_way += 1
        self._metrics.under_way.inc()
        try:
            # What is cancelled here, and has not begun, never begins.
            async with asyncio.timeout(self._limits.seconds):
                return await start()
        finally:
            self._under_way -= 1
            self._metrics.under_way.dec()


def _returned(hits: Sequence[Hit]) -> Returned:
    return Returned(tuple(hit.key for hit in hits), tuple(hit.identifier for hit in hits))


def _understood(query: Query) -> dict[str, Any]:
    return {"text": query.text, "filters": query.conditions}
