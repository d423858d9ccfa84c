"""Parsing and cleaning, on all processors where there is enough to do."""

import os
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from pathlib import Path

from customir.airgap import block_network
from customir.corpus.document import RawDocument, RawMail, Unreadable
from customir.corpus.prepare import Prepared, Skipped, prepare
from customir.corpus.readers import parsed, regular_files
from customir.processors import usable_processors

Batch = Sequence[tuple[str, RawDocument | RawMail | Unreadable]]
Results = list[Prepared | Skipped]
# Waiting for each process, so that none waits for the reader.
BATCHES_AHEAD = 2
# A process takes half a second to start, in which another reads this much.
SMALL_BYTES = 8 << 20


def worth_processes(sources: Sequence[Path]) -> int:
    """How many processes are worth their start: 1 for what is read in seconds."""
    size = 0
    for source in sources:
        for path, _ in regular_files(source):
            size += path.stat().st_size
            if size > SMALL_BYTES:
                return usable_processors()
    return 1


def prepared(batches: Iterable[Batch], processes: int) -> Iterator[tuple[int, Results]]:
    """For each batch, in order, its size and what became of its items.

    The result is the same for any number of processes. Where this process is killed, the others
    end by themselves.
    """
    if processes < 2:
        yield from ((len(batch), prepare_batch(batch)) for batch in batches)
        return
    with ProcessPoolExecutor(processes, get_context("spawn"), _begin) as pool:
        waiting: deque[tuple[int, Future[Results]]] = deque()
        try:
            for batch in batches:
                waiting.append((len(batch), pool.submit(prepare_batch, batch)))
                if len(waiting) > BATCHES_AHEAD * processes:
                    size, future = waiting.popleft()
                    yield size, future.result()
            yield from ((size, future.result()) for size, future in waiting)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def prepare_batch(batch: Batch) -> Results:
    """What becomes of these items; a mail may be several, with its attachments."""
    return [prepare(source, item) for source, raw in batch for item in parsed(raw)]


def _begin() -> None:
    """In each worker: no network, and no life without the parent."""
    block_network()
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None, "a worker has a parent"
    wait([parent.sentinel])
    os._exit(1)
