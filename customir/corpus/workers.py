"""Parses and cleans documents, in parallel if there is enough work."""

import logging
import os
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from pathlib import Path

from customir.airgap import block_network
from customir.corpus.document import RawDocument, RawMail, Unreadable
from customir.corpus.prepare import Prepared, Skipped, prepare
from customir.corpus.readers import ReadOptions, parsed, regular_files
from customir.processors import usable_processors

log = logging.getLogger("customir")
Batch = Sequence[tuple[str, RawDocument | RawMail | Unreadable]]
Results = list[Prepared | Skipped]
# Batches queued per process, so that no process waits for the reader.
BATCHES_AHEAD = 2
# A process takes half a second to start. A running one reads this many bytes in that time.
SMALL_BYTES = 8 << 20


def worth_processes(sources: Sequence[Path]) -> int:
    """The number of processes that pays off: 1 if the sources are read in seconds."""
    size = 0
    for source in sources:
        for path, _ in regular_files(source):
            size += path.stat().st_size
            if size > SMALL_BYTES:
                return usable_processors()
    return 1


def prepared(
    batches: Iterable[Batch],
    processes: int,
    options: ReadOptions | None = None,
    *,
    include_unwanted: bool = False,
) -> Iterator[Results]:
    """The results of each batch, in order.

    The result is the same for any number of processes. If this process is killed, the others
    exit by themselves.

    Args:
        include_unwanted: Whether spam, trash, drafts and deleted mail count as documents.
    """
    work = partial(
        prepare_batch, options=options or ReadOptions(), include_unwanted=include_unwanted
    )
    if processes < 2:
        yield from map(work, batches)
        return
    try:
        executor = ProcessPoolExecutor(processes, get_context("spawn"), _begin)
    except OSError as error:
        log.warning("Reading in one process: others cannot be started (%s).", error)
        yield from map(work, batches)
        return
    with executor as pool:
        waiting: deque[Future[Results]] = deque()
        try:
            for batch in batches:
                waiting.append(pool.submit(work, batch))
                if len(waiting) > BATCHES_AHEAD * processes:
                    yield waiting.popleft().result()
            yield from (future.result() for future in waiting)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def prepare_batch(batch: Batch, options: ReadOptions, include_unwanted: bool) -> Results:
    """The results of these items. A mail with attachments may have several."""
    return [
        prepare(source, item, include_unwanted=include_unwanted)
        for source, raw in batch
        for item in parsed(raw, options)
    ]


def _begin() -> None:
    """Set up a worker: block the network, and exit when the parent exits."""
    block_network()
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None, "a worker has a parent"
    wait([parent.sentinel])
    os._exit(1)
